/* payload_image.S - the code that is placed in static Go programs (agent/go), as a file's bytes in ours. */
	.section .rodata
	.p2align 4
	.globl rqs_payload_start, rqs_payload_end
rqs_payload_start:
	.incbin PAYLOAD
rqs_payload_end:
	.section .note.GNU-stack, "", @progbits
