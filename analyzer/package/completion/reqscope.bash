# bash completion for reqscope

_reqscope_list()
{
	cat <<'END'
@OPTIONS@
END
}

# The third field of the line "$1 $2".
_reqscope_field()
{
	_reqscope_list | while IFS=$'\t' read -r command name field _; do
		if [ "$command $name" = "$1 $2" ]; then
			echo "$field"
			break
		fi
	done
}

# The words that begin with $1, of the words that come in, one a line.
_reqscope_add()
{
	local word

	while read -r word; do
		case $word in "$1"*) COMPREPLY+=("$word") ;; esac
	done
}

_reqscope_files()
{
	compopt -o filenames 2>/dev/null
	_reqscope_add "$1" < <(compgen "${@:2}" -- "$1")
}

_reqscope_processes()
{
	local folder

	for folder in /proc/[0-9]*; do
		echo "${folder#/proc/}"
	done
}

# What option $2 of command $1 takes; false: nothing.
_reqscope_value()
{
	local takes

	takes=$(_reqscope_field "$1" "$2")
	case $takes in
	'' | none) return 1 ;;
	=*) _reqscope_add "$cur" < <(tr , '\n' <<<"${takes#=}") ;;
	file) _reqscope_files "$cur" -f ;;
	esac
	return 0
}

_reqscope_arguments()
{
	local kinds

	kinds=$(_reqscope_field "$1" command)
	case $kinds in *trace*) _reqscope_files "$cur" -f -X '!*.rqs' && _reqscope_files "$cur" -d ;; esac
	case $kinds in *pid*) _reqscope_add "$cur" < <(_reqscope_processes) ;; esac
	case $kinds in *command*) _reqscope_files "$cur" -c && _reqscope_files "$cur" -f ;; esac
}

# What is behind "--" completes as it would by itself; without the functions of bash-completion by names of files. False: the
# cursor isn't behind one.
_reqscope_run_command()
{
	local i

	for ((i = 2; i < COMP_CWORD; i++)); do
		if [ "${COMP_WORDS[i]}" = -- ]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			elif ((i + 1 == COMP_CWORD)); then
				_reqscope_arguments run
			else
				_reqscope_files "$cur" -f
			fi
			return 0
		fi
	done
	return 1
}

_reqscope()
{
	local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		_reqscope_add "$cur" < <(_reqscope_list | sed -n 's/\tcommand\t.*//p' && printf -- '--help\n--version\n')
		return
	fi
	# "--option=value" is three words, and so is "NAME=file".
	if [ "$cur" = = ]; then
		cur=
	elif [ "$option" = = ]; then
		option=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if [ "$command" = run ] && _reqscope_run_command; then
		return
	fi
	if _reqscope_value "$command" "$option"; then
		return
	fi
	case $cur in
	-*) _reqscope_add "$cur" < <(_reqscope_list | sed -n "s/^$command\t\(-[^\t]*\).*/\1/p") ;;
	*) _reqscope_arguments "$command" ;;
	esac
}
complete -F _reqscope reqscope
