"""Python servers that are attached to again and again: each recording's numbers are a new recording's."""

import subprocess
import sys
import time

import load
import pytest
import raw_client
import works
from attaching import Attached, hooks
from go_servers import ask, median
from python_servers import FIRST, HALVES, assert_sums
from raw_client import Connection
from recording import assert_balanced, ended_trace, report, route_counts
from serve import Server
from test_python_lost import HANDLER

SERVERS = {"fastapi-uvloop": (), "fastapi-asyncio": (), "flask-gthread": ("--children",)}
ROUNDS = 100
PLUMBING = 8_000  # bytes: what a server does between two requests is the second's, if that has arrived already
SOME = 2 * PLUMBING
PATHS = (FIRST, *HALVES)


def send(server, rounds: int):
    done = load.fixed([server.url + path for path in PATHS], rounds * len(PATHS), 20)
    assert done.errored == 0 and done.statuses.keys() <= {200}


def values(trace, path: str) -> list[int]:
    return [request.values["alloc_bytes"] for request in trace.requests if request.route == path]


def assert_right(trace, seen, traced):
    """Interleaved requests have each what it asked for, as tracemalloc says, and all have a number."""
    assert {route: count for (_, route), count in route_counts(seen).items()} == dict.fromkeys(PATHS, ROUNDS)
    assert_balanced(seen["completeness"])
    assert_sums(trace, seen)
    empty, small, big = (values(trace, path) for path in HALVES)
    assert None not in (*empty, *small, *big)
    for size, got in ((works.SMALL, small), (works.BIG, big)):
        assert median(got) - median(empty) == pytest.approx(traced[str(size)], abs=PLUMBING)
    assert max(empty) < min(small) and max(small) < min(big)


@pytest.mark.parametrize("name", SERVERS)
def test_requests_that_are_open_at_both_ends(name, tmp_path):
    """They are in no recording, and what they take is no other request's, nor the next one's on their connection."""
    with Server(name, workers=1) as server:
        send(server, 20)
        first, between = Connection(server.port), Connection(server.port)
        begun = raw_client.now()
        first.send(raw_client.get("/sleep?ms=1500"))
        time.sleep(0.1)
        with Attached(server.pid, tmp_path / "1.rqs", *SERVERS[name]) as attached:
            send(server, ROUNDS)
            assert first.receive(begun).status == 200
            assert first.exchange(raw_client.get("/big")).status == 200
            between.send(raw_client.get("/sleep?ms=2500"))
            time.sleep(0.1)
            assert attached.end() == 0, attached.said
        with Attached(server.pid, tmp_path / "2.rqs", *SERVERS[name]) as attached:
            send(server, ROUNDS)
            assert between.receive(begun).status == 200
            assert between.exchange(raw_client.get("/big")).status == 200
            time.sleep(0.2)
            assert attached.end() == 0, attached.said
        traced = ask(server, "/traced")
    for trace in (tmp_path / "1.rqs", tmp_path / "2.rqs"):
        seen = ended_trace(trace)
        values_ = {path: [value for value in values(seen, path) if value is not None] for path in HALVES}
        assert len(values(seen, "/big")) == ROUNDS + 1 and not values(seen, "/sleep")[1:]
        for path, size in (("/small", works.SMALL), ("/big", works.BIG)):
            assert len(values_[path]) >= ROUNDS // 2  # of a thread that may be a loop's it isn't known at first
            more = [value - median(values_["/empty"]) for value in values_[path]]
            assert max(more) < traced[str(size)] + SOME and min(more) > traced[str(size)] - SOME
        assert_sums(seen, report(trace))


@pytest.mark.parametrize("name", SERVERS)
def test_the_second_and_the_last_recording(name, tmp_path):
    recordings = {}
    with Server(name, workers=1) as server:
        traced = ask(server, "/traced")
        send(server, 20)
        cycles = 4 if SERVERS[name] else 20  # of a whole family each takes seconds
        for cycle in range(cycles):
            trace = tmp_path / f"{cycle}.rqs"
            with Attached(server.pid, trace, *SERVERS[name]) as attached:
                if cycle in (1, cycles - 1):
                    send(server, ROUNDS)
                    time.sleep(0.2)
                    recordings[cycle] = trace
                assert attached.end() == 0, attached.said
        assert hooks(server.pid) == []
    for trace in recordings.values():
        assert_right(ended_trace(trace), report(trace), traced)


PROGRAM = HANDLER + """

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
BIG = 1_000_000


class Recorded:
    """A program, and what each request took that was sent while it was attached to."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def send(self, *paths):
        for path in paths:
            with Connection(self.port) as client:
                assert client.exchange(raw_client.get(path)).status == 200

    def attached(self, *paths) -> list:
        self.count += 1
        trace = self.folder / f"{self.count}.rqs"
        with Attached(self.process.pid, trace) as attached:
            self.send(*paths)
            time.sleep(0.2)
            assert attached.end() == 0, attached.said
        requests = sorted(ended_trace(trace).requests, key=lambda request: request.time)
        return [request.values["alloc_bytes"] for request in requests]


def test_tracemalloc_ends_and_takes_ours_out(tmp_path):
    """That isn't for ever: the next recording puts them in again."""
    with Recorded(tmp_path) as program:
        program.send("/start", "/big")
        first, _, after = program.attached("/big", "/stop", "/big")
        assert first > BIG and after is None
        assert [value > BIG for value in program.attached("/big", "/big")] == [True] * 2
        assert hooks(program.process.pid) == []


def test_tracemalloc_stays_behind(tmp_path):
    """What has come before ours goes on to call them, recorded or not; ours are there once, and go when it has gone."""
    with Recorded(tmp_path) as program:
        program.send("/big")
        program.attached("/start", "/big")
        program.send("/big")
        values_ = program.attached("/big", "/stop", "/big")
        assert BIG < values_[0] < 1.5 * BIG and BIG < values_[2] < 1.5 * BIG
        assert [value > BIG for value in program.attached("/big")] == [True]
        program.send("/big")
        assert hooks(program.process.pid) == []


@pytest.mark.skipif(sys.version_info < (3, 9), reason="all interpreters share the GIL, and are one to the agent")
def test_another_interpreter(tmp_path):
    with Recorded(tmp_path) as program:
        for _ in range(2):
            first, other, last = program.attached("/big", "/other", "/big")
            assert first > BIG and last > BIG and other < BIG
