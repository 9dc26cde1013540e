"""Go servers that run already: hooks are put in and taken out under load, and nobody but the trace tells."""

import os
import secrets
import subprocess
import time
from contextlib import contextmanager

import load
import pytest
import raw_client
from raw_client import Connection
from recording import BUILD, GO, REQSCOPE, SETTLE, assert_balanced, ended_trace, report, route_counts
from serve import Server
from test_wire import shapes

ATTACHER = BUILD / "attach" / "attacher"
BUILDS = ("nethttp-pie", "nethttp-static-pie", "nethttp-stripped", "nethttp-cgo")
REQUESTS = 2000


def attacher(*words) -> tuple[int, str]:
    done = subprocess.run([ATTACHER, *map(str, words)], capture_output=True, text=True, timeout=30)
    error, _, rest = done.stdout.strip().partition(" ")
    return int(error), rest


@contextmanager
def session(pid: int, trace):
    """A collector that waits for an attached process; yields the session's token."""
    token = secrets.token_hex(16)
    (ready, tell), (stop, end) = os.pipe(), os.pipe()
    command = [REQSCOPE, "collect", "--mode", "attach", "--token", token, "--pid", pid, "--out", trace,
               "--force", "--ready-fd", tell, "--stop-fd", stop]  # fmt: skip
    collector = subprocess.Popen([str(word) for word in command], pass_fds=(tell, stop))
    os.close(tell)
    os.close(stop)
    try:
        assert os.read(ready, 200) in (b"", b"\0")
        yield token
    finally:
        os.close(ready)
        os.close(end)
        collector.wait(timeout=20)


@contextmanager
def attached(server, trace):
    with session(server.pid, trace) as token:
        assert attacher("attach", server.pid, token)[0] == 0
        yield
        time.sleep(SETTLE)
    assert attacher("detach", server.pid)[0] == 0


def text_of(pid: int) -> bytes:
    """The program's own code, as it is in memory."""
    maps = [line.split() for line in open(f"/proc/{pid}/maps")]
    (span,) = [fields[0] for fields in maps if "x" in fields[1] and fields[-1].startswith("/")][:1]
    start, end = (int(word, 16) for word in span.split("-"))
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(start)
        return memory.read(end - start)


@pytest.mark.parametrize("name", (*GO, *BUILDS))
def test_requests_between_attach_and_detach(name, trace):
    with Server(name) as server:
        load.fixed([server.url + "/json"], 300, 4)
        before = text_of(server.pid)
        with attached(server, trace):
            done = load.fixed([server.url + "/json", server.url + "/users/7"], REQUESTS, 10)
        assert text_of(server.pid) == before
        assert load.fixed([server.url + "/json"], 300, 4).answered == 300
    assert done.answered == REQUESTS
    seen = ended_trace(trace) and report(trace)
    assert route_counts(seen) == {("GET", "/json"): REQUESTS // 2, ("GET", "/users/{}"): REQUESTS // 2}
    assert_balanced(seen["completeness"])


def test_a_connection_from_before_is_followed(trace):
    with Server("nethttp") as server, Connection(server.port) as client:
        client.exchange(raw_client.get("/json"))
        with attached(server, trace):
            for _ in range(5):
                client.exchange(raw_client.get("/users/7"))
        assert client.exchange(raw_client.get("/json")).status == 200
    assert shapes(ended_trace(trace).requests) == [("GET", "/users/{}", 200)] * 5


def test_again_and_again_under_load(trace):
    """Nothing grows, no request fails, and what was placed first is used again."""
    with Server("nethttp") as server, session(server.pid, trace) as token:
        load_ = subprocess.Popen(["h2load", "--h1", "-n", "150000", "-c", "16", "-t", "1", server.url + "/json"],
                                 stdout=subprocess.PIPE, text=True)  # fmt: skip
        mappings = []
        for _ in range(12):
            assert attacher("attach", server.pid, token)[0] == 0
            assert attacher("detach", server.pid)[0] == 0
            mappings.append(len(open(f"/proc/{server.pid}/maps").readlines()))
        output = load_.communicate(timeout=240)[0]
        assert "150000 succeeded, 0 failed" in output
        assert mappings[-1] <= mappings[0] + 8, mappings  # Go's heap has some of its own


def test_what_is_recorded_already(trace):
    with Server("nethttp") as server, session(server.pid, trace) as token:
        assert attacher("attach", server.pid, token)[0] == 0
        assert attacher("attach", server.pid, token) == (-16, "it is recorded already")
        assert attacher("detach", server.pid)[0] == 0
        assert attacher("detach", server.pid)[0] == 0  # there is nothing any more


def test_no_collector_leaves_it_as_it_was():
    with Server("nethttp") as server:
        before = text_of(server.pid)
        error, why = attacher("attach", server.pid, secrets.token_hex(16))
        assert error < 0 and "collector" in why
        assert text_of(server.pid) == before
        assert load.fixed([server.url + "/json"], 100, 4).answered == 100


def test_a_process_that_has_ended():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert attacher("attach", child.pid, secrets.token_hex(16)) == (-3, "it has ended, and its parent hasn't taken note")
    child.wait()
    assert attacher("detach", child.pid)[0] == 0
