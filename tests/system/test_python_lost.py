"""Python programs that take the agent's means away, or have several interpreters: no number rather than a wrong one."""

import sys

import pytest
from recording import ended_trace, preload_env, report
from test_transparency import run

SIZE = 1_000_000
# A server whose paths do that.
HANDLER = """
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
"""
PROGRAM = HANDLER + """

if sys.argv[1] == "early":
    tracemalloc.start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for path in sys.argv[2:]:
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}").read()
"""


WHOLE = ("process_alloc", "unattributed", "after_response")


def recorded(trace, *words) -> list:
    seen = run([sys.executable, "-c", PROGRAM, *words], preload_env(trace))
    assert seen.status == 0, seen.out
    requests = sorted(ended_trace(trace).requests, key=lambda request: request.time)  # each is of a thread of its own
    return [(request.route, request.values["alloc_bytes"]) for request in requests]


def assert_whole_is_known(trace, known: bool):
    """Else too little was counted, and a reason is told."""
    seen = report(trace)
    assert [seen[what] is not None for what in WHOLE] == [known] * 3
    reasons = [note["why"] for note in seen["not_measured"] if note["what"] == ", ".join(WHOLE)]
    assert ["exchanged" in reason for reason in reasons] == [True] * (not known)


def test_tracemalloc_takes_the_allocators_out(trace):
    """It began before the recording, and puts back what there was before itself."""
    (*before, stop, after, again) = recorded(trace, "early", "/big", "/start", "/stop", "/big", "/start")
    assert before[0][1] > SIZE and before[1][1] < SIZE
    assert {stop[1], after[1], again[1]} == {None}
    assert_whole_is_known(trace, False)


@pytest.mark.parametrize("words", (["early", "/big", "/stop"], ["late", "/big", "/start"], ["late", "/start", "/stop", "/big"]))
def test_nobody_can_tell_whether_ours_are_called(trace, words):
    """No whole request has come since they changed, or none while they had."""
    recorded(trace, *words)
    assert_whole_is_known(trace, False)


def test_tracemalloc_before_the_allocators(trace):
    seen = recorded(trace, "late", "/big", "/start", "/big", "/stop", "/big")
    assert seen[1][1] is None, "they change while it is open"
    assert all(value > SIZE for route, value in seen if route == "/big")
    assert_whole_is_known(trace, True)


def test_tracemalloc_all_the_time(trace):
    (request,) = recorded(trace, "early", "/big")
    assert request[1] > SIZE
    assert_whole_is_known(trace, True)


@pytest.mark.skipif(sys.version_info < (3, 9), reason="all interpreters share the GIL, and are one to the agent")
def test_another_interpreter(trace):
    """What it allocates is nobody's."""
    seen = recorded(trace, "late", "/big", "/other", "/big")
    assert seen[0][1] > SIZE and seen[2][1] > SIZE
    assert seen[1][1] < SIZE
