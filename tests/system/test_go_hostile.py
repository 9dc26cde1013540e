"""What few Go programs do, they do as well while they are recorded, and it costs no request."""

import json
import subprocess

import catalog
import pytest
from go_servers import median
from recording import assert_balanced, ended_trace, report, run_prefix

HOSTILE = catalog.BUILD / "servers/hostile"

# Requests that are served meanwhile, all of them answered.
CASES = {
    "bad-message": 0,
    "failing-exec": 40,
    "exec-behind-a-filter": 40,
    "traced": 0,
    "itself": 0,
    "execveat": 0,
    "locked": 0,
    "pull": 40,
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


def test_what_execveat_starts_is_hooked_too(trace, monkeypatch):
    monkeypatch.setenv("PROGRAM", str(catalog.BUILD / "servers/mirror"))
    status, out, _ = said([*run_prefix(trace), HOSTILE, "execveat"])
    assert (status, json.loads(out)["placed"]) == (0, True)


def test_a_coroutine_that_waits_is_not_on_a_cpu(trace):
    """30 ms of sleep in a coroutine are its caller's."""
    said([*run_prefix(trace), HOSTILE, "pull"])
    asleep = [request for request in ended_trace(trace).requests if request.route == "/asleep"]
    assert len(asleep) == 20 and min(request.handler for request in asleep) > 29e6
    assert median([request.values["cpu_time"] for request in asleep]) < 3e6
    assert median([request.values["sched_wait"] for request in asleep]) < 3e6
