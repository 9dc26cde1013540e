"""Python workers that come and go under load: each answered request is in the trace once, and each sum is right."""

import os
import signal
import subprocess
import time

import load
import procfs
import pytest
from python_servers import assert_sums
from recording import assert_balanced, ended_trace, recorded, report
from serve import wait_until

CLIENTS = 8
PATHS = ("/small", "/big", "/json")
RECYCLED = {"GUNICORN_CMD_ARGS": "--max-requests 200 --max-requests-jitter 50"}


def loading(server, requests: int) -> subprocess.Popen:
    """A load that runs beside what a test does to the workers."""
    command = load.fixed_command([server.url + path for path in PATHS], requests, clients=CLIENTS)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def serving(trace) -> set[int]:
    """The pids of those that answered something."""
    pid_of = {process["process"]: process["pid"] for process in trace.processes}
    return {pid_of[request.process] for request in trace.requests}


def assert_nothing_lost(trace, path, answered: int, unfinished=0):
    done = trace.totals["completeness"]
    assert_balanced(done)
    assert done["finished"] <= answered <= done["finished"] + done["unfinished"], done
    assert done["unfinished"] <= unfinished and done["given_up"] == 0, done
    assert_sums(trace, report(path))


def test_recycled_after_some_requests(trace, mode):
    """gunicorn replaces a worker after 200 requests or so."""
    with recorded("flask-sync", trace, mode, env=RECYCLED) as server:
        answered = load.fixed([server.url + path for path in PATHS], 1500, CLIENTS)
    assert answered.succeeded == 1500
    seen = ended_trace(trace)
    assert len(serving(seen)) >= 4
    assert_nothing_lost(seen, trace, 1500)


@pytest.mark.parametrize("name", ("flask-sync", "flask-gevent", "fastapi-gunicorn"))
def test_reloaded_under_load(name, trace):
    """HUP: new workers, while the old ones end what they have begun. A kept connection may be closed on a client."""
    with recorded(name, trace, "run") as server:
        assert load.fixed(server.url + "/json", 100, CLIENTS).succeeded == 100
        old = set(server.pids()[1:])
        client = loading(server, 3000)
        for _ in range(2):
            time.sleep(0.3)
            replaced = old | set(server.pids()[1:])
            os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda gone=replaced: set(server.pids()[1:]) - gone, 20, "new workers")
        done = load.parse_fixed(client.communicate(timeout=60)[0], [])
        # All of them: one that ends later would close the connections of the last load.
        wait_until(lambda: not replaced & set(server.pids()), 30, "the old workers to end")
        after = load.fixed(server.url + "/json", 100, CLIENTS)
    assert after.succeeded == 100 and done.succeeded > 0
    seen = ended_trace(trace)
    assert old & serving(seen) and serving(seen) - old
    # A client that lost its connection may not have seen an answer that was sent.
    assert_nothing_lost(seen, trace, max(done.succeeded + 200, len(seen.requests)), unfinished=CLIENTS * 2)
    assert len(seen.requests) - done.succeeded - 200 <= done.errored


@pytest.mark.parametrize("name", ("flask-sync", "fastapi-gunicorn"))
def test_workers_killed_under_load(name, trace):
    """kill -9 of a worker, five times; gunicorn starts another one."""
    kills = 5
    with recorded(name, trace, "run") as server:
        client = loading(server, 3000)
        killed = set()
        for _ in range(kills):
            time.sleep(0.2)
            worker = wait_until(lambda: next((pid for pid in server.pids()[1:] if pid not in killed), None), 10, "a worker")
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        done = load.parse_fixed(client.communicate(timeout=60)[0], [])
        wait_until(lambda: len([pid for pid in server.pids() if procfs.alive(pid)]) >= 3, 10, "the workers")
        after = load.fixed(server.url + "/json", 100, CLIENTS)
    assert after.succeeded == 100 and done.succeeded > 0
    seen = ended_trace(trace)
    balance = seen.totals["completeness"]
    assert_balanced(balance)
    assert balance["finished"] <= done.succeeded + 100 + done.errored
    assert done.succeeded + 100 <= balance["finished"] + balance["unfinished"]
    assert balance["unfinished"] <= kills * CLIENTS
    assert_sums(seen, report(trace))


def test_recycled_by_uvicorn(trace):
    """Of one process, that is the end of the server, with a request of its next client begun or not."""
    with recorded("fastapi-uvloop", trace, "run", env={"UVICORN_LIMIT_MAX_REQUESTS": "300"}) as server:
        done = load.fixed(server.url + "/small", 1000, clients=1)
        server.wait()
    seen = ended_trace(trace)
    assert 300 <= done.succeeded < 1000
    assert len(seen.requests) - done.succeeded <= 1
    assert_nothing_lost(seen, trace, max(done.succeeded, len(seen.requests)), unfinished=1)
