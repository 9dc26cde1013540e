"""Kinds of build, and Go's versions: each is recorded in full, or says what is not measured. Never half of it."""

import struct
import sys
import time

import load
import pytest
from catalog import GO_VERSIONS, SERVERS
from go_servers import ask, column, usual
from recording import MODES, SETTLE, assert_balanced, ended_trace, recorded, report, route_counts, run_prefix
from serve import Server

PATHS = ("/slices/a?k=000", "/slices/b?k=100", "/children?k=008", "/json")
CLIENTS = 16
ROUNDS = CLIENTS * 12  # each client asks for the paths in turn

# What the notes of a trace say where it is not measured.
NO_MEMORY = "alloc_bytes, alloc_count"
NO_CHILDREN = "allocations of goroutines that a request starts"
NO_TIMES = "cpu_time, sched_wait, children_cpu_time"


def record(name: str, mode: str, trace) -> dict:
    """A load, whose requests must all be there; what the report says of it."""
    with recorded(name, trace, mode) as server:
        done = load.fixed([server.url + path for path in PATHS], ROUNDS * len(PATHS), CLIENTS)
        counted = ask(server, "/__count")["count"]
    assert done.succeeded == counted == ROUNDS * len(PATHS)
    seen = ended_trace(trace) and report(trace)
    routes = [("GET", path.partition("?")[0]) for path in PATHS]
    assert route_counts(seen) == {**dict.fromkeys(routes, ROUNDS), ("GET", "/__count"): 1}
    assert_balanced(seen["completeness"])
    assert seen["runtime"]["name"] == "go"
    return seen


def assert_measured_or_said(trace, seen: dict) -> set:
    """Each figure is exact, or null in all requests and noted; returns what was noted."""
    missing = {note["what"] for note in seen["not_measured"]}
    requests = ended_trace(trace).requests
    routes = ("/slices/a", "/slices/b", "/children")
    empty, full, children = (column(ended_trace(trace), route, "alloc_bytes") for route in routes)
    if NO_MEMORY in missing:
        assert {request.values["alloc_bytes"] for request in requests} == {None}
    else:
        assert usual(full) - usual(empty) == 100_000
        assert max(empty) < 100_000 <= min(full)
        if NO_CHILDREN not in missing:
            assert 0 < usual(children) - usual(empty) - 80_000 <= 8 * 64
    times = [request.values["cpu_time"] for request in requests]
    assert all(time is None for time in times) if NO_TIMES in missing else all(time > 0 for time in times)
    return missing


@pytest.mark.parametrize("name", ("nethttp-stripped", "nethttp-static-pie"))
def test_static(name, trace):
    missing = assert_measured_or_said(trace, record(name, "run", trace))
    assert not missing & {NO_MEMORY, NO_CHILDREN, NO_TIMES}


@pytest.mark.parametrize("name, mode", [("nethttp-cgo", mode) for mode in MODES] + [("nethttp-pie", "run")])
def test_with_a_loader(name, mode, trace):
    """ld.so loads the library into a program that needs C libraries, and it patches the program from inside."""
    missing = assert_measured_or_said(trace, record(name, mode, trace))
    assert not missing & {NO_MEMORY, NO_CHILDREN, NO_TIMES}


# Runs a command under a filter of system calls: its instructions, in hexadecimal, come first.
FILTERED = """
import ctypes, os, sys
code = bytes.fromhex(sys.argv[1])
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])
"""
LOAD, EQUAL, AT_LEAST, HAS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOWED, REFUSED = 0x7FFF0000, 0x00050001
NUMBER, ADDRESS, ADDRESS_HIGH, PROTECTION = 0, 16, 20, 32
MPROTECT, PWRITE = 10, 18
# As SELinux, without execmod: what was changed in the program's own text is never executable again.
CHANGED_TEXT = [(LOAD, 0, 0, NUMBER), (EQUAL, 0, 7, MPROTECT), (LOAD, 0, 0, PROTECTION), (HAS, 0, 5, 4),
                (LOAD, 0, 0, ADDRESS_HIGH), (EQUAL, 0, 3, 0), (LOAD, 0, 0, ADDRESS), (AT_LEAST, 1, 0, 0x40000000),
                (RETURN, 0, 0, REFUSED)]  # fmt: skip
