# bash completion for reqscope
_reqscope()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "run attach report compare info export merge doctor --help --version" -- "$cur")
		return
	fi
	case $prev in
	--format)
		local formats="text json md html"
		[ "$command" != compare ] || formats="$formats junit github"
		[ "$command" != export ] || formats="parquet csv hgrm openmetrics otlp pprof collapsed speedscope"
		mapfile -t COMPREPLY < <(compgen -W "$formats" -- "$cur")
		return
		;;
	esac
	case $command:$cur in
	run:-*) mapfile -t COMPREPLY < <(compgen -W "-o -f --duration --label --no-sched --sites --sample-bytes --help --" -- "$cur") ;;
	attach:-*) mapfile -t COMPREPLY < <(compgen -W "-o -f --duration --label --children --no-sched --sites --sample-bytes --help" -- "$cur") ;;
	report:-*) mapfile -t COMPREPLY < <(compgen -W "--format -o -f --skip --from --to --sites --sites-top --help" -- "$cur") ;;
	compare:-*)
		mapfile -t COMPREPLY < <(compgen -W "--format -o -f --skip --from --to --sites --gate --threshold --strict
			--inconclusive --allow-single-run --allow-unmatched-load --help" -- "$cur")
		;;
	export:-*) mapfile -t COMPREPLY < <(compgen -W "--format -o -f --route --skip --from --to --help" -- "$cur") ;;
	merge:-*) mapfile -t COMPREPLY < <(compgen -W "-o -f --help" -- "$cur") ;;
	info:-*) mapfile -t COMPREPLY < <(compgen -W "--format -o -f --help" -- "$cur") ;;
	doctor:-*) mapfile -t COMPREPLY < <(compgen -W "--json --help" -- "$cur") ;;
	run:* | doctor:*) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
	*) mapfile -t COMPREPLY < <(compgen -f -X '!*.rqs' -- "$cur" && true; compgen -d -- "$cur") ;;
	esac
}
complete -o filenames -F _reqscope reqscope
