"""Requests that no load generator sends: cut, pipelined, chunked, answered without a body, broken off."""

import socket
import time

import pytest
import raw_client
from raw_client import Connection
from recording import GO, SETTLE, assert_balanced, ended_trace, recorded
from serve import wait_until

FULL_SERVERS = ("nginx", "fastapi-asyncio", "fastapi-uvloop", "express", "flask-gthread", *GO)


def shapes(requests) -> list:
    ordered = sorted(requests, key=lambda request: request.time)
    return [(request.method, request.route, request.status) for request in ordered]


@pytest.mark.parametrize("name", FULL_SERVERS)
def test_odd_requests(name, trace):
    get = raw_client.get("/users/7")
    with recorded(name, trace, "run", upstream=name == "nginx") as server, Connection(server.port) as client:
        client.exchange(get, cuts=(1, 4, 10, len(get) - 1), pause=0.02)
        client.pipeline([get, raw_client.get("/json"), raw_client.get("/users/0")])
        client.exchange(raw_client.post("/echo", b"x" * 100_000), cuts=(50, 60_000), pause=0.02)
        statuses = [exchange.status for exchange in client.log]
    assert statuses == [200, 200, 200, 404, 200]
    seen = ended_trace(trace)
    users, json, echo = ("GET", "/users/{}"), ("GET", "/json"), ("POST", "/echo")
    assert sorted(shapes(seen.requests)) == sorted(
        [(*users, 200), (*users, 200), (*json, 200), (*users, 404), (*echo, 200)]
    )
    assert_balanced(seen.totals["completeness"])


@pytest.mark.parametrize("name", ("nginx", "fastapi-uvloop", "express", *GO))
def test_chunked_body(name, trace):
    """The body's end is found in its framing: the next request on the connection is one of its own."""
    request = raw_client.post_chunked("/echo", [b"GET /not/a/request HTTP/1.1\r\n\r\n", b"b" * 5000])
    with recorded(name, trace, "run", upstream=name == "nginx") as server, Connection(server.port) as client:
        client.exchange(request, cuts=(20, 120), pause=0.02)
        # Python's little upstream reads no chunks; nginx buffers the body and sends it on with a length.
        assert [exchange.status for exchange in client.log] == [200]
        client.exchange(raw_client.get("/json"))
    assert shapes(ended_trace(trace).requests) == [("POST", "/echo", 200), ("GET", "/json", 200)]


@pytest.mark.parametrize("name", ("nginx", "express", "flask-gthread", "nethttp", "fiber"))
def test_head_has_no_body(name, trace):
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        client.exchange(raw_client.get("/json", method="HEAD"), method="HEAD")
        client.exchange(raw_client.get("/json"))
    seen = sorted(ended_trace(trace).requests, key=lambda request: request.time)
    assert shapes(seen) == [("HEAD", "/json", 200), ("GET", "/json", 200)]
    assert seen[0].values["response_bytes"] < seen[1].values["response_bytes"]


@pytest.mark.parametrize("name", ("nginx", "threaded", "asyncio", "express", "nethttp", "fiber"))
def test_bytes_are_those_on_the_wire(name, trace):
    request = raw_client.get("/users/7", "X-Padding: " + "p" * 300)
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        client.send(request + raw_client.get("/json", "Connection: close"))
        received = len(read_all(client))
    first, second = sorted(ended_trace(trace).requests, key=lambda item: item.route, reverse=True)
    assert first.values["request_bytes"] == len(request)
    assert first.values["response_bytes"] + second.values["response_bytes"] == received


def read_all(client: Connection) -> bytes:
    data = b""
    while more := client.socket.recv(65536):
        data += more
    return data


@pytest.mark.parametrize("name", ("threaded", "asyncio", "express", "nginx", *GO))
def test_a_broken_off_body_is_aborted(name, trace):
    with recorded(name, trace, "run", upstream=name == "nginx") as server:
        with Connection(server.port) as client:
            client.send(raw_client.post("/echo", b"x" * 1000)[:-500])
            client.abort()
        with Connection(server.port) as client:
            client.exchange(raw_client.get("/json"))
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    aborted = [request for request in seen.requests if request.aborted]
    assert [(request.method, request.send) for request in aborted] == [("POST", None)]
    assert len(seen.requests) == 2


@pytest.mark.parametrize("name", ("nginx", "threaded", "asyncio", "nethttp", "fiber"))
def test_a_connection_without_a_byte_counts_nothing(name, trace):
    with recorded(name, trace, "run") as server:
        for _ in range(20):
            Connection(server.port).close()
        with Connection(server.port) as client:
            client.exchange(raw_client.get("/json"))
    totals = ended_trace(trace).totals
    assert totals["completeness"]["started"] == totals["completeness"]["finished"] == 1


@pytest.mark.parametrize("name", ("threaded", "asyncio", "nethttp", "fiber"))
def test_what_is_no_http_is_given_up(name, trace):
    """A TLS hello: counted once for its connection, and recorded as nothing else."""
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(200)
    with recorded(name, trace, "run") as server:
        with Connection(server.port) as client:
            client.send(hello)
        with Connection(server.port) as client:
            client.exchange(raw_client.get("/json"))
    completeness = ended_trace(trace).totals["completeness"]
    assert_balanced(completeness)
    assert (completeness["finished"], completeness["given_up"]) == (1, 1)


@pytest.mark.parametrize("name", ("asyncio", "nethttp", "fiber"))
def test_an_open_request_is_unfinished(name, trace):
    """Counted while the server is killed in the middle of it."""
    with recorded(name, trace, "run") as server, Connection(server.port) as client:
        client.exchange(raw_client.get("/json"))
        client.send(raw_client.get("/sleep?ms=60000"))
        wait_until(lambda: served_count(server.port) == 2, 10, "the request to be read")
        time.sleep(SETTLE)
        server.kill()
    completeness = ended_trace(trace).totals["completeness"]
    assert completeness["unfinished"] == 1
    assert_balanced(completeness)


def served_count(port: int) -> int:
    with Connection(port) as client:
        return int(client.exchange(raw_client.get("/__count")).body.split(b":")[1].rstrip(b"}\n"))


@pytest.mark.parametrize("name", ("fastapi-asyncio", "nethttp"))
def test_expect_continue(name, trace):
    """The interim response is not the answer: the handler's time ends with the final one, and the bytes of both count."""
    body = b"x" * 1000
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    with recorded(name, trace, "run") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(head)
            interim = client.recv(1000)
            assert interim.startswith(b"HTTP/1.1 100 ")
            time.sleep(0.1)
            client.sendall(body)
            answer = b""
            while not answer.endswith((body, b"\r\n0\r\n\r\n")):
                more = client.recv(65536)
                assert more, "closed inside the answer"
                answer += more
    (request,) = ended_trace(trace).requests
    assert (request.status, request.route, request.aborted) == (200, "/echo", False)
    assert request.handler >= 100_000_000 * 0.999
    assert request.values["request_bytes"] == len(head) + len(body)
    assert request.values["response_bytes"] == len(interim) + len(answer)
