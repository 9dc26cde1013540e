"""Sampled allocations on their way to the trace: whose they are, how many, and that none is lost."""

import math
import os
import signal
import threading
import time
from collections import Counter, defaultdict

import load
import pytest
import read_trace
from raw_client import Connection, get
from read_trace import AFTER_RESPONSE, ALLOCATED, FREED, OF_REQUEST, UNATTRIBUTED
from recording import assert_balanced, collector_of, ended_trace, recorded, run_prefix, small_disk
from serve import Server

# So far apart that all samples of a test fit the chunks that stacks may take, however late the collector comes; but not
# where a kill ends the load.
MEAN = 32768
OPTIONS = ("--sites", "--sample-bytes", str(MEAN))
REQUESTS = 200
CLIENTS = 6
EACH = 25  # pairs of blocks a request of /work
# The server's functions that allocate: whose route each is, and the bytes it asks for.
SITES = {"small_block": ("/work", 100), "large_block": ("/work", 3000), "kept_block": ("/keep", 2000)}
BY_SIZE = {size: name for name, (_, size) in SITES.items()}
NO_ROOM = "(no room for its stack)"


def assert_expected(seen, calls, size, mean=MEAN):
    """Within 4 standard deviations of a binomial distribution."""
    p = -math.expm1(-size / mean)
    assert abs(seen - calls * p) <= 4 * math.sqrt(calls * p * (1 - p)) + 1, (seen, calls * p)


def site(trace, row):
    """The server's own innermost function."""
    named = (frame["function"] for frame in trace.stack(row.stack) if frame.get("module") == "sites")
    return next(named, None)


def has_no_stack(trace, row):
    return [frame["function"] for frame in trace.stack(row.stack)] == [NO_ROOM]


def whose(trace, row):
    """As site(); where there was no room for the stack, as no two functions ask for the same, by the size."""
    return BY_SIZE.get(row.bytes) if has_no_stack(trace, row) else site(trace, row)


def allocated(trace):
    return [row for row in trace.sites if row.event == ALLOCATED]


def assert_complete(trace, at_once=0):
    """Each process has all samples from number 1 on, each once, but for so many that a kill found halfway; what was
    freed had been allocated."""
    numbers, ends = defaultdict(list), defaultdict(list)
    for row in trace.sites:
        (numbers if row.event == ALLOCATED else ends)[row.process].append(row.number)
    for process, own in numbers.items():
        assert len(set(own)) == len(own) and min(own) >= 1 and max(own) - len(own) <= at_once, f"process {process}"
    for process, own in ends.items():
        assert len(set(own)) == len(own) and len(set(own) - set(numbers[process])) <= at_once, f"process {process}"
    for process in trace.totals["processes"]:
        assert not {"sample_lost", "sample_not_followed"} & set(process["events"]), process["events"]


def assert_routes(trace):
    """Of the known functions' blocks, each is its own route's."""
    for row in allocated(trace):
        expected = SITES.get(site(trace, row))
        if expected:
            assert (row.owner, row.method, row.route, row.bytes) == (OF_REQUEST, "GET", *expected), row


def counts(trace):
    return Counter(site(trace, row) for row in allocated(trace))


def load_all(server, clients=8):
    urls = [f"{server.url}{path}" for path in (f"/work?n={EACH}", f"/keep?n={EACH}", "/nothing")]
    load.fixed(urls, 3 * REQUESTS, clients=clients)


def assert_counts(trace):
    for name, (_, size) in SITES.items():
        assert_expected(counts(trace)[name], REQUESTS * EACH, size)


def test_samples_have_routes(trace, mode):
    """In the number that is to be expected, by threads that serve at the same time; each is followed to its end."""
    env = {"REQSCOPE_SITES": "1", "REQSCOPE_SAMPLE_BYTES": str(MEAN)} if mode == "preload" else {}
    with recorded("sites", trace, mode, run_options=OPTIONS, env=env) as server:
        load_all(server)
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    assert seen.totals["completeness"]["finished"] == 3 * REQUESTS == len(seen.requests)
    assert_complete(seen)
    assert_routes(seen)
    assert_counts(seen)
    ended = {row.number for row in seen.sites if row.event == FREED}
    for row in allocated(seen):
        name = site(seen, row)
        assert row.sample_bytes == MEAN and row.owner != AFTER_RESPONSE
        if name in SITES:
            assert row.followed and (row.number in ended) == (name != "kept_block"), row
    assert "/nothing" not in {row.route for row in allocated(seen)}
    times = sorted(request.time for request in seen.requests)
    assert all(times[0] <= row.time for row in allocated(seen) if row.owner == OF_REQUEST)


