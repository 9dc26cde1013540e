#!/usr/bin/env bash
# run.sh unit|all BUILD: runs the tests and ends with the line "N passed, N failed".
#
# Unit tests print cmocka's own lines, system tests pytest's; the counts are
# taken from the machine-readable results of both.
set -u
what=$1 build=$2
cd "$(dirname "$0")/.." || exit 1
results=$build/results
rm -rf "$results" && mkdir -p "$results"

for test in "$build"/unit/test_*; do
	case $test in *.o | *.d) continue ;; esac
	name=$(basename "$test")
	if CMOCKA_MESSAGE_OUTPUT=xml CMOCKA_XML_FILE="$results/$name-%g.xml" timeout 300 "$test" >"$results/$name.log" 2>&1; then
		echo "unit $name: ok"
	else
		echo "unit $name: FAILED ($?)"
		cat "$results/$name.log" "$results/$name"-*.xml 2>/dev/null
		# A test program that died wrote no result: that is one failure.
		ls "$results/$name"-*.xml >/dev/null 2>&1 || echo '<t><testcase><failure/></testcase></t>' >"$results/$name-died.xml"
	fi
done

# pytest_of NAME FILE...: of a run that wrote no result, too, one failure is counted.
pytest_of() {
	local xml=$results/$1.xml
	shift
	"$build/venv/bin/python" -m pytest -q -ra --junitxml="$xml" -p no:cacheprovider "$@"
	[ -e "$xml" ] || echo '<t><testcase><failure/></testcase></t>' >"$xml"
}

if [ "$what" = all ]; then
	# The analyzer's tests measure no times: those that reckon longest run beside the others. System tests run alone.
	slow='fuzz_corpus|simulation|sites_compare'
	pytest_of cli-slow $(ls tests/cli/test_*.py | grep -E "$slow") >"$results/cli-slow.log" 2>&1 &
	pytest_of cli $(ls tests/cli/test_*.py | grep -vE "$slow")
	wait $!
	cat "$results/cli-slow.log"
	pytest_of system tests/system
fi
python3 tests/count.py "$results"
