#!/bin/sh
# `make demo`: the same work on a threaded and on an asyncio server, both of Python's standard library, then the comparison.
set -eu
cd "$(dirname "$0")/.."

build=${BUILD:-build}
seconds=${DEMO_SECONDS:-5}
out=$build/demo
mkdir -p "$out"

# record NAME: the server NAME under load, into $out/NAME.rqs.
record() {
	echo "demo: $1 server, $seconds s under load"
	trace=$out/$1.rqs
	python3 tests/servers/serve.py "$1" --wrap "$build/reqscope run -f -o $trace --" >"$out/$1.json" 2>"$out/$1.log" &
	serve=$!
	trap 'kill $serve 2>/dev/null || true' EXIT
	wait_for_line "$out/$1.json"
	port=$(sed -n 's/.*"port": \([0-9]*\).*/\1/p' "$out/$1.json")
	wrk -t1 -c8 -d"${seconds}s" -s tests/load/mix.lua "http://127.0.0.1:$port/" >"$out/$1.wrk"
	kill -TERM "$serve"
	wait "$serve" || true # the status of a server that was ended
	trap - EXIT
	sed -n 's/^ *\([0-9]* requests in .*s\),.*/demo: wrk counted \1 (not what was on its way at the end)/p' "$out/$1.wrk"
}

wait_for_line() {
	for _ in $(seq 200); do
		[ -s "$1" ] && return
		sleep 0.1
	done
	echo "demo: the server did not start" >&2
	exit 1
}

record threaded
record asyncio
"$build/reqscope" compare "$out/threaded.rqs" "$out/asyncio.rqs"
"$build/reqscope" compare -f --format html -o "$out/compare.html" "$out/threaded.rqs" "$out/asyncio.rqs"
echo "demo: $PWD/$out/compare.html"
