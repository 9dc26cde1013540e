#!/bin/sh
# sources.sh NAME: the sources that the target fuzz_NAME.c is linked with. One more target is one more line.
case $1 in
trace) ls analyzer/base/*.c analyzer/read/*.c analyzer/stats/*.c analyzer/model/*.c analyzer/report/*.c analyzer/render/*.[cS] ;;
columns) ls analyzer/read/columns.c ;;
http1) ls agent/proto/http1.c agent/core/route.c ;;
connection) ls agent/core/*.c agent/proto/*.c agent/collect/mapping.c ;;
region) ls agent/collect/*.c | grep -v -e session -e lifetime -e background -e kin ;;
esac
