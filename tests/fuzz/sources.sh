#!/bin/sh
# sources.sh NAME: the sources that the target fuzz_NAME.c is linked with. One more target is one more line.
case $1 in
trace) ls analyzer/base/*.c analyzer/read/*.c analyzer/stats/*.c analyzer/model/*.c analyzer/report/*.c analyzer/render/*.c ;;
columns) ls analyzer/read/columns.c ;;
*) ls agent/core/*.c agent/proto/*.c ;;
esac