def test_sites_are_asked_for(trace):
    with recorded("sites", trace, "run") as server:
        load_all(server)
    seen = ended_trace(trace)
    assert len(seen.requests) == 3 * REQUESTS
    assert (seen.sites, seen.frames, seen.stacks) == ([], {}, {})


def test_forked_workers(trace):
    """Each process's samples are its own, of the requests that it served."""
    with recorded("sites", trace, "run", run_options=OPTIONS, workers=3) as server:
        load_all(server, clients=24)
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    assert_complete(seen)
    assert_routes(seen)
    assert_counts(seen)
    served = Counter(request.process for request in seen.requests if request.route == "/work")
    large = Counter(row.process for row in allocated(seen) if site(seen, row) == "large_block")
    assert len(served) == 3 and set(large) == set(served)
    for process, requests in served.items():
        assert_expected(large[process], requests * EACH, SITES["large_block"][1])


def test_an_unfinished_requests_samples_are_unattributed(trace):
    """It has no record that would tell its route. Killed: all that was committed is there."""
    with recorded("sites", trace, "run", run_options=OPTIONS) as server:
        load_all(server)
        with Connection(server.port) as hanging:
            hanging.send(get("/hang?n=2000"))
            time.sleep(0.5)
            server.kill()
    seen = ended_trace(trace)
    completeness = seen.totals["completeness"]
    assert_balanced(completeness)
    assert (completeness["finished"], completeness["unfinished"]) == (3 * REQUESTS, 1)
    assert_complete(seen)
    assert_routes(seen)
    assert_counts(seen)
    hung = [row for row in allocated(seen) if site(seen, row) == "hanging_block"]
    assert {(row.owner, row.route, row.bytes) for row in hung} == {(UNATTRIBUTED, None, 1000)}
    assert_expected(len(hung), 2000, 1000)


@pytest.mark.parametrize("workers", (1, 3))
def test_killed_under_load(trace, workers):
    """kill -9 of a server, or of a worker: all samples are there, and those of finished requests have routes."""
    with recorded("sites", trace, "run", run_options=OPTIONS, workers=workers) as server:
        url = f"{server.url}/work?n=1"
        loading = threading.Thread(target=load.fixed, args=(url, 100_000), kwargs={"clients": CLIENTS, "log": False})
        loading.start()
        time.sleep(1)
        if workers > 1:
            os.kill(server.pids()[-1], signal.SIGKILL)
            time.sleep(0.5)
        server.kill()
        loading.join()
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    assert_complete(seen, at_once=CLIENTS)
    finished = len(seen.requests)
    assert finished == seen.totals["completeness"]["finished"] > 100
    # The collector may come late here, and stacks have found no room.
    wrong = [row for row in allocated(seen) if whose(seen, row) in SITES and row.owner != OF_REQUEST]
    # Of requests that the kill ended.
    assert len(wrong) <= seen.totals["completeness"]["unfinished"] * 2
    mine = Counter(whose(seen, row) for row in allocated(seen) if row.route == "/work")
    assert_expected(mine["large_block"], finished, SITES["large_block"][1])


def test_no_room_for_stacks(trace):
    """Behind a collector that doesn't come for a while all samples have sizes and routes, and say what they lack."""
    requests = 2 * REQUESTS
    with recorded("sites", trace, "run", run_options=("--sites", "--sample-bytes", "4096")) as server:
        collector = collector_of(trace)
        os.kill(collector, signal.SIGSTOP)
        load.fixed(f"{server.url}/work?n={EACH}", requests, log=False)
        os.kill(collector, signal.SIGCONT)
    seen = ended_trace(trace)
    assert_complete(seen)
    blocks = {name: SITES[name] for name in ("small_block", "large_block")}
    without = [row for row in allocated(seen) if has_no_stack(seen, row)]
    assert {(row.owner, row.route, row.bytes) for row in without} == {(OF_REQUEST, *block) for block in blocks.values()}
    assert set(counts(seen)) > blocks.keys()
    named = Counter(whose(seen, row) for row in allocated(seen))
    for name, (_, size) in blocks.items():
        assert_expected(named[name], requests * EACH, size, 4096)


def test_the_disk_is_full(tmp_path):
    """What is in the trace by then is whole: no row names a stack that couldn't be written."""
    with small_disk(tmp_path / "disk", "20k") as disk:
        with Server("sites", wrap=run_prefix(disk / "trace.rqs", "--sites", "--sample-bytes", "4096")) as server:
            for _ in range(4):
                load.fixed(f"{server.url}/work?n={EACH}", 300)
                time.sleep(1.1)
            server.stop()
            assert "space" in server.output
        seen = read_trace.read(disk / "trace.rqs")
        assert allocated(seen)
        assert_routes(seen)
