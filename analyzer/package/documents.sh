#!/bin/sh
# documents.sh PROGRAM FOLDER VERSION DATE: makes the manual pages and completions in FOLDER, laid out as below share/.
#
# What they say of commands and options is taken from PROGRAM's --help texts, so that it is told in one place.
set -eu
export LC_ALL=C
program=$1 folder=$2 version=$3 date=$4
here=$(dirname "$0")

rm -rf "$folder"
mkdir -p "$folder/man/man1" "$folder/man/man5" "$folder/bash-completion/completions" "$folder/zsh/site-functions" \
	"$folder/fish/vendor_completions.d"

"$program" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\)  *\(.*\)/\1 \2/p' >"$folder/commands"
while read -r command summary; do
	"$program" "$command" --help >"$folder/help"
	awk -f "$here/help.awk" -f "$here/roff.awk" -f "$here/manual.awk" -v command="$command" -v summary="$summary" -v version="$version" \
		-v date="$date" -v more="$here/manual/$command.roff" "$folder/help" >"$folder/man/man1/reqscope-$command.1"
	awk -f "$here/help.awk" -f "$here/options.awk" -v command="$command" -v summary="$summary" "$folder/help"
done <"$folder/commands" >"$folder/options"

sed "s/@VERSION@/$version/; s/@DATE@/$date/" "$here/manual/reqscope.roff" >"$folder/man/man1/reqscope.1"
awk -f "$here/roff.awk" -f "$here/format.awk" -v version="$version" -v date="$date" "$here/../../include/reqscope/trace_format.md" \
	>"$folder/man/man5/reqscope-trace.5"

# completion SHELL FILE: with the list in the place of @OPTIONS@; of fish it stands in quotes.
completion() {
	awk -v shell="$1" -v list="$folder/options" '
		function whole(line) { if (shell == "fish") gsub(/\047/, "\\\047", line); return line }
		!/@OPTIONS@/ { print; next }
		{
			before = substr($0, 1, index($0, "@") - 1)
			after = substr($0, index($0, "@OPTIONS@") + 9)
			text = ""
			while ((getline line < list) > 0)
				text = text (text ? "\n" : "") whole(line)
			print before text after
		}' "$here/completion/reqscope.$1" >"$folder/$2"
}

completion bash bash-completion/completions/reqscope
completion zsh zsh/site-functions/_reqscope
completion fish fish/vendor_completions.d/reqscope.fish
rm "$folder/commands" "$folder/help" "$folder/options"
