"""Each request's memory in Python servers, of requests that interleave: what it asks CPython for, and none of another's."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import load
import pytest
import raw_client
import works
from go_servers import ask, column, median, quantile
from python_servers import AFTER, FIRST, HALVES, HIDDEN, LOOPS, OWN, THREADS, UNKNOWN, assert_sums, outside, parts
from read_trace import Trace
from recording import assert_balanced, ended_trace, recorded, report, route_counts, status_counts

CLIENTS = 50
ROUNDS, MORE_ROUNDS = 300, 50  # of the works that are compared as distributions; of the others
ENDING = ("/stream", "/error")  # some servers end the connection with these, which h2load takes for a failure
NEXT_WAITS = ("asyncio", "fastapi-uvloop", "fastapi-hypercorn", "aiohttp", "tornado")
OTHERS = 45_000  # bytes: tasks, threads and the like take less beside a work, and half of a part is more
PLUMBING = 8_000  # bytes: what a server does between two requests is the second's, if that has arrived already
SINGLE = 20


@dataclass
class Recording:
    server: str
    trace: Trace
    report: dict
    traced: dict  # size -> what tracemalloc says of hold()
    sent: dict  # path -> requests
    warm: list  # the requests after the first of each path

    def values(self, path: str, metric="alloc_bytes") -> list[int]:
        return [request.values[metric] for request in self.warm if request.route == path]

    def usual(self, path: str) -> list[int]:
        """Bytes of all but one: in that a list that all share, as of an event loop's timers, may have grown by a lot."""
        return sorted(self.values(path))[:-1]


def send(server, paths: tuple, rounds: int, clients=CLIENTS):
    """As many requests for each path; each client asks for them in turn."""
    done = load.fixed([server.url + path for path in paths], rounds * len(paths), clients)
    # h2load sees no status where no phrase is behind it, as hypercorn's are; the trace has them.
    assert done.errored == 0 and done.statuses.keys() <= {200}


def ask_once(server, path: str) -> tuple[str, int]:
    with raw_client.Connection(server.port) as client:
        return path, client.exchange(raw_client.get(path)).status


def record(name: str, path: Path) -> Recording:
    """Each work once, as frameworks fill caches then; small and big ones mixed; all other works mixed."""
    others = [each for each in parts(name) if each not in ENDING]
    sent = {FIRST: 1 + ROUNDS + MORE_ROUNDS, "/peak": 1 + SINGLE, "/traced": 1}
    sent |= dict.fromkeys(HALVES, 1 + ROUNDS) | dict.fromkeys(parts(name), 1 + MORE_ROUNDS)
    with recorded(name, path, "run", workers=1) as server:
        traced = ask(server, "/traced")
        for each in sent.keys() - {"/traced"}:
            ask_once(server, each)
        send(server, (FIRST, *HALVES), ROUNDS)
        send(server, (FIRST, *others), MORE_ROUNDS)
        with ThreadPoolExecutor(8) as pool:
            statuses = set(pool.map(lambda path: ask_once(server, path), ENDING * MORE_ROUNDS))
        assert statuses == {("/stream", 200), ("/error", 500)}
        send(server, ("/peak",), SINGLE, clients=1)
        time.sleep(2 * works.LATE)  # for the last task that /late left
    trace = ended_trace(path)
    warm = sorted(trace.requests, key=lambda request: request.time)[len(sent) :]
    return Recording(name, trace, report(path), {int(size): n for size, n in traced.items()}, sent, warm)


@pytest.fixture(scope="module", params=(*LOOPS, *THREADS))
def loaded(request, tmp_path_factory):
    return record(request.param, tmp_path_factory.mktemp("memory") / "trace.rqs")


def test_all_are_recorded(loaded):
    assert_whole(loaded)


