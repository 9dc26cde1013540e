#compdef reqscope
# zsh completion for reqscope

_reqscope_list() {
	cat <<'END'
@OPTIONS@
END
}

_reqscope_commands() {
	local -a commands
	local command name what text

	while IFS=$'\t' read -r command name what text; do
		[[ $name == command ]] && commands+=("$command:$text")
	done < <(_reqscope_list)
	_describe command commands
}

_reqscope_pids() {
	local -a pids
	pids=(/proc/<->(N:t))
	compadd -a pids
}

_reqscope_traces() {
	_files -g '*.rqs'
}

_reqscope_command_or_pid() {
	_reqscope_pids
	_command_names -e
	_files
}

# What _arguments is told of the options and arguments of command $1: an option's text may hold neither of []:.
_reqscope_arguments() {
	local -a specs
	local command name what text value

	while IFS=$'\t' read -r command name what text; do
		[[ $command == $1 ]] || continue
		text=${text//[\]\[:]/ }
		case $what in
		none) value= ;;
		file) value=:file:_files ;;
		any) value=:value: ;;
		\=*) value=":value:(${${what#=}//,/ })" ;;
		*) value= ;;
		esac
		case $name:$what in
		command:trace) specs+=('*:trace:_reqscope_traces') ;;
		command:pid) specs+=('1:process:_reqscope_pids') ;;
		command:command) specs+=('(-)1:command:_command_names -e' '*::arguments:_normal') ;;
		command:*) specs+=('(-)1:process or command:_reqscope_command_or_pid' '*::arguments:_normal') ;;
		--*) specs+=("*${name}${value:+=}[${text}]$value") ;;
		*) specs+=("*${name}[${text}]$value") ;;
		esac
	done < <(_reqscope_list)
	_arguments -S $specs
}

# What is behind "--" completes as it would by itself. False: the cursor isn't behind one.
_reqscope_run_command() {
	local -i end=${words[(i)--]}

	(( end < CURRENT )) || return 1
	words=("${(@)words[end+1,-1]}")
	(( CURRENT -= end ))
	_normal
	return 0
}

_reqscope() {
	local curcontext=$curcontext state line
	typeset -A opt_args

	_arguments -C -A '-*' '(- *)--help[this text]' '(- *)--version[the version]' '1:command:_reqscope_commands' '*::argument:->arguments'
	if [[ $state == arguments ]] && ! { [[ $words[1] == run ]] && _reqscope_run_command }; then
		curcontext=${curcontext%:*:*}:reqscope-$words[1]:
		_reqscope_arguments $words[1]
	fi
}

_reqscope "$@"
