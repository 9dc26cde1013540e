# roff.awk - what a manual page needs of text that means nothing to it, for manual.awk and format.awk.

function escaped(text) {
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	gsub(/'/, "\\(aq", text)
	gsub(/~/, "\\(ti", text)
	gsub(/\^/, "\\(ha", text)
	gsub(/`/, "\\(ga", text)
	return text
}
