"""What a request allocates, in its own goroutine and those that it started, is its own, exactly; nothing else is."""

import time
from dataclasses import dataclass

import load
import pytest
from go_servers import ask, column, median, quantile, usual
from read_trace import Trace
from recording import GO, ended_trace, recorded, report

CLIENTS = 50
SLICE = 1000  # bytes, of each slice in the servers' handlers


@dataclass
class Recording:
    trace: Trace
    report: dict
    rounds: int
    allocs: dict  # path -> what testing.AllocsPerRun says of its work
    mallocs: int  # by runtime.MemStats, when the load was over

    def bytes(self, route: str) -> list[int]:
        return column(self.trace, route, "alloc_bytes")

    def counts(self, route: str) -> list[int]:
        return column(self.trace, route, "alloc_count")


# What a connection needs goes to its first request: that is for this path, which nothing is compared with.
FIRST = "/json"
# All others have one parameter of three digits, so that reading it costs them the same.
EMPTY = "/slices/a?k=000"
WORKS = ("/slices/b?k=100", "/children?k=008", "/nested?k=002", "/pool?k=000", "/worker?k=100", "/late?ms=020", "/pull?k=010")


@pytest.fixture(scope="module", params=("100", "5"), ids=lambda percent: f"GOGC={percent}")
def nethttp(request, tmp_path_factory):
    """All the works in one load of 50 connections."""
    path = tmp_path_factory.mktemp("memory") / "trace.rqs"
    paths = (FIRST, EMPTY, *WORKS)
    rounds = 500
    with recorded("nethttp", path, "run", env={"GOGC": request.param}) as server:
        allocs = {work.partition("?")[0]: ask(server, allocs_query(work)) for work in WORKS}
        # Each client asks for the paths in turn: with 50 rounds of 10 requests or so, as many of each.
        done = load.fixed([server.url + path for path in paths], rounds * len(paths), CLIENTS)
        assert done.succeeded == rounds * len(paths)
        time.sleep(0.1)  # for the last goroutine that /late left
        mallocs = ask(server, "/memstats")["Mallocs"]
    return Recording(ended_trace(path), report(path), rounds, allocs, mallocs)


def allocs_query(work: str) -> str:
    path, _, parameter = work.partition("?")
    return f"/allocs?path={path}&{parameter}"


def test_slices_differ_by_their_bytes(nethttp):
    """100 slices and none in one load: every quantile differs by 100,000 bytes, within what the empty one varies."""
    empty, full = nethttp.bytes("/slices/a"), nethttp.bytes("/slices/b")
    assert len(empty) == len(full) == nethttp.rounds
    assert usual(full) - usual(empty) == 100 * SLICE
    spread = quantile(empty, 0.99) - quantile(empty, 0.01)
    for part in (0.01, 0.5, 0.99):
        assert abs(quantile(full, part) - quantile(empty, part) - 100 * SLICE) <= spread + SLICE / 2
    assert usual(nethttp.counts("/slices/b")) - usual(nethttp.counts("/slices/a")) == 100
    # Not one slice of one route is with a request of the other.
    assert max(empty) < min(full) and min(full) >= 100 * SLICE


@pytest.mark.parametrize("route", ("/slices/b", "/children", "/nested", "/pool", "/pull"))
def test_the_testing_package_agrees(nethttp, route):
    """The count of what a handler's work allocates is that of testing.AllocsPerRun, children's included."""
    assert usual(nethttp.counts(route)) - usual(nethttp.counts("/slices/a")) == nethttp.allocs[route]


def test_goroutines_that_it_started_are_the_requests(nethttp):
    """Beside the slices only what a `go` statement takes: a closure each, and what they wait on."""
    empty = median(nethttp.bytes("/slices/a"))
    for route, goroutines, slices in (("/children", 8, 80), ("/nested", 6, 40)):
        own = [value - empty - slices * SLICE for value in nethttp.bytes(route)]
        assert 0 < median(own) <= goroutines * 64
        assert quantile(own, 0.01) > -SLICE / 2, "a slice is missing"


def test_workers_are_not_the_requests(nethttp):
    """The pool was started in main: what it allocates is nobody's."""
    more = median(nethttp.bytes("/worker")) - median(nethttp.bytes("/slices/a"))
    assert 0 <= more < SLICE
    assert quantile(nethttp.bytes("/worker"), 0.99) - quantile(nethttp.bytes("/slices/a"), 0.99) < 2 * SLICE
    assert outside(nethttp.report)["alloc_bytes"] >= nethttp.rounds * 100 * SLICE


def test_what_comes_after_the_answer_is_not_the_requests(nethttp):
    more = median(nethttp.bytes("/late")) - median(nethttp.bytes("/slices/a"))
    assert 0 <= more < SLICE
    assert outside(nethttp.report)["alloc_bytes"] >= nethttp.rounds * (100 + 10) * SLICE


def outside(seen: dict) -> dict:
    """What is no open request's."""
    parts = [part for part in (seen["unattributed"], seen["after_response"]) if part]
    return {what: sum(part[what] for part in parts) for what in ("alloc_bytes", "alloc_count")}


@pytest.mark.parametrize("what", ("alloc_bytes", "alloc_count"))
def test_the_parts_are_the_whole(nethttp, what):
    requests = sum(request.values[what] for request in nethttp.trace.requests)
    assert requests + outside(nethttp.report)[what] == nethttp.report["process_alloc"][what]


def test_the_runtime_counts_the_same(nethttp):
    """runtime.MemStats.Mallocs of the whole process; the answer to the question itself comes on top."""
    whole = nethttp.report["process_alloc"]["alloc_count"]
    assert nethttp.mallocs <= whole <= nethttp.mallocs + 200


@pytest.mark.parametrize("gogc", ("100", "5"))
@pytest.mark.parametrize("name", [name for name in GO if name != "nethttp"])
def test_frameworks(name, gogc, trace):
    paths = (FIRST, EMPTY, "/slices/b?k=100", "/children?k=008", "/worker?k=100")
    with recorded(name, trace, "run", env={"GOGC": gogc}) as server:
        done = load.fixed([server.url + path for path in paths], 200 * len(paths), CLIENTS)
    assert done.succeeded == 200 * len(paths)
    seen = ended_trace(trace)
    empty, full, children, worker = (
        column(seen, route, "alloc_bytes") for route in ("/slices/a", "/slices/b", "/children", "/worker")
    )
    assert usual(full) - usual(empty) == 100 * SLICE
    # Where the collector often empties the framework's pools, filling them again is a part of many requests.
    assert abs(median(full) - median(empty) - 100 * SLICE) < SLICE
    assert max(empty) < 100 * SLICE <= min(full)
    assert 0 < usual(children) - usual(empty) - 80 * SLICE <= 8 * 64
    assert median(worker) - median(empty) < SLICE


def test_one_goroutine_more_is_no_other_requests(trace):
    """Requests that wait while others allocate, on one connection each, get nothing of it."""
    with recorded("nethttp", trace, "run") as server:
        urls = [server.url + path for path in ("/sleep?ms=5", "/slices/b?k=100")]
        assert load.fixed(urls, 1000, CLIENTS).succeeded == 1000
    seen = ended_trace(trace)
    assert quantile(column(seen, "/sleep", "alloc_bytes"), 0.99) < 100 * SLICE
    assert min(column(seen, "/slices/b", "alloc_bytes")) >= 100 * SLICE