def assert_whole(loaded: Recording):
    assert {route: count for (_, route), count in route_counts(loaded.report).items()} == loaded.sent
    failed = loaded.sent["/error"]
    assert status_counts(loaded.report) == {200: sum(loaded.sent.values()) - failed, 500: failed}
    assert_balanced(loaded.report["completeness"])
    assert_sums(loaded.trace, loaded.report)


def test_two_kinds_are_told_apart(loaded):
    """Half of each is asked for before other requests get their turn, and half after it."""
    small, big = loaded.values("/small"), loaded.values("/big")
    assert len(small) == len(big) == ROUNDS
    assert max(small) < min(big)
    for values in (small, big):
        assert quantile(values, 0.99) < 1.1 * median(values) + PLUMBING
        assert median(values) < 1.1 * quantile(values, 0.01) + PLUMBING
    routes = {route["route"]: route["alloc_bytes"] for route in loaded.report["routes"]}
    for path in ("/small", "/big"):
        assert routes[path]["count"] == ROUNDS + 1
        assert routes[path]["p99"] < 1.1 * routes[path]["p50"] + PLUMBING


@pytest.mark.parametrize("path", ("/small", "/big"))
def test_tracemalloc_agrees(loaded, path):
    """What one work takes more than none is what tracemalloc counts in the same process.

    Some KB more or less go to a framework's way to this route or that, and to a server's way to the next request.
    """
    size = HALVES[path]
    assert loaded.traced[size] == pytest.approx(size, rel=0.01, abs=500)
    more = median(loaded.values(path)) - median(loaded.values("/empty"))
    assert more == pytest.approx(loaded.traced[size], abs=PLUMBING)


