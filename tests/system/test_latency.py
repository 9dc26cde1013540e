"""A recorded latency lies inside what the client saw of the same request. No absolute time is asserted."""

import subprocess

import load
import pytest
from recording import ended_trace, recorded

# The client's log has whole microseconds; the trace's parts are quantised to 2^-10 of their value each.
CLOCK_ERROR = 5_000  # ns
QUANTISATION = 2**-9

ROUTES = {"/json": "/json", "/users/{}": "/users/7", "/alloc": "/alloc?kb=1", "/sleep": "/sleep?ms=1"}


def too_long(requests, rows) -> list:
    """The joined pairs in which the recorded latency is above the client's."""
    assert len(requests) == len(rows)
    pairs = zip(sorted(requests, key=lambda request: request.time), rows)
    return [
        (request.latency / 1000, row.duration, request)
        for request, row in pairs
        if request.latency * (1 - QUANTISATION) > row.duration * 1000 + CLOCK_ERROR
    ]


def arrivals_outside(trace, requests, rows) -> list:
    """The joined pairs in which the request arrived before the client sent it, or after its answer."""
    pairs = zip(sorted(requests, key=lambda request: request.time), rows)
    times = ((trace.realtime(request.time), row.start * 1000, row.end * 1000) for request, row in pairs)
    return [(at - start, end - at) for at, start, end in times if not start - 1e6 <= at <= end + 1e6]


@pytest.mark.parametrize("name", ("nginx", "flask-gthread", "fastapi-asyncio", "fastapi-uvloop", "express"))
def test_one_connection(name, mode, trace):
    with recorded(name, trace, mode) as server:
        rows = load.fixed([server.url + path for path in ("/json", "/users/7")], 1000, clients=1).rows
    seen = ended_trace(trace)
    assert all(request.latency is not None for request in seen.requests)
    assert too_long(seen.requests, rows) == []
    assert arrivals_outside(seen, seen.requests, rows) == []


@pytest.mark.parametrize("name", ("nginx", "flask-gthread", "fastapi-uvloop", "express", "nethttp", "gin", "fiber"))
def test_several_connections(name, trace, tmp_path):
    """Four clients at once, each with a route of its own, so that rows still join one by one."""
    with recorded(name, trace, "run", upstream=name == "nginx") as server:
        clients = []
        for number, path in enumerate(ROUTES.values()):
            command = load.fixed_command([server.url + path], 300, clients=1, log=tmp_path / f"rows{number}")
            clients.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        assert [client.wait(60) for client in clients] == [0] * len(ROUTES)
    seen = ended_trace(trace)
    for number, route in enumerate(ROUTES):
        requests = [request for request in seen.requests if request.route == route]
        assert too_long(requests, load.parse_rows(tmp_path / f"rows{number}")) == []


@pytest.mark.parametrize("name", ("threaded", "asyncio", "express", "nethttp", "fiber"))
def test_latency_covers_the_handler(name, trace):
    """The other bound: a handler that waits is not shorter than its wait."""
    with recorded(name, trace, "run") as server:
        load.fixed(server.url + "/sleep?ms=40", 20, clients=4)
    assert min(request.handler for request in ended_trace(trace).requests) >= 38_000_000
