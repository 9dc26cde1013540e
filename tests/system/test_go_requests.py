"""A Go server's requests: as many as the server counted and the client had answered, whatever becomes of the connection."""

import os
import resource

import load
import pytest
import raw_client
from go_servers import ask
from raw_client import Connection
from recording import GO, assert_balanced, ended_trace, recorded, report, route_counts
from test_wire import shapes

# connections -> requests, for each connection as many of each path
COUNTS = {1: 2000, 64: 4096, 1000: 4000}
PATHS = ("/json", "/users/7", "/users/0", "/json")


@pytest.fixture
def many_files():
    """Descriptors for a client and a server of 1,000 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("clients", COUNTS)
@pytest.mark.parametrize("name", GO)
def test_recorded_is_what_the_server_counted(name, clients, trace, many_files):
    total = COUNTS[clients]
    with recorded(name, trace, "run") as server:
        done = load.fixed([server.url + path for path in PATHS], total, clients)
        counted = ask(server, "/__count")["count"]
    assert done.errored == 0
    assert done.answered == counted == total

    seen = ended_trace(trace) and report(trace)
    assert route_counts(seen) == {
        ("GET", "/json"): total // 2, ("GET", "/users/{}"): total // 2, ("GET", "/__count"): 1,
    }  # fmt: skip
    completeness = seen["completeness"]
    assert_balanced(completeness)
    assert completeness["finished"] == seen["requests"] == total + 1
    assert seen["connections"]["accepted"] == clients + 1
    assert seen["latency_from"] == {"kernel": total + 1, "read": 0}
    assert (seen["runtime"]["name"], seen["processes"]) == ("go", 1)


@pytest.mark.parametrize("name", GO)
def test_a_request_byte_by_byte(name, trace):
    request = raw_client.get("/users/7")
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        for _ in range(3):
            client.exchange(request, cuts=range(1, len(request)), pause=0.001)
    assert shapes(ended_trace(trace).requests) == [("GET", "/users/{}", 200)] * 3


@pytest.mark.parametrize("name", GO)
def test_pipelined_requests(name, trace):
    """200 in one write; those without a body, with one in chunks, and with a length, are told apart."""
    batch = [raw_client.get(path) for path in ("/json", "/nothing", "/stream?k=2", "/bytes?n=5000")] * 50
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        statuses = [exchange.status for exchange in client.pipeline(batch)]
    assert statuses == [200, 204, 200, 200] * 50
    seen = ended_trace(trace)
    expected = [("/json", 200), ("/nothing", 204), ("/stream", 200), ("/bytes", 200)] * 50
    assert sorted(shapes(seen.requests)) == sorted(("GET", *shape) for shape in expected)
    assert_balanced(seen.totals["completeness"])


@pytest.mark.parametrize("name", ("nethttp", "fiber"))
def test_without_keep_alive(name, trace):
    with recorded(name, trace, "run") as server:
        for _ in range(200):
            with Connection(server.port) as client:
                client.exchange(raw_client.get("/json", "Connection: close"))
                assert client.socket.recv(1) == b""
    seen = ended_trace(trace) and report(trace)
    assert seen["completeness"]["finished"] == seen["connections"]["accepted"] == 200
    assert seen["connections"]["peak"] < 200
    assert_balanced(seen["completeness"])


@pytest.mark.parametrize("name", ("nethttp", "fiber"))
def test_a_streamed_answer_is_sent_over_time(name, trace):
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        client.exchange(raw_client.get("/stream?k=5&ms=10"))
    (request,) = ended_trace(trace).requests
    assert request.send >= 40_000_000 * 0.999, "five sleeps lie between the first part and the end; one may go in part"


@pytest.mark.parametrize("name", ("nethttp", "gin", "fiber"))
def test_clients_that_go_away(name, trace):
    """Before the answer, and inside of it: each is recorded as aborted, and the others are not touched."""
    with recorded(name, trace, "run") as server, Connection(server.port) as steady:
        for path, answered in (("/sleep?ms=30", False), ("/stream?k=1000&ms=2", True)) * 10:
            client = Connection(server.port)
            client.send(raw_client.get(path))
            if answered:
                client.socket.recv(100)
            steady.exchange(raw_client.get("/users/7"))
            client.abort()
        # The last of them is noticed by its handler's end or its next write.
        steady.exchange(raw_client.get("/sleep?ms=100"))
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    aborted = sorted(request.route for request in seen.requests if request.aborted)
    assert aborted == ["/sleep"] * 10 + ["/stream"] * 10
    assert sorted(request.route for request in seen.requests if not request.aborted) == ["/sleep"] + ["/users/{}"] * 20


def test_a_handler_that_breaks_off(trace):
    """net/http closes the connection of a handler that panicked: its request was aborted."""
    with recorded("nethttp", trace, "run") as server:
        with Connection(server.port) as client:
            client.exchange(raw_client.get("/json"))
            client.send(raw_client.get("/abort"))
            assert client.socket.recv(100) == b""
    seen = ended_trace(trace)
    assert [(request.route, request.aborted) for request in sorted(seen.requests, key=lambda item: item.time)] == [
        ("/json", False),
        ("/abort", True),
    ]
    assert_balanced(seen.totals["completeness"])


def masked_text(text: bytes) -> bytes:
    """A client's frame of a WebSocket."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))


@pytest.mark.parametrize("name", ("gin", "echo", "chi"))
def test_a_websocket_is_one_request(name, trace):
    """What goes over it looks like requests, masked and in the answers plainly, and is none."""
    text = b"GET /json HTTP/1.1\r\nHost: a\r\n\r\n"
    upgrade = raw_client.get(
        "/websocket", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        assert client.upgrade(upgrade) == 101
        for _ in range(20):
            client.socket.sendall(masked_text(text))
            assert client.exactly(2 + len(text))[2:] == text
    seen = ended_trace(trace)
    assert shapes(seen.requests) == [("GET", "/websocket", 101)]
    assert_balanced(seen.totals["completeness"])


def test_an_upgrade_by_fasthttp_is_one_request(trace):
    text = b"GET /json HTTP/1.1\r\nHost: a\r\n\r\n"
    with recorded("fiber", trace, "run") as server, Connection(server.port) as client:
        assert client.upgrade(raw_client.get("/upgrade", "Connection: Upgrade", "Upgrade: echo")) == 101
        for _ in range(20):
            client.socket.sendall(text)
            assert client.exactly(len(text)) == text
    seen = ended_trace(trace)
    assert shapes(seen.requests) == [("GET", "/upgrade", 101)]
    assert_balanced(seen.totals["completeness"])
