/* page_assets.S - what every HTML report holds: page.css and page.js, each as a text that ends with a 0. */
	.section .rodata
	.globl rqs_html_style, rqs_html_script
rqs_html_style:
	.incbin "analyzer/render/page.css"
	.byte 0
rqs_html_script:
	.incbin "analyzer/render/page.js"
	.byte 0
	.section .note.GNU-stack, "", @progbits
