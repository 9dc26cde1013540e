"""Kinds of build, and Go's versions: each is recorded in full, or says what is not measured. Never half of it."""

import load
import pytest
from catalog import GO_VERSIONS, SERVERS
from go_servers import ask, column, usual
from recording import MODES, assert_balanced, ended_trace, recorded, report, route_counts

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
