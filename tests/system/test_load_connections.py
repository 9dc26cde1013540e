"""Many connections at once, most of them idle: all requests counted, and little memory taken for each connection.

RQS_LOAD_IDLE and RQS_LOAD_BUSY set how many (`make load-long`: 10,000 and 1,000).
"""

import os
import resource
from contextlib import ExitStack, contextmanager

import load
import pytest
import raw_client
from raw_client import Connection
from recording import assert_balanced, ended_trace, recorded, report, status_counts
from serve import Server, wait_until

IDLE = int(os.environ.get("RQS_LOAD_IDLE", "500"))
BUSY = int(os.environ.get("RQS_LOAD_BUSY", "100"))
REQUESTS = 50 * BUSY
# What the agent may take in its host.
BYTES, BYTES_A_CONNECTION = 4 << 20, 1 << 10
# It doesn't move when so many readings are so near to each other.
SAME, NEAR = 20, 64 << 10

SERVERS = ("gin", "nginx-many", "fastapi-uvloop", "httpd")
# Uvicorn closes idle connections after 5 s. The heap of a Go server that collects moves by more than the agent has.
SETTINGS = {"UVICORN_TIMEOUT_KEEP_ALIVE": "300", "GOGC": "off"}


@pytest.fixture(autouse=True)
def descriptors():
    """Enough for the clients, and for the servers, which inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + BUSY + 1000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"needs {wanted} descriptors, {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def idle_connections(server):
    """Each has asked once and been answered; then it stays as it is, and at the end answers once more."""
    with ExitStack() as all_of_them:
        connections = [all_of_them.enter_context(Connection(server.port)) for _ in range(IDLE)]
        for connection in connections:
            assert connection.exchange(raw_client.get("/json")).status == 200
        yield
        for connection in connections:
            assert connection.exchange(raw_client.get("/json")).status == 200


def loaded(server) -> int:
    """All its memory while the idle connections are open and the others have been busy."""
    with idle_connections(server):
        done = load.fixed(server.url + "/json", REQUESTS, BUSY, log=False)
        assert (done.succeeded, done.errored) == (REQUESTS, 0)
        return settled_memory(server)


def settled_memory(server) -> int:
    """The busy connections' buffers go when the server has seen their ends, at once or not."""
    before = [0] * SAME

    def settled():
        before.append(server.memory()["rss"])
        return before[-1] if max(before[-SAME:]) - min(before[-SAME:]) <= NEAR else 0

    return wait_until(settled, 30, "the server's memory to stay as it is")


@pytest.mark.parametrize("name", SERVERS)
def test_idle_and_busy_connections(name, trace):
    with Server(name, env=SETTINGS) as server:
        alone = loaded(server)
    with recorded(name, trace, "run", env=SETTINGS) as server:
        with_agent = loaded(server)
    ended_trace(trace)
    seen = report(trace)
    requests = 2 * IDLE + REQUESTS
    assert_balanced(seen["completeness"])
    assert seen["requests"] == seen["completeness"]["finished"] == seen["completeness"]["started"] == requests
    assert status_counts(seen) == {200: requests}
    assert seen["connections"]["accepted"] == IDLE + BUSY
    # The first of the busy ones may be done before the last has come.
    assert IDLE + BUSY / 2 <= seen["connections"]["peak"] <= IDLE + BUSY
    added = with_agent - alone
    print(f"{name}: {requests} requests on {IDLE} idle and {BUSY} busy connections, {seen['connections']['peak']:.0f} at once;"
          f" {alone >> 10} KiB of memory, {added >> 10} KiB more with the agent")  # fmt: skip
    assert added <= BYTES + BYTES_A_CONNECTION * (IDLE + BUSY)
