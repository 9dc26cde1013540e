# options.awk - what can be completed behind a command, from its --help text (help.awk). Lines of four fields with tabs
# between:
#
#   COMMAND  command    WHAT   SUMMARY   what its arguments are, with commas between: trace, pid, command
#   COMMAND  --option   TAKES  TEXT      nothing: none, file, any, or =VALUE,VALUE...

function row(name, takes, text) {
	printf "%s\t%s\t%s\t%s\n", command, name, takes, text
}

# What is said, up to where it goes into details.
function briefly(text) {
	sub(/^[{][^}]*[}]: /, "", text)
	sub(/( \(|;|\. ).*/, "", text)
	if (index(text, ": ") > 10)
		sub(/: .*/, "", text)
	return text
}

function takes_of(argument, text) {
	if (!argument)
		return "none"
	if (argument ~ /^[a-z|]+$/) {
		gsub(/\|/, ",", argument)
		return "=" argument
	}
	if (argument == "FORMAT")
		return "=" values
	return argument ~ /^(FILE|OUT)$/ ? "file" : "any"
}

# "text (default), json, md or html".
function listed(text) {
	gsub(/\([^)]*\)/, "", text)
	gsub(/;[^:]*:| or /, ",", text)
	gsub(/ +/, "", text)
	return text
}

function end_option(count, i, parts, word) {
	count = split(names, parts, /, /)
	if (!values)
		values = listed(text)
	for (i = 1; i <= count; i++) {
		split(parts[i], word, /[ =]/)
		if (word[1] ~ /^-/)
			option(word[1], argument_of(parts[i], parts[count]))
	}
	names = text = values = ""
}

function option(name, argument) {
	row(name, takes_of(argument), argument == "FORMAT" ? "what is written" : briefly(text))
	has_help = has_help || name == "--help"
}

# Of "-o, --output OUT" both take OUT.
function argument_of(part, last) {
	if (part !~ /[ =]/)
		part = last
	return part ~ /[ =]/ ? substr(part, match(part, /[ =]/) + 1) : ""
}

function add_text(line) {
	if (is_value(line)) {
		values = values (values ? "," : "") substr(line, 1, index(line, " ") - 1)
	} else if (line !~ /  /) {
		text = text (text ? " " : "") line
	}
}

/^usage:/ {
	what = /PID/ ? "pid" : ""
	if (/CMD/)
		what = what (what ? "," : "") "command"
	next
}

begins_option($0) {
	end_option()
	split_option($0)
	names = option_names
	add_text(option_text)
	next
}

names && /^      / {
	add_text(trim($0))
	next
}

{
	end_option()
	if (/-- CMD/)
		what = "command"
}

END {
	end_option()
	if (!has_help)
		row("--help", "none", "this text")
	row("command", what ? what : "trace", summary)
}
