# help.awk - how the --help texts of the commands are laid out, for manual.awk and options.awk.
#
# A text is blocks with blank lines between: the usage, paragraphs, options, "examples:" and "exit status:". An option begins
# after two spaces; what it does stands behind two spaces or more, or on the next lines.

function trim(text) {
	sub(/^ +/, "", text)
	sub(/ +$/, "", text)
	return text
}

function begins_option(line) {
	return line ~ /^  -/
}

# Splits an option's first line into its names, as written, and what is said of them; the latter may be empty.
function split_option(line) {
	line = trim(line)
	option_text = ""
	option_names = line
	if (match(line, /  +/)) {
		option_names = substr(line, 1, RSTART - 1)
		option_text = substr(line, RSTART + RLENGTH)
	}
}

# "parquet      a row a request": one of the values that an option takes, by itself on a line.
function is_value(text) {
	return text ~ /^[a-z]+   *[^ ]/
}
