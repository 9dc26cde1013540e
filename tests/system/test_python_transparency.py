"""What a Python program finds out about being recorded: nothing, in whatever mode its allocators and interpreter are."""

import re
import sys

import pytest
import raw_client
import works
from python_servers import HALVES
from recording import assert_balanced, ended_trace, preload_env, recorded, report
from serve import Server
from test_transparency import SOURCES, assert_recorded, run

WAYS = ("daemons", "exit_handlers", "no_end", "exception", "forked", "tracing", "little_memory", "collecting", "pending",
        "contexts", "interpreters", "deep", "killed", "executed", "many_threads", "observed")  # fmt: skip
MODES = tuple({"PYTHONMALLOC": name} for name in ("debug", "malloc", "malloc_debug", "pymalloc_debug")) + (
    {"PYTHONDEVMODE": "1"}, {"PYTHONTRACEMALLOC": "1"},
)  # fmt: skip
PATHS = ("/json", *HALVES, "/stream", "/background", "/error", "/peak", "/users/7", "/users/0")


def named(value) -> str:
    return ",".join(f"{key}={word}" for key, word in value.items()) if isinstance(value, dict) else value


def assert_same(way: str, env: dict, trace):
    command = [sys.executable, SOURCES / "python_host.py", way]
    plain, seen = run(command, env), run(command, {**env, **preload_env(trace)})
    assert (seen.out.splitlines(), seen.status) == (plain.out.splitlines(), plain.status)
    assert seen.requests > 0
    assert_recorded(seen, trace)


@pytest.mark.parametrize("way", WAYS)
def test_programs(way, trace):
    assert_same(way, {}, trace)


@pytest.mark.parametrize("mode_", MODES, ids=named)
@pytest.mark.parametrize("way", ("daemons", "forked", "tracing"))
def test_modes_of_the_interpreter(way, mode_, trace):
    assert_same(way, mode_, trace)


def test_daemon_threads_often(tmp_path):
    """They are stopped, or go on, at any place of ours while the interpreter ends."""
    command = [sys.executable, SOURCES / "python_host.py", "daemons"]
    for number in range(5):
        trace = tmp_path / f"{number}.rqs"
        seen = run(command, preload_env(trace))
        assert (seen.status, seen.out.splitlines()[-1]) == (0, "requests: 20")
        assert_recorded(seen, trace)


def answers(server) -> dict:
    """path -> status and body. Each on a connection of its own: some of them end it."""
    seen = {}
    for path in PATHS * 2:
        with raw_client.Connection(server.port) as client:
            answer = client.exchange(raw_client.get(path))
            seen.setdefault(path, []).append((answer.status, answer.body))
    return seen


SERVER_MODES = [*(("fastapi-uvloop", mode) for mode in MODES[3:]), ("flask-gthread", MODES[0])]


@pytest.mark.parametrize("name, mode_", SERVER_MODES, ids=named)
def test_servers(name, mode_, trace):
    with Server(name, env=mode_) as server:
        plain = answers(server)
        server.stop()
    with recorded(name, trace, "run", env=mode_) as server:
        seen = answers(server)
    assert seen == plain
    assert ended_trace(trace).totals["completeness"]["finished"] == 2 * len(PATHS)
    assert_balanced(report(trace)["completeness"])


def looked_at(server) -> str:
    """/interpreter, addresses left out, after it served some requests."""
    for _ in range(20):
        with raw_client.Connection(server.port) as client:
            client.exchange(raw_client.get("/small"))
    with raw_client.Connection(server.port) as client:
        return re.sub(r"0x[0-9a-f]+", "", client.exchange(raw_client.get("/interpreter")).body.decode())


@pytest.mark.parametrize("name", ("threaded", "asyncio", "fastapi-uvloop", "flask-gthread", "tornado", "django-dev"))
def test_what_a_handler_sees(name, trace):
    """Modules, hooks, kinds of threads, settings: as without an agent. One context variable more is all."""
    with Server(name) as server:
        plain = looked_at(server)
        server.stop()
    with recorded(name, trace, "run") as server:
        seen = looked_at(server)
    without = [re.sub(r'"variables": ?\[.*?\]|, ?"threads": ?\[.*?\]', "", text) for text in (plain, seen)]
    assert without[0] == without[1]
    variables = [len(re.search(r'"variables": ?\[(.*?)\]', text).group(1).split()) for text in (plain, seen)]
    assert variables[0] <= variables[1] <= variables[0] + 1
    threads = [set(re.sub(r"\d+", "", re.search(r'"threads": ?\[(.*?)\]', text).group(1)).split(",")) for text in (plain, seen)]
    assert {name.strip() for name in threads[0]} == {name.strip() for name in threads[1]}


def test_tracemalloc_of_a_request(trace):
    """tracemalloc begins and ends inside a request, many times, and tells the same as without an agent."""
    with Server("threaded") as server:
        plain = traced(server)
        server.stop()
    with recorded("threaded", trace, "run") as server:
        seen = traced(server)
    assert seen == plain
    assert len(ended_trace(trace).requests) == 10


def traced(server) -> list[bytes]:
    with raw_client.Connection(server.port) as client:
        bodies = [client.exchange(raw_client.get("/traced")).body for _ in range(10)]
    assert str(works.PART).encode() in bodies[-1]
    return bodies[2:]
