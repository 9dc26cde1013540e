#!/bin/sh
# run.sh NAME SECONDS: fuzzes the target tests/fuzz/fuzz_NAME.c with libFuzzer, AddressSanitizer and UBSan.
#
# Findings and the grown corpus stay in build/fuzz/NAME. Seeds: tests/fuzz/corpus/NAME, and what make_corpus.py makes.
set -eu
name=$1 seconds=$2
cd "$(dirname "$0")/../.."
out=${BUILD:-build}/fuzz
mkdir -p "$out/$name/corpus" "$out/seeds/$name"

"${BUILD:-build}/venv/bin/python" tests/fuzz/make_corpus.py "$out/seeds"
seeds=$out/seeds/$name
[ ! -d "tests/fuzz/corpus/$name" ] || seeds="$seeds tests/fuzz/corpus/$name"

# shellcheck disable=SC2046
clang -std=gnu11 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -D_GNU_SOURCE \
	-DRQS_VERSION='"fuzz"' -Iinclude -Iagent -Ianalyzer -o "$out/fuzz_$name" "tests/fuzz/fuzz_$name.c" \
	$(tests/fuzz/sources.sh "$name") -lzstd -lcjson -lm
# shellcheck disable=SC2086
exec "$out/fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -max_len=20000 -print_final_stats=1 \
	-artifact_prefix="$out/$name/" "$out/$name/corpus" $seeds
