"""Other people's tests with and without the agent: the same tests have the same outcomes.

Some take minutes and some fail now and then, so that none of it belongs to `make check`: `make transparency-long`.
"""

import glob
import os
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree
from pathlib import Path

import pytest
from recording import LIBRARY, assert_balanced, ended_trace, preload_env
from serve import free_port

PYTHON = sys._base_executable
# In 3.11.7 these never end where a thread runs another interpreter, without the agent as well.
NEEDS = {"test__xxsubinterpreters": "3.12", "test_interpreters": "3.12"}
# A process that listens for a moment is a server: the agent is on from then, whatever the tests do.
RUNNER = """
import runpy, socket
socket.create_server(("127.0.0.1", 0)).close()
runpy.run_module("test", run_name="__main__")
"""
# VSOCK's tests wait for ever in some virtual machines; one suite wants to be allowed the loopback network.
OPTIONS = ("-v", "-i", "*VSOCK*")
MORE_OPTIONS = {"test_socketserver": ("-u", "network")}
SECONDS = 400  # of one run
# A module at a time: a test that hangs costs no more than one of them.
ASYNCIO = [path.stem for path in sorted(Path(sysconfig.get_path("stdlib"), "test/test_asyncio").glob("test_*.py"))]
SUITES = (
    "test_gc", "test_capi", "test_context", "test_tracemalloc", "test__xxsubinterpreters", "test_interpreters",
    "test_socket", "test_selectors", "test_threading", "test_subprocess", "test_socketserver", "test_ssl",
    *(f"test_asyncio.{module}" for module in ASYNCIO if "windows" not in module),
)  # fmt: skip


def python_for(suite: str) -> str:
    """The tests' own, or pyenv's newest of the release that the suite needs."""
    found = glob.glob(os.path.expanduser(f"~/.pyenv/versions/{NEEDS.get(suite, 'none')}.*/bin/python3"))
    return max(found) if found else PYTHON


def outcomes(python: str, suite: str, folder: Path, env: dict) -> dict[str, str]:
    """test -> ok, skipped, failure or error, as CPython's own runner says."""
    folder.mkdir()
    results = folder / "results.xml"
    with open(folder / "output", "wb") as output:
        subprocess.run(
            [python, "-c", RUNNER, *OPTIONS, *MORE_OPTIONS.get(suite, ()), "--junit-xml", results, suite],
            cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=SECONDS,
        )  # fmt: skip
    seen: dict[str, str] = {}
    for case in xml.etree.ElementTree.parse(results).iter("testcase"):
        bad = {child.tag for child in case} & {"failure", "error", "skipped"}
        # A test with subtests is listed once for each that failed.
        seen[case.get("name")] = min(bad, default="ok") if case.get("name") not in seen else "failure"
    return seen


@pytest.mark.parametrize("suite", SUITES)
def test_cpythons_own(suite, tmp_path):
    """Twice without the agent, to know which tests have no steady outcome."""
    python = python_for(suite)
    if suite in NEEDS and python == PYTHON:
        pytest.skip(f"pyenv has no Python {NEEDS[suite]}")
    if subprocess.run([python, "-c", f"import test.{suite}"], capture_output=True).returncode:
        pytest.skip(f"{python} has no test.{suite}")
    first = outcomes(python, suite, tmp_path / "first", {})
    agent = {"LD_PRELOAD": str(LIBRARY), "REQSCOPE_OUT": str(tmp_path / "trace.rqs")}
    seen = outcomes(python, suite, tmp_path / "seen", agent)
    second = outcomes(python, suite, tmp_path / "second", {})
    flaky = {test for test in first | second if first.get(test) != second.get(test)}
    different = {test: (first[test], seen.get(test)) for test in first if seen.get(test) != first[test]}
    print(f"{suite}: {len(seen)} tests, {len(flaky)} without a steady outcome: {sorted(flaky)}")
    assert {test: was for test, was in different.items() if test not in flaky} == {}
    assert set(seen) - set(first) - set(second) == set()


@pytest.mark.parametrize("policy", ("round-robin", "none"))
def test_nodes_cluster(policy, tmp_path):
    """By either way to share a listener; workers that end, and a connection that is passed."""
    trace = tmp_path / "trace.rqs"
    seen = []
    for env in ({}, preload_env(trace)):
        command = ["node", Path(__file__).with_name("cluster.js"), str(free_port()), policy]
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
        seen.append((done.returncode, done.stdout, done.stderr))
    assert seen[0] == seen[1]
    completeness = ended_trace(trace).totals["completeness"]
    assert_balanced(completeness)
    assert f"requests: {completeness['finished']}," in seen[1][1]
