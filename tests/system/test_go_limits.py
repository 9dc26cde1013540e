"""As much of everything as a Go server may have: threads, goroutines, descriptors. Requests are as exact as ever."""

import resource
import sys
import time
from pathlib import Path

import load
import procfs
import pytest
from go_servers import ask, usual
from recording import SETTLE, assert_balanced, ended_trace, recorded, report, route_counts, run_prefix
from serve import Server

EMPTY, FULL = "/slices/a?k=000", "/slices/b?k=100"
CLIENTS = 50
ROUNDS = 20 * CLIENTS


def load_both(server):
    done = load.fixed([server.url + EMPTY, server.url + FULL], 2 * ROUNDS, CLIENTS)
    assert done.succeeded == 2 * ROUNDS


def assert_all_counted(trace, loads=1) -> dict:
    """Both routes, every request once; what the report says."""
    seen = ended_trace(trace) and report(trace)
    counts = route_counts(seen)
    assert (counts[("GET", "/slices/a")], counts[("GET", "/slices/b")]) == (loads * ROUNDS, loads * ROUNDS)
    assert_balanced(seen["completeness"])
    return seen


def assert_exact(requests):
    """No request has lost a byte, or got one of another's."""
    empty, full = ([request.values["alloc_bytes"] for request in requests if request.route == route]
                   for route in ("/slices/a", "/slices/b"))  # fmt: skip
    assert usual(full) - usual(empty) == 100_000
    assert max(empty) < 100_000 <= min(full)


def status(pid: int, key: str) -> int:
    """A number of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def needs_memory(gibibytes: int):
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    if available < gibibytes << 20:
        pytest.skip(f"needs {gibibytes} GiB of memory that is free")


def needs_threads(count: int):
    allowed = [int(Path("/proc/sys/kernel", name).read_text()) for name in ("threads-max", "pid_max")]
    mine = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if min(allowed + [mine] * (mine != resource.RLIM_INFINITY)) < count + 4000:
        pytest.skip(f"{count} threads aren't allowed here")


def test_ten_thousand_threads(trace):
    """All but a few wait in a system call each."""
    needs_threads(10_000)
    with recorded("nethttp", trace, "run") as server:
        ask(server, "/block?k=10000")
        assert status(server.pid, "Threads") > 10_000
        load_both(server)
    assert_all_counted(trace)
    assert_exact(ended_trace(trace).requests)


def test_a_million_goroutines(trace):
    """They are one request's, and wait; what others allocate meanwhile is theirs, and the runtime counts the same in all."""
    needs_memory(6)
    with recorded("nethttp", trace, "run") as server:
        ask(server, "/park?k=1000000")
        load_both(server)
        figures = ask(server, "/memstats")
    assert figures["Goroutines"] > 1_000_000
    seen = assert_all_counted(trace)
    assert_exact(ended_trace(trace).requests)
    assert 0 <= seen["process_alloc"]["alloc_count"] - figures["Mallocs"] < 200
    assert max(sample["goroutines"] for sample in ended_trace(trace).samples if sample["goroutines"]) > 1_000_000


# Becomes its arguments with all descriptors taken but for some at the end, above a million where that is allowed.
CROWDED = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
try:
    hard = max(hard, int(open("/proc/sys/fs/nr_open").read()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
except ValueError:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
while os.dup(2) < min(hard, 1 << 20) - 1000:
    pass
for fd in os.listdir("/proc/self/fd"):
    if os.path.exists("/proc/self/fd/" + fd):
        os.set_inheritable(int(fd), True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_the_highest_descriptors(trace):
    with Server("nethttp", wrap=[*run_prefix(trace), sys.executable, "-c", CROWDED]) as server:
        load_both(server)
        time.sleep(SETTLE)
        server.stop()
    assert_all_counted(trace)
    assert_exact(ended_trace(trace).requests)


# The agent takes a 32nd of what its host may have for the table of goroutines: 524,288 entries here.
LIMITED = ["sh", "-c", 'ulimit -d 4000000; exec "$@"', "sh"]


def test_more_goroutines_than_there_is_room_for(trace):
    """The requests of those that have no entry have no numbers; of the others, and of the whole process, none is wrong."""
    needs_memory(5)
    with Server("nethttp", wrap=[*run_prefix(trace), *LIMITED]) as server:
        load_both(server)
        ask(server, "/park?k=700000")
        load_both(server)
        figures = ask(server, "/memstats")
        time.sleep(SETTLE)
        server.stop()
    seen = assert_all_counted(trace, loads=2)
    requests = [request for request in ended_trace(trace).requests if request.route.startswith("/slices/")]
    before, after = requests[: 2 * ROUNDS], requests[2 * ROUNDS :]
    assert_exact(before)
    measured = [request for request in after if request.values["alloc_bytes"] is not None]
    assert len(measured) < len(after), "there was room for them"
    assert all((request.values["alloc_bytes"] >= 100_000) == (request.route == "/slices/b") for request in measured)
    lost = sum(request.values["alloc_bytes"] is None for request in ended_trace(trace).requests)
    assert sum(process["events"].get("goroutine_beyond_table", 0) for process in ended_trace(trace).totals["processes"]) == lost
    assert 0 <= seen["process_alloc"]["alloc_count"] - figures["Mallocs"] < 200
