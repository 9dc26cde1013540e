"""What few Go programs do, they do as well while they are recorded, and it costs no request."""

import subprocess

import catalog
import pytest
from recording import assert_balanced, ended_trace, report, run_prefix

HOSTILE = catalog.BUILD / "servers/hostile"

# Requests that are served meanwhile, all of them answered.
CASES = {
    "bad-message": 0,
    "failing-exec": 40,
    "exec-behind-a-filter": 40,
    "traced": 0,
    "itself": 0,
    "locked": 0,
}


def said(command: list) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, "\n".join(
        line for line in done.stderr.splitlines() if not line.startswith("reqscope: ")
    )


@pytest.mark.parametrize("case", CASES)
def test_says_the_same(case, trace):
    assert said([*run_prefix(trace), HOSTILE, case]) == said([HOSTILE, case])
    if CASES[case]:
        seen = ended_trace(trace) and report(trace)
        assert (seen["requests"], seen["errors"]) == (CASES[case], 0)
        assert_balanced(seen["completeness"])
