# format.awk - the manual page of the trace format, from trace_format.md (roff.awk). Markdown as that file uses it: headings, paragraphs,
# tables, code between ``` lines, **bold** and `code`.

# The text without its marks; what they hold is bold.
function told(text, ended, size, word) {
	ended = ""
	while (match(text, /`[^`]*`|\*\*[^*]*\*\*|\*[^* ]*\*/)) {
		word = substr(text, RSTART, RLENGTH)
		size = word ~ /^\*\*/ ? 2 : 1
		ended = ended escaped(substr(text, 1, RSTART - 1)) "\\fB" escaped(substr(word, 1 + size, RLENGTH - 2 * size)) "\\fR"
		text = substr(text, RSTART + RLENGTH)
	}
	text = ended escaped(text)
	return (text ~ /^[.']/ ? "\\&" : "") text
}

# A row of a table: what is in its last column is the text below the others. The head, which comes first, tells what these are.
function add_row(line, cells, columns, i, tag, text) {
	gsub(/^\| *| *\|$/, "", line)
	columns = split(line, cells, / *\| */)
	for (i = 1; i < columns; i++)
		if (cells[i] != "")
			tag = tag (tag ? ", " : "") (in_table ? "\\fB" told(cells[i]) "\\fR" : told(cells[i]))
	text = told(cells[columns])
	if (in_table)
		printf ".TP\n%s\n%s\n", tag, text ? text : "\\&"
	else
		printf "%s(%s: %s)\n", begun ? "" : ".PP\n", tag, text
	in_table = 1
	begun = 0
}

NR == 1 {
	printf "'\\\" t\n.\\\" Made of trace_format.md.\n"
	printf ".TH REQSCOPE\\-TRACE 5 \"%s\" \"reqscope %s\" \"File Formats\"\n", date, version
	print ".SH NAME\nreqscope\\-trace \\- the format of reqscope\\(aqs traces, version 1\n.SH DESCRIPTION"
	next
}

/^```/ {
	print (in_code = !in_code) ? ".PP\n.EX" : ".EE"
	next
}

in_code {
	print "\\&" escaped($0)
	next
}

/^\|[-|]*$/ {
	next
}

/^\|/ {
	add_row($0)
	next
}

{
	in_table = 0
}

/^## / {
	print ".SH " toupper(substr($0, 4))
	begun = 1
	next
}

/^$/ {
	paragraph = 1
	next
}

{
	if (paragraph && !begun && NR > 3)
		print ".PP"
	print told($0)
	paragraph = begun = 0
}

END {
	print ".SH SEE ALSO\n.BR reqscope (1),\n.BR reqscope\\-info (1),\n.BR reqscope\\-export (1)"
}
