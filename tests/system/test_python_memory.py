"""Each request's memory in Python servers, of requests that interleave: what it asks CPython for, and none of another's."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import load
import pytest
import raw_client
import works
from go_servers import ask, column, median, quantile
from python_servers import AFTER, ALL, FIRST, HALVES, LOOPS, OWN, QUEUES, UNKNOWN, assert_sums, outside, parts
from read_trace import Trace
from recording import assert_balanced, ended_trace, recorded, report, route_counts, status_counts

CLIENTS = 50
ROUNDS, MORE_ROUNDS = 300, 50  # of the works that are compared as distributions; of the others
ENDING = ("/stream", "/error")  # some servers end the connection with these, which h2load takes for a failure
OTHERS = 20_000  # bytes, more than tasks, threads and the like take beside a work
SINGLE = 20


@dataclass
class Recording:
    server: str
    trace: Trace
    report: dict
    traced: dict  # size -> what tracemalloc says of hold()
    sent: dict  # path -> requests

    def bytes(self, path: str) -> list[int]:
        return column(self.trace, path, "alloc_bytes")

    def told(self, path: str, metric: str) -> dict:
        (route,) = (route for route in self.report["routes"] if route["route"] == path)
        return route[metric]


def send(server, paths: tuple, rounds: int, clients=CLIENTS):
    """As many requests for each path; each client asks for them in turn."""
    done = load.fixed([server.url + path for path in paths], rounds * len(paths), clients)
    # h2load sees no status where no phrase is behind it, as hypercorn's are; the trace has them.
    assert done.errored == 0 and done.statuses.keys() <= {200}


def ask_once(server, path: str) -> tuple[str, int]:
    with raw_client.Connection(server.port) as client:
        return path, client.exchange(raw_client.get(path)).status


@pytest.fixture(scope="module", params=ALL)
def loaded(request, tmp_path_factory):
    """Small and big ones mixed, then all other works mixed."""
    path = tmp_path_factory.mktemp("memory") / "trace.rqs"
    others = [path for path in parts(request.param) if path not in ENDING]
    sent = {"/traced": 1, "/peak": SINGLE, FIRST: ROUNDS + MORE_ROUNDS}
    sent |= dict.fromkeys(HALVES, ROUNDS) | dict.fromkeys(parts(request.param), MORE_ROUNDS)
    with recorded(request.param, path, "run") as server:
        send(server, (FIRST, *HALVES), ROUNDS)
        send(server, (FIRST, *others), MORE_ROUNDS)
        with ThreadPoolExecutor(8) as pool:
            statuses = set(pool.map(lambda path: ask_once(server, path), ENDING * MORE_ROUNDS))
        assert statuses == {("/stream", 200), ("/error", 500)}
        send(server, ("/peak",), SINGLE, clients=1)
        traced = ask(server, "/traced")
        time.sleep(0.3)  # for the last task that /late left
    return Recording(request.param, ended_trace(path), report(path), {int(size): n for size, n in traced.items()}, sent)


def test_all_are_recorded(loaded):
    assert {route: count for (_, route), count in route_counts(loaded.report).items()} == loaded.sent
    assert status_counts(loaded.report) == {200: sum(loaded.sent.values()) - MORE_ROUNDS, 500: MORE_ROUNDS}
    assert_balanced(loaded.report["completeness"])


def test_the_parts_are_the_whole(loaded):
    assert_sums(loaded.trace, loaded.report)


def test_two_kinds_are_told_apart(loaded):
    """Half of each is asked for before other requests get their turn, and half after it."""
    if loaded.server in QUEUES:
        pytest.skip("its works are nobody's; test_no_request_has_another's is about them")
    small, big = (loaded.told(path, "alloc_bytes") for path in ("/small", "/big"))
    assert small["count"] == big["count"] == ROUNDS
    assert small["max"] < big["min"]
    assert small["p99"] / small["p50"] < 1.1 and big["p99"] / big["p50"] < 1.1
    assert small["p50"] / small["min"] < 1.1 and big["p50"] / big["min"] < 1.1


@pytest.mark.parametrize("path", ("/small", "/big"))
def test_tracemalloc_agrees(loaded, path):
    """What one work takes more than none is what tracemalloc counts in the same process, but for the answer's length."""
    if loaded.server in QUEUES:
        pytest.skip("its works are nobody's")
    size = HALVES[path]
    assert loaded.traced[size] == pytest.approx(size, abs=100)
    more = median(loaded.bytes(path)) - median(loaded.bytes("/empty"))
    assert more == pytest.approx(loaded.traced[size], abs=300)


