"""Sampled allocations of Go programs: their stacks are those that runtime.Callers tells on the same lines, their estimated
bytes those that were allocated, and they belong to the requests that the bytes were counted for."""

import math
import time
from collections import defaultdict
from dataclasses import dataclass

import load
import pytest
import read_trace
from attaching import Attached
from catalog import GO_VERSIONS, SERVERS
from go_servers import ask
from read_trace import ALLOCATED, Trace
from recording import assert_balanced, ended_trace, recorded, report
from serve import Server

MEAN = 65536
REQUESTS = 2000
KINDS = ("nethttp", "nethttp-stripped", "nethttp-pie", "nethttp-static-pie", "nethttp-cgo", "nethttp-pgo", "nethttp-race",
         *(f"nethttp-{version}" for version in GO_VERSIONS))
DEEP = "deep"  # its stack is longer than what is copied of one
SAMPLED = ("--sites", "--sample-bytes", str(MEAN))


@dataclass
class Recording:
    trace: Trace
    told: dict  # name of a site -> Bytes, Count, Frames, as the program says


@pytest.fixture(scope="module", params=KINDS)
def sites(request, tmp_path_factory):
    if SERVERS[request.param].missing():
        pytest.skip(f"{request.param} wasn't built: make deps")
    path = tmp_path_factory.mktemp("sites") / "trace.rqs"
    with recorded(request.param, path, "run", run_options=SAMPLED) as server:
        assert load.fixed([server.url + "/sites"], REQUESTS, 4).succeeded == REQUESTS
        told = ask(server, "/sites/told")
    return Recording(ended_trace(path), told)


def allocated(trace: Trace) -> list:
    return [row for row in trace.sites if row.event == ALLOCATED]


def stack_of(trace: Trace, row) -> list:
    return [(frame["function"], frame.get("file"), frame.get("line")) for frame in trace.stack(row.stack)]


def told_stack(site: dict) -> list:
    return [(frame["Function"], frame["File"], frame["Line"]) for frame in site["Frames"]]


def rows_on(trace: Trace, site: dict) -> list:
    """The samples on the site's own line."""
    first = told_stack(site)[0]
    return [row for row in allocated(trace) if stack_of(trace, row)[:1] == [first]]


def estimate(rows) -> tuple[float, float]:
    """Horvitz and Thompson's: bytes, and their standard deviation."""
    total = variance = 0.0
    for row in rows:
        missed = math.exp(-row.bytes / row.sample_bytes)
        total += row.bytes / (1 - missed)
        variance += row.bytes**2 * missed / (1 - missed) ** 2
    return total, math.sqrt(variance)


def test_stacks_are_those_of_the_runtime(sites):
    for name, site in sites.told.items():
        expected, rows = told_stack(site), rows_on(sites.trace, site)
        assert rows, f"no sample of {name}"
        for row in rows:
            seen = stack_of(sites.trace, row)
            assert row.bytes == site["Bytes"], name
            if name == DEEP:
                # 12 KiB of its frames.
                assert seen[-1][0] == "(truncated)" and seen[:-1] == expected[: len(seen) - 1] and len(seen) > 40
            else:
                assert seen == expected, name


def test_inlined_functions_are_marked(sites):
    (stack, *_) = [sites.trace.stack(row.stack) for row in rows_on(sites.trace, sites.told["inlined"])]
    names = [frame["function"].rpartition(".")[2] for frame in stack[:3]]
    assert names == ["small", "smaller", "AllSites"]
    if "race" not in str(sites.trace.run["command"]):  # where small() isn't inlined
        assert [bool(frame.get("inlined")) for frame in stack[:3]] == [True, True, False]


def test_bytes_are_estimated_within_their_error(sites):
    away = []
    for site in sites.told.values():
        total, deviation = estimate(rows_on(sites.trace, site))
        away.append(abs(total - site["Bytes"] * site["Count"]) / deviation)
    # Of twelve four or more are beyond 1.96 once in 450 times, and any is beyond 4.5 once in 12,000.
    assert sum(value > 1.96 for value in away) <= 3 and max(away) < 4.5, away


def test_all_of_them_are_the_requests(sites):
    for site in sites.told.values():
        assert {row.route for row in rows_on(sites.trace, site)} == {"/sites"}


@pytest.fixture(scope="module", params=("100", "5"), ids=lambda percent: f"GOGC={percent}")
def works(request, tmp_path_factory):
    """Of many connections at once: goroutines that requests start, and others."""
    path = tmp_path_factory.mktemp("works") / "trace.rqs"
    paths = ("/json", "/slices/a?k=000", "/slices/b?k=100", "/children?k=008", "/nested?k=002", "/worker?k=100", "/late?ms=020",
             "/pull?k=010")  # fmt: skip
    with recorded("nethttp", path, "run", env={"GOGC": request.param}, run_options=SAMPLED) as server:
        done = load.fixed([server.url + path for path in paths], 400 * len(paths), 50)
        assert done.succeeded == 400 * len(paths)
    assert_balanced(report(path)["completeness"])
    return ended_trace(path)


def test_samples_are_of_the_requests_that_their_bytes_were_counted_for(works):
    counted, sampled = defaultdict(int), defaultdict(list)
    for request in works.requests:
        counted[request.route] += request.values["alloc_bytes"]
    for row in allocated(works):
        sampled[row.route].append(row)
    assert set(sampled) - {None} <= set(counted)
    for route, bytes_ in counted.items():
        total, deviation = estimate(sampled[route])
        # Small ones are rarely seen; where none was there is no deviation either.
        assert abs(total - bytes_) < 4.5 * max(deviation, math.sqrt(bytes_ * MEAN)), route


def test_what_comes_from_no_request_is_nobodys(works):
    """Slices of the pool's workers, and those made after the answer."""
    routes = defaultdict(int)
    for row in allocated(works):
        functions = [frame["function"].rpartition(".")[2] for frame in works.stack(row.stack)]
        if functions[0] == "newSlice":
            routes[row.route] += 1
    assert routes["/slices/b"] > 100 and routes["/children"] > 100 and routes[None] > 100
    assert not routes["/worker"] and not routes["/late"]


def test_no_sample_unless_asked_for(trace):
    with recorded("nethttp", trace, "run") as server:
        assert load.fixed([server.url + "/slices/b?k=100"], 500, 8).succeeded == 500
    assert not ended_trace(trace).sites


def test_attached_and_left(tmp_path):
    """The second recording samples what the first doesn't, and neither is felt by who is served."""
    with Server("nethttp") as server:
        for number, options in enumerate((SAMPLED, (), SAMPLED)):
            path = tmp_path / f"{number}.rqs"
            with Attached(server.process.pid, path, *options):
                assert load.fixed([server.url + "/sites"], 500, 8).succeeded == 500
                told = ask(server, "/sites/told")
                time.sleep(0.2)
            seen = read_trace.read(path)
            assert bool(seen.sites) == bool(options)
            if options:
                for name in ("direct", "inlined", "promoted", "goroutine"):
                    rows = rows_on(seen, told[name])
                    assert rows and all(stack_of(seen, row) == told_stack(told[name]) for row in rows), name
