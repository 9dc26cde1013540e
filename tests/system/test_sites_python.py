"""Sampled allocations of CPython: their functions and lines are those that the program itself sees at that place."""

import json

import pytest
import raw_client
from python_servers import assert_marks
from recording import ended_trace, recorded

SERVERS = ("threaded", "asyncio", "flask-sync", "flask-gthread", "flask-gevent", "django-sync", "fastapi-asyncio",
           "fastapi-uvloop", "fastapi-gunicorn-asgi", "django-asgi")  # fmt: skip
SITES = ("--sites", "--sample-bytes", "32768")  # marks.py: all of its blocks are samples then


@pytest.mark.parametrize("name", SERVERS)
def test_frames_are_the_programs_own(name, tmp_path):
    trace = tmp_path / "trace.rqs"
    with recorded(name, trace, "run", run_options=SITES) as server:
        with raw_client.Connection(server.port) as client:
            told = json.loads(client.exchange(raw_client.get("/marks")).body)
    assert_marks(ended_trace(trace), told["made"])