def test_blocks_are_counted(loaded):
    """An object is one call of an allocator, whatever its size."""
    empty, big = (median(loaded.values(path, "alloc_count")) for path in ("/empty", "/big"))
    assert big - empty == pytest.approx(works.BIG // works.UNIT * len(works.BLOCKS), rel=0.05)


def test_works_are_their_requests(loaded):
    """Subtasks, pools' threads with the context, chunks of a stream, and what comes before an exception."""
    empty = median(loaded.values("/empty"))
    for path, whose in parts(loaded.server).items():
        if whose == OWN:
            values = loaded.usual(path)
            assert len(values) == MORE_ROUNDS - 1
            assert works.PART + empty / 2 < min(values), path
            if path != "/error":  # of which a traceback is logged
                assert max(values) < min(values) + works.PART / works.PIECES, f"{path}: one has a part of another's"
                assert median(values) < works.PART + 2 * empty + OTHERS, path


def test_what_comes_after_the_answer(loaded):
    """Background tasks, and tasks that outlive the request."""
    after = [path for path, whose in parts(loaded.server).items() if whose == AFTER]
    empty = median(loaded.values("/empty"))
    # Where the answer takes longer than the task waits, that isn't late.
    in_time = [r for r in loaded.trace.requests if r.route == "/late" and r.handler > works.LATE * 1e9]
    for path in after:
        values = [request.values["alloc_bytes"] for request in loaded.warm if request.route == path and request not in in_time]
        assert len(values) < 2 or max(sorted(values)[:-1]) < empty + OTHERS, path
    left = len(after) * (MORE_ROUNDS + 1)
    # Each request has some bytes after its last byte.
    whole = loaded.report["after_response"]["alloc_bytes"]
    assert (left - len(in_time)) * works.PART <= whole <= left * works.PART + len(loaded.trace.requests) * empty


def test_no_request_has_anothers(loaded):
    """What can't be known is the request's that asked for it, or nobody's; nothing of it gets lost."""
    nobodys = 0
    without = median(loaded.values("/empty"))
    for path, whose in parts(loaded.server).items():
        if whose == UNKNOWN:
            for value in loaded.usual(path):
                assert min(abs(value - without), abs(value - without - works.PART)) < OTHERS, path
                nobodys += works.PART * (value - without < works.PART / 2)
    assert outside(loaded.report, "alloc_bytes") >= nobodys


def test_what_is_freed_counts(loaded):
    """A megabyte ten times is ten in all; that it was never more than one at once isn't known."""
    assert median(loaded.values("/peak")) >= 10_000_000
    assert set(loaded.values("/peak", "peak_bytes")) == {None}
    assert "peak_bytes" in {note["what"] for note in loaded.report["not_measured"]}


@pytest.mark.parametrize("name", HIDDEN)
def test_it_is_hidden_whose_it_is(name, tmp_path):
    """Then requests have no figures rather than another's."""
    loaded = record(name, tmp_path / "trace.rqs")
    assert_whole(loaded)
    assert {request.values["alloc_bytes"] for request in loaded.trace.requests} == {None}
    sizes = {**HALVES, **dict.fromkeys(parts(name), works.PART)}
    assert loaded.report["unattributed"]["alloc_bytes"] >= sum(loaded.sent[path] * size for path, size in sizes.items())


@pytest.mark.parametrize("name", (*NEXT_WAITS, "threaded", "flask-gthread"))
def test_the_next_one_while_it_goes_on(name, trace):
    """A request that arrives while the server still does what it left for after the last one's answer.

    Where one task serves all of a connection's requests, and does that itself, nothing tells where it begins with the
    next: that has no figures. It is known of a route from the first time on that the task is seen at work.
    """
    with recorded(name, trace, "run") as server, raw_client.Connection(server.port) as client:
        client.exchange(raw_client.get("/background"))
        time.sleep(0.2)
        for path in ["/empty", "/users/7"] * 5 + ["/background", "/users/7"] * 20:
            client.exchange(raw_client.get(path))
        client.exchange(raw_client.get("/json"))
    seen = ended_trace(trace)
    values = [r.values["alloc_bytes"] for r in sorted(seen.requests, key=lambda r: r.time) if r.route == "/users/{}"]
    if name == "asyncio":
        assert values[5:] == [None] * 20
    else:
        assert len(values) == 25
        assert max(values[5:]) < max(values[1:5]) + works.PART / 4
    assert_sums(seen, report(trace))


@pytest.mark.parametrize("name", ("fastapi-asyncio", "aiohttp", "tornado", "asyncio", "fastapi-uvloop", "flask-gthread"))
def test_receive_buffers_are_apart(name, trace, tmp_path):
    """asyncio asks for 256 KB a read, whatever comes: that isn't the handler's. A body of 200,000 bytes passes through them."""
    body = tmp_path / "body"
    body.write_bytes(b"x" * 200_000)
    with recorded(name, trace, "run") as server:
        urls = [server.url + path for path in ("/json", "/empty")]
        assert load.fixed(urls, 200, clients=4).succeeded == 200
        assert load.fixed(server.url + "/echo", 50, clients=4, data=body).succeeded == 50
    seen = ended_trace(trace)
    # A route's first requests make, beside their own, what all of them use: up to 200 KB.
    values = [r.values["alloc_bytes"] for r in sorted(seen.requests, key=lambda r: r.time) if r.route == "/empty"]
    assert len(values) == 100 and max(values[8:]) < 200_000
    buffers = column(seen, "/echo", "recv_buffer_bytes")
    assert len(buffers) == 50 and None not in buffers
    if name in LOOPS and name != "fastapi-uvloop":  # uvloop reads into a buffer that it has
        assert min(buffers) >= 200_000
    assert max(column(seen, "/echo", "alloc_bytes")) < 3_000_000
    assert_sums(seen, report(trace))


@pytest.mark.parametrize("name", ("fastapi-uvloop", "flask-gthread"))
def test_what_is_cut_off_is_given_back(name, trace):
    """By a realloc that shrinks a block, whose size is known as malloc has it."""
    with recorded(name, trace, "run", workers=1) as server:
        for _ in range(5):
            ask(server, "/cut")
    values = [request.values["alloc_bytes"] for request in ended_trace(trace).requests]
    assert len(values) == 5 and max(values[1:]) < works.BIG / 2
