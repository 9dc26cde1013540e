# manual.awk - the manual page of a command, from its --help text (help.awk, roff.awk) and its file in manual/, if there is one.
#
#   awk -f help.awk -f roff.awk -f manual.awk -v command=report -v summary=... -v version=... -v date=... -v more=manual/report.roff

# Words in capitals stand for something: italic. What is typed as it stands: bold.
function typed(text, ended) {
	text = escaped(text)
	ended = ""
	while (match(text, /(\\-)?(\\-)?[A-Za-z][A-Za-z\\-]*/)) {
		word = substr(text, RSTART, RLENGTH)
		ended = ended substr(text, 1, RSTART - 1) (word ~ /^[A-Z]+$/ ? "\\fI" : "\\fB") word "\\fR"
		text = substr(text, RSTART + RLENGTH)
	}
	return ended text
}

# Running text: options and what stands in backticks are bold.
function told(text, ended) {
	ended = ""
	while (match(text, /`[^`]*`|--[a-z][a-z-]*/)) {
		word = substr(text, RSTART, RLENGTH)
		gsub(/`/, "", word)
		ended = ended escaped(substr(text, 1, RSTART - 1)) "\\fB" escaped(word) "\\fR"
		text = substr(text, RSTART + RLENGTH)
	}
	text = ended escaped(text)
	return (text ~ /^[.']/ ? "\\&" : "") text
}

# What is said of an option: text, values in a list of their own, or lines to be shown as they are, which begin farther right.
function add_option_line(line, column) {
	if (!column) {
		match(line, /[^ ]/)
		column = RSTART
	}
	line = trim(line)
	if (is_value(line)) {
		match(line, /  +/)
		options = options (in_values ? "" : "one of\n.RS\n") ".TP\n\\fI" substr(line, 1, RSTART - 1) "\\fR\n" \
			told(substr(line, RSTART + RLENGTH)) "\n"
		in_values = 1
	} else if (text_column && column > text_column) {
		options = options ".br\n\\&" escaped(line) "\n"
	} else {
		text_column = column
		options = options told(line) "\n"
	}
}

function end_option() {
	if (in_values)
		options = options ".RE\n"
	in_values = 0
	text_column = 0
}

function add_option(line) {
	end_option()
	split_option(line)
	options = options ".TP\n" typed(option_names) "\n"
	if (option_text)
		add_option_line(option_text, length(line) - length(option_text) + 1)
}

function section(name, text) {
	if (text)
		printf ".SH %s\n%s", name, text
}

BEGIN {
	where = "usage"
}

/^$/ {
	if (where != "examples")
		where = ""
	next
}

/^examples:/ {
	where = "examples"
	next
}

# A line behind the examples that isn't indented ends them.
where == "examples" && /^[^ ]/ {
	where = ""
}

where == "" {
	where = begins_option($0) ? "options" : /^exit status:/ ? "status" : "text"
	if (where == "text")
		description = description (description ? ".PP\n" : "")
}

where == "usage" {
	sub(/^usage:/, "")
	line = trim($0)
	# One usage goes on in lines that begin with an option.
	usage = usage (NR > 1 && line ~ /^reqscope/ ? ".br\n" : "") typed(line) "\n"
}

where == "text" {
	description = description told(trim($0)) "\n"
}

where == "options" {
	if (begins_option($0))
		add_option($0)
	else
		add_option_line($0)
}

where == "status" {
	sub(/^exit status: */, "")
	status = status told(trim($0)) "\n"
}

where == "examples" {
	examples = examples "\\&" escaped(trim($0)) "\n"
}

END {
	end_option()
	printf ".\\\" Made of `reqscope %s --help`.\n", command
	printf ".TH REQSCOPE\\-%s 1 \"%s\" \"reqscope %s\" \"User Commands\"\n", toupper(command), date, version
	section("NAME", "reqscope\\-" command " \\- " escaped(summary) "\n")
	section("SYNOPSIS", ".nh\n.ad l\n" usage ".ad\n.hy\n")
	section("DESCRIPTION", description)
	section("OPTIONS", options)
	while (more && (getline line < more) > 0)
		print line
	section("EXIT STATUS", status)
	section("EXAMPLES", ".nf\n" examples ".fi\n")
	section("SEE ALSO", ".BR reqscope (1)\n")
}