def test_blocks_are_counted(loaded):
    """An object is one call of an allocator, whatever its size."""
    if loaded.server in QUEUES:
        pytest.skip("its works are nobody's")
    empty, big = (median(column(loaded.trace, path, "alloc_count")) for path in ("/empty", "/big"))
    assert big - empty == pytest.approx(works.BIG // works.UNIT * len(works.BLOCKS), abs=20)


def test_works_are_their_requests(loaded):
    """Subtasks, pools' threads with the context, chunks of a stream, and what comes before an exception."""
    own = [path for path, whose in parts(loaded.server).items() if whose == OWN]
    assert own or loaded.server in QUEUES
    for path in own:
        # What serving costs by itself differs with the path, most by the traceback of /error.
        more = [value - works.PART for value in loaded.bytes(path)]
        assert len(more) == MORE_ROUNDS
        assert 0 < min(more), path
        assert quantile(more, 0.95) < median(loaded.bytes("/empty")) * 2 + OTHERS, path
        assert quantile(more, 0.95) < median(more) + works.PART / works.PIECES, f"{path} has a part of another's"


def test_what_comes_after_the_answer(loaded):
    """Background tasks, and tasks that outlive the request."""
    after = [path for path, whose in parts(loaded.server).items() if whose == AFTER]
    assert after or loaded.server in QUEUES
    for path in after:
        assert quantile(loaded.bytes(path), 0.95) < median(loaded.bytes("/empty")) + OTHERS, path
    whole = loaded.report["after_response"]["alloc_bytes"]
    expected = len(after) * MORE_ROUNDS * works.PART
    # Each request has some bytes after its last byte.
    assert expected <= whole <= expected + len(loaded.trace.requests) * median(loaded.bytes("/empty"))


def test_no_request_has_anothers(loaded):
    """What can't be known is the request's that asked for it, or nobody's; nothing of it gets lost."""
    nobodys = 0
    for path, whose in parts(loaded.server).items():
        if whose != UNKNOWN:
            continue
        for value in loaded.bytes(path):
            nobodys += works.PART * (value < works.PART)
            assert value % works.PART < works.PART / 2, f"{path}: {value}"
            assert value < 2 * works.PART, f"{path}: {value}"
    assert outside(loaded.report, "alloc_bytes") >= nobodys


def test_peak(loaded):
    """A megabyte ten times is ten in all, and one at once."""
    if loaded.server in QUEUES:
        pytest.skip("its works are nobody's")
    assert loaded.told("/peak", "alloc_bytes")["p50"] >= 10_000_000
    peak = loaded.told("/peak", "peak_bytes")
    assert peak["count"] == SINGLE
    assert 900_000 <= peak["p50"] <= 1_500_000


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
    assert max(column(seen, "/empty", "alloc_bytes")) < 200_000
    buffers = column(seen, "/echo", "recv_buffer_bytes")
    assert len(buffers) == 50 and None not in buffers
    if name in LOOPS and name != "fastapi-uvloop":  # uvloop reads into a buffer that it has
        assert min(buffers) >= 200_000
    assert max(column(seen, "/echo", "alloc_bytes")) < 3_000_000
    assert_sums(seen, report(trace))
