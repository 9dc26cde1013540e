# complete.zsh LINE COMPLETERS FOLDER: what zsh completes behind LINE, one a line, with the completion functions in COMPLETERS.
#
# A zsh on a terminal of its own, into which LINE and a Tab are typed; its compadd writes what it is given to a file in FOLDER.
zmodload zsh/zpty
line=$1 completers=$2 folder=$3

await() {
	local -i i
	for ((i = 0; i < 1000; i++)); do
		[[ -e $folder/$1 ]] && return
		sleep 0.02
	done
	exit 1
}

cat >$folder/setup <<'END'
PROMPT=
fpath=($completers $fpath)
autoload -Uz compinit
compinit -u -d $folder/dump
bindkey '^I' complete-word
compadd() {
	local -a matches
	# Asked which of them match: not yet what is completed.
	if [[ " ${(j: :)@[1,(i)(-|--)]} " == *\ -[a-zA-Z0-9]#[OAD]\ * ]]; then
		builtin compadd "$@"
		return
	fi
	builtin compadd -A matches "$@"
	(($#matches)) && print -rl -- $matches >>$folder/matches
}
tell_end() { : >$folder/ended }
zle -N tell_end
bindkey '^X' tell_end
: >$folder/begun
END

rm -f $folder/(begun|ended|matches)(N)
zpty shell zsh -f -i
{
	zpty -w shell "completers=${(q)completers} folder=${(q)folder}; source ${(q)folder}/setup"
	await begun
	zpty -w -n shell $line$'\t\x18'
	await ended
} always {
	zpty -d shell
}
[[ ! -e $folder/matches ]] || cat $folder/matches
