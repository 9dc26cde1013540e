"""Python programs that take the agent's means away, or have several interpreters: no number rather than a wrong one."""

import sys

import pytest
from recording import ended_trace, preload_env
from test_transparency import run

SIZE = 1_000_000
PROGRAM = """
import http.server, sys, threading, tracemalloc, urllib.request

BIG = "kept = [bytes(1000) for _ in range(1000)]"


def in_another_interpreter():
    try:
        import _interpreters as all
    except ImportError:
        import _xxsubinterpreters as all
    other = all.create()
    getattr(all, "exec", None) and all.exec(other, BIG) or all.run_string(other, BIG)
    all.destroy(other)


WORKS = {
    "/big": lambda: exec(BIG, {}),
    "/start": tracemalloc.start,
    "/stop": tracemalloc.stop,
    "/other": in_another_interpreter,
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        WORKS[self.path]()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


if sys.argv[1] == "early":
    tracemalloc.start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for path in sys.argv[2:]:
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}").read()
"""


def recorded(trace, *words) -> list:
    seen = run([sys.executable, "-c", PROGRAM, *words], preload_env(trace))
    assert seen.status == 0, seen.out
    return [(request.route, request.values["alloc_bytes"]) for request in ended_trace(trace).requests]


def test_tracemalloc_takes_the_allocators_out(trace):
    """It began before the recording, and puts back what there was before itself."""
    (*before, stop, after, again) = recorded(trace, "early", "/big", "/start", "/stop", "/big", "/start")
    assert before[0][1] > SIZE and before[1][1] < SIZE
    assert {stop[1], after[1], again[1]} == {None}


def test_tracemalloc_before_the_allocators(trace):
    seen = recorded(trace, "late", "/big", "/start", "/big", "/stop", "/big")
    assert seen[1][1] is None, "they change while it is open"
    assert all(value > SIZE for route, value in seen if route == "/big")


@pytest.mark.skipif(sys.version_info < (3, 9), reason="all interpreters share the GIL, and are one to the agent")
def test_another_interpreter(trace):
    """What it allocates is nobody's."""
    seen = recorded(trace, "late", "/big", "/other", "/big")
    assert seen[0][1] > SIZE and seen[2][1] > SIZE
    assert seen[1][1] < SIZE
