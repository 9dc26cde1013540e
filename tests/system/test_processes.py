"""One session, one trace: parents, workers, and what a shell started."""

import time
from contextlib import ExitStack
from pathlib import Path

import load
import pytest
import raw_client
from raw_client import Connection
from recording import assert_balanced, ended_trace, preload_env, recorded, report, run_prefix
from serve import Server, wait_until

REQUESTS = 600


def test_workers_share_a_trace(trace, mode):
    with recorded("flask-sync", trace, mode) as server:
        load.fixed(server.url + "/json", REQUESTS, clients=16)
        pids = set(server.pids())
    seen = ended_trace(trace)
    assert len(seen.requests) == REQUESTS
    assert pids <= {process["pid"] for process in seen.processes}
    serving = {request.process for request in seen.requests}
    assert len(serving) == 2, "both workers"
    assert serving <= {process["process"] for process in seen.processes}


def test_a_server_started_by_a_shell(trace, mode):
    """The shell forks and executes: the children's requests are in the shell's trace."""
    shell = ["sh", "-c", '"$@"; exit 5', "sh"]
    how = {"wrap": run_prefix(trace) + shell} if mode == "run" else {"wrap": shell, "env": preload_env(trace)}
    with Server("flask-gthread", **how) as server:
        load.fixed(server.url + "/json", REQUESTS)
        assert server.stop() == 5
    seen = ended_trace(trace)
    assert len(seen.requests) == REQUESTS
    assert_balanced(seen.totals["completeness"])


def test_spawned_workers_share_a_trace(trace, mode):
    """uvicorn's workers are new programs that inherit the listener."""
    with recorded("fastapi-workers", trace, mode) as server:
        load.fixed(server.url + "/json", REQUESTS, clients=16)
    seen = ended_trace(trace)
    assert len(seen.requests) == REQUESTS
    assert {process["runtime"]["name"] for process in seen.processes} == {"python"}


def held_by(server) -> int:
    """Its connections that it hasn't closed yet."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(f":{server.port:04X}") and state in ("01", "08") for _, local, _, state, *_ in lines)


# Node's primary accepts all connections, and passes them on.
@pytest.mark.parametrize("name", ("express-cluster", "fastapi-workers", "flask-gthread"))
def test_connections_of_all_workers_are_as_many_as_were_open_at_once(name, trace):
    """Each worker's own peak comes at another time."""
    clients, rounds = 30, 8
    with recorded(name, trace, "run", workers=2) as server:
        for _ in range(rounds):
            with ExitStack() as open_ones:
                connections = [open_ones.enter_context(Connection(server.port)) for _ in range(clients)]
                for connection in connections:
                    assert connection.exchange(raw_client.get("/json")).status == 200
                time.sleep(0.3)
            wait_until(lambda: not held_by(server), 10, "the server to close its connections")
    ended_trace(trace)
    seen = report(trace)
    assert seen["connections"] == {"accepted": clients * rounds, "peak": clients}
    assert seen["requests"] == clients * rounds


def test_own_calls_are_no_requests(trace, mode):
    """What the server asks its upstream is not among what it served."""
    with recorded("flask-gthread", trace, mode, upstream=True) as server:
        load.fixed(server.url + "/db", 100)
    assert {request.route for request in ended_trace(trace).requests} == {"/db"}
    assert len(ended_trace(trace).requests) == 100


def test_samples_of_the_serving_processes(trace):
    with recorded("flask-sync", trace, "run") as server:
        load.timed(server.url + "/json", seconds=2)
        pids = set(server.pids())
    seen = ended_trace(trace)
    numbers = {process["process"] for process in seen.processes if process["pid"] in pids}
    assert numbers <= {sample["process"] for sample in seen.samples}
    measured = [sample["rss"] for sample in seen.samples if sample["process"] in numbers and sample["rss"] is not None]
    assert measured and min(measured) > 0


def test_the_command_is_described(trace):
    with recorded("threaded", trace, "run") as server:
        load.fixed(server.url + "/json", 10)
    seen = ended_trace(trace)
    assert seen.run["command"][-1] == str(server.port)
    assert seen.processes[0]["runtime"]["name"] == "python"
