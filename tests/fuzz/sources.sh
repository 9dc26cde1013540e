#!/bin/sh
# sources.sh NAME: what the target fuzz_NAME.c is linked with: sources, and libraries besides. One more target is one more line.
reader='analyzer/base/*.c analyzer/read/*.c analyzer/stats/*.c analyzer/model/*.c'
# shellcheck disable=SC2086
case $1 in
trace) ls tests/fuzz/made_trace.c $reader analyzer/report/*.c analyzer/render/*.[cS] ;;
merge) ls tests/fuzz/made_trace.c $reader analyzer/merge/*.c agent/collect/encode.c agent/collect/writer.c agent/collect/totals_list.c ;;
export) ls tests/fuzz/made_trace.c $reader analyzer/export/*.c analyzer/render/*.[cS] && echo -lz ;;
columns) ls analyzer/read/columns.c ;;
http1) ls agent/proto/http1.c agent/core/route.c ;;
connection) ls agent/core/*.c agent/proto/*.c agent/collect/mapping.c ;;
region)
	ls agent/collect/*.c agent/unwind/*.c | grep -v -e session -e lifetime -e background -e kin
	printf 'agent/inject/%s.c\n' elf_image go_table inline_tree mappings
	echo -lunwind-x86_64 -lunwind -ldw -lelf -liberty
	;;
esac
