"""Every request that a client had answered is in the trace once, and every one begun is accounted for."""

import os
import signal
import subprocess

import load
import pytest
from recording import GO, MODES, assert_balanced, ended_trace, recorded, report, route_counts, status_counts

SERVERS = (
    "nginx",
    "flask-sync",
    "flask-gthread",
    "flask-dev",
    "django-gthread",
    "fastapi-asyncio",
    "fastapi-uvloop",
    "fastapi-gunicorn",
    "fastapi-workers",
    "express",
    "threaded",
    "asyncio",
)
PATHS = ("/json", "/users/7", "/users/0", "/json")
GETS, POSTS = 2000, 200


def in_modes(names) -> list[tuple[str, str]]:
    return [(name, mode) for name in names for mode in MODES] + [(name, "run") for name in GO]


@pytest.mark.parametrize("name, mode", in_modes(SERVERS))
def test_fixed_count(name, mode, trace, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 3000)
    with recorded(name, trace, mode, upstream=name == "nginx") as server:
        gets = load.fixed([server.url + path for path in PATHS], GETS)
        posts = load.fixed(server.url + "/echo", POSTS, data=body)
    assert gets.errored == posts.errored == 0

    assert ended_trace(trace).run["mode"] == mode
    seen = report(trace)
    assert seen["requests"] == GETS + POSTS
    assert seen["completeness"]["finished"] == GETS + POSTS
    assert seen["completeness"]["unfinished"] == seen["completeness"]["given_up"] == 0
    assert_balanced(seen["completeness"])
    assert not seen["truncated"] and seen["errors"] == 0
    assert status_counts(seen) == {200: gets.statuses[200] + POSTS, 404: gets.statuses[404]}
    assert route_counts(seen) == {("GET", "/json"): GETS // 2, ("GET", "/users/{}"): GETS // 2, ("POST", "/echo"): POSTS}


@pytest.mark.parametrize("name, mode", in_modes(("nginx", "flask-sync", "flask-gthread", "fastapi-uvloop", "express")))
def test_kill_under_load(name, mode, trace, tmp_path):
    """kill -9 of all server processes at once: what was committed stays, and what was open is counted as such."""
    log = tmp_path / "rows"
    with recorded(name, trace, mode) as server:
        command = load.fixed_command([server.url + "/json"], 200_000, clients=8, log=log)
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(1)
        server.kill()
        successes = load.parse_fixed(client.communicate(timeout=30)[0], []).succeeded
    assert successes > 0

    done = ended_trace(trace).totals["completeness"]
    assert_balanced(done)
    assert done["finished"] <= successes <= done["finished"] + done["unfinished"], done
    assert report(trace)["requests"] == done["finished"]


def test_a_killed_worker_is_replaced(trace, mode):
    """The new worker's requests are in the same trace."""
    with recorded("flask-sync", trace, mode) as server:
        load.fixed(server.url + "/json", 100)
        killed = server.pids()[1:]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        answered = load.fixed(server.url + "/json", 500).answered
    assert answered == 500

    seen = ended_trace(trace)
    assert len(seen.requests) == 600
    pid_of = {process["process"]: process["pid"] for process in seen.processes}
    serving = {pid_of[request.process] for request in seen.requests}
    assert serving & set(killed) and serving - set(killed)
    assert_balanced(seen.totals["completeness"])


def test_few_bytes_a_request(trace):
    requests = 40_000
    with recorded("nginx", trace, "run") as server:
        load.fixed(server.url + "/json", requests, log=False)
    seen = ended_trace(trace)
    assert len(seen.requests) == requests
    assert seen.size <= 10 * requests