# Neither may /proc/self/mem be written, as some kernels have it.
CHANGED_MEMORY = [(LOAD, 0, 0, NUMBER), (EQUAL, 0, 1, PWRITE), (RETURN, 0, 0, REFUSED)]


def filtered(*instructions) -> list:
    code = b"".join(struct.pack("HBBI", *words) for words in (*instructions, (RETURN, 0, 0, ALLOWED)))
    return [sys.executable, "-c", FILTERED, code.hex()]


@pytest.mark.parametrize("refused", ([], CHANGED_MEMORY), ids=("text", "text and memory"))
def test_text_that_may_not_be_changed(refused, trace):
    """It serves, and is recorded where there is another way to change it."""
    with Server("nethttp-cgo", wrap=[*run_prefix(trace), *filtered(*refused, *CHANGED_TEXT)]) as server:
        assert load.fixed(server.url + "/json", 100).succeeded == 100
        time.sleep(SETTLE)
        server.stop()
    totals = ended_trace(trace).totals
    assert (totals["completeness"]["finished"], totals["unplaced"]) == ((0, 1) if refused else (100, 0))


@pytest.mark.parametrize("kilobytes, recorded_there", ((1_900_000, False), (4_000_000, True)))
def test_with_a_loader_and_little_room(kilobytes, recorded_there, trace):
    """Where address space is limited, it has all of it for itself."""
    limited = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh"]
    with Server("nethttp-cgo", wrap=[*run_prefix(trace), *limited]) as server:
        assert load.fixed(server.url + "/json", 100).succeeded == 100
        time.sleep(SETTLE)
        server.stop()
    totals = ended_trace(trace).totals
    assert (totals["completeness"]["finished"], totals["unplaced"]) == ((100, 0) if recorded_there else (0, 1))


def test_with_a_profile(trace):
    """The compiler inlines allocators and the scheduler where the profile says that they are hot."""
    assert_measured_or_said(trace, record("nethttp-pgo", "run", trace))


def test_a_plugin(trace):
    """Its requests are recorded as all others; their memory isn't told, as a plugin has an allocator of its own."""
    with recorded("nethttp-plugin", trace, "run") as server:
        urls = [server.url + path for path in ("/slices/a?k=000", "/plugin?k=100")]
        assert load.fixed(urls, 384, clients=16).succeeded == 384
    seen = ended_trace(trace) and report(trace)
    assert route_counts(seen) == {("GET", "/slices/a"): 192, ("GET", "/plugin"): 192}
    assert seen["alloc_bytes"] is None and seen["process_alloc"] is None
    assert_balanced(seen["completeness"])


def test_the_race_detector(trace):
    """Recorded rightly, or not at all and with a word: the program runs in any case."""
    with recorded("nethttp-race", trace, "run") as server:
        done = load.fixed([server.url + path for path in PATHS], 400, clients=8)
        server.stop()
        output = server.output
    assert done.succeeded == 400
    assert "DATA RACE" not in output
    seen = ended_trace(trace) and report(trace)
    if seen["requests"] == 0:
        assert "reqscope: " in output
    else:
        assert seen["requests"] == 400
        assert_balanced(seen["completeness"])
        assert_measured_or_said(trace, seen)


@pytest.mark.parametrize("version", GO_VERSIONS)
def test_versions(version, trace):
    name = f"nethttp-{version}"
    if SERVERS[name].missing():
        pytest.skip(f"Go {version} could not be had when the servers were built (tests/deps.sh check)")
    seen = record(name, "run", trace)
    assert seen["runtime"]["version"].startswith(version + ".")
    missing = assert_measured_or_said(trace, seen)
    assert NO_MEMORY not in missing
    if version not in ("1.19", "1.20"):
        assert not missing & {NO_CHILDREN, NO_TIMES}
