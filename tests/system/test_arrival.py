"""Waiting that the server itself can't see: in the accept queue, and in the socket's buffer of a keep-alive connection."""

import os
import signal
import time
from pathlib import Path

import pytest
import raw_client
from raw_client import Connection
from recording import ended_trace, recorded, report
from serve import wait_until

SERVERS = ("httpd", "nginx", "flask-gthread", "fastapi-asyncio", "fastapi-uvloop", "express", "nethttp", "gin", "fiber")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Stopped:
    """All processes of a server stopped; tells how long they surely were (ns)."""

    def __init__(self, server):
        self.pids = server.pids()

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        # The signal is on its way until the process has been seen stopped.
        wait_until(lambda: all(state(pid) == "T" for pid in self.pids), 5, "the server to stop")
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def wait_stopped(connection: Connection, request: bytes, server, seconds: float):
    """Sends a request to a stopped server; the time from when it was sent to when the server could go on (ns)."""
    with Stopped(server):
        start = raw_client.now()
        connection.send(request)
        sent = time.monotonic_ns()
        time.sleep(seconds)
        waited = time.monotonic_ns() - sent
    return start, waited


def connect_to_stopped(server, path: str):
    """A connection whose request waits to be accepted; when that was sent, and for how long it surely waited (ns)."""
    with Stopped(server):
        client = Connection(server.port)
        start = raw_client.now()
        client.send(raw_client.get(path))
        sent = time.monotonic_ns()
        time.sleep(0.05)
        return client, start, time.monotonic_ns() - sent


@pytest.mark.parametrize("name", SERVERS)
def test_a_wait_on_keep_alive_is_queue(name, trace):
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        client.exchange(raw_client.get("/json"))
        start, waited = wait_stopped(client, raw_client.get("/json"), server, 0.2)
        client.receive(start)
    first, second = sorted(ended_trace(trace).requests, key=lambda request: request.time)
    assert first.queue is not None
    # A part in 1,000 for the trace's quantisation.
    assert second.queue >= waited * 0.999


@pytest.mark.parametrize("name", SERVERS)
def test_a_wait_in_the_accept_queue_is_queue(name, trace):
    with recorded(name, trace, "run") as server:
        # What was accepted before the first wait tells nothing here; the server is idle.
        client, start, waited = connect_to_stopped(server, "/json")
        client.receive(start)
        client.close()
    (request,) = ended_trace(trace).requests
    assert request.queue >= waited * 0.999


def test_a_wait_of_a_connection_that_is_passed_on_is_queue(trace):
    """Node's primary accepts it and hands it to a worker. A worker's very first one isn't looked at so early."""
    workers, rounds = 2, 6
    with recorded("express-cluster", trace, "run", workers=workers) as server:
        for _ in range(2 * workers):
            with Connection(server.port) as client:
                client.exchange(raw_client.get("/json"))
        waits = []
        for _ in range(rounds):
            client, start, waited = connect_to_stopped(server, "/users/7")
            waits.append(waited)
            client.receive(start)
            client.exchange(raw_client.get("/json"))
            client.close()
    queues = [request.queue for request in ended_trace(trace).requests if request.route.startswith("/users")]
    measured = [queue for queue in queues if queue is not None]
    # All that was before may have gone to one worker.
    assert len(queues) == rounds and len(measured) > rounds - workers
    assert min(measured) >= min(waits) * 0.999
    assert report(trace)["latency_from"]["read"] <= workers


@pytest.mark.parametrize("name", ("nethttp", "gin"))
def test_a_request_of_which_a_byte_was_read_ahead(name, trace):
    """net/http waits for one byte of the next request while a handler runs: its arrival comes with the rest."""
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        for _ in range(5):
            start = raw_client.now()
            client.send(raw_client.get("/sleep?ms=50"))
            time.sleep(0.02)
            client.send(raw_client.get("/json"))
            client.receive(start)
            client.receive(start)
    ended_trace(trace)
    assert report(trace)["latency_from"] == {"kernel": 10, "read": 0}


def test_all_latencies_count_from_the_kernel(trace, mode):
    with recorded("nginx", trace, mode) as server, Connection(server.port) as client:
        for _ in range(50):
            client.exchange(raw_client.get("/json"))
    ended_trace(trace)
    assert report(trace)["latency_from"] == {"kernel": 50, "read": 0}
