"""Sampled allocations of CPython: their functions and lines are those that the program itself sees at that place."""

import json
import math
import subprocess
import sys
import time

import pytest
import raw_client
import read_trace
import works
from python_servers import assert_marks
from recording import ended_trace, recorded, run_prefix, wait_for_collector

SERVERS = ("threaded", "asyncio", "flask-sync", "flask-gthread", "flask-gevent", "django-sync", "fastapi-asyncio",
           "fastapi-uvloop", "fastapi-gunicorn-asgi", "django-asgi")  # fmt: skip
SITES = ("--sites", "--sample-bytes", "32768")  # marks.py: all of its blocks are samples then


@pytest.mark.parametrize("name", SERVERS)
def test_frames_are_the_programs_own(name, tmp_path):
    """On a busy machine samples of the server's start may be too many for the collector, and some of them be lost."""
    trace = tmp_path / "trace.rqs"
    rounds = []
    with recorded(name, trace, "run", run_options=SITES) as server:
        for _ in range(4):
            wait_for_collector(trace)
            with raw_client.Connection(server.port) as client:
                rounds.append(json.loads(client.exchange(raw_client.get("/marks")).body)["made"])
    seen = ended_trace(trace)
    sizes = {site.bytes for site in seen.sites}
    whole = [made for made in rounds if all(mark["size"] in sizes for mark in made)]
    assert whole
    for made in whole:
        assert_marks(seen, made)


def estimate(sites: list) -> tuple[float, float]:
    """Bytes that were asked for, and the standard deviation of that (Horvitz and Thompson)."""
    shares = [(site.bytes, -math.expm1(-site.bytes / site.sample_bytes)) for site in sites]
    return sum(s / p for s, p in shares), math.sqrt(sum(s * s * (1 - p) / p**2 for s, p in shares))


def events(trace, event: int) -> set:
    return {(site.process, site.number) for site in trace.sites if site.event == event}


def ask_slowly(server, trace, paths: tuple, rounds: int):
    """So that the collector keeps up on a busy machine, also with what the server's start has allocated."""
    wait_for_collector(trace)
    with raw_client.Connection(server.port) as client:
        for _ in range(rounds):
            for path in paths:
                assert client.exchange(raw_client.get(path)).status == 200
            time.sleep(0.05)


def allocated(trace, route: str) -> list:
    return [site for site in trace.sites if site.event == read_trace.ALLOCATED and site.route == route]


@pytest.mark.parametrize("name", ("threaded", "asyncio", "flask-gthread", "fastapi-uvloop"))
def test_bytes_are_those_of_the_requests(name, tmp_path):
    """By route, and receive buffers apart: asyncio's are 256 KiB for each read."""
    trace = tmp_path / "trace.rqs"
    paths = ("/empty", "/small", "/big")
    with recorded(name, trace, "run", run_options=SITES, workers=1) as server:
        ask_slowly(server, trace, paths, 50)
    seen = ended_trace(trace)
    withdrawn = events(seen, read_trace.WITHDRAWN)
    for path in paths:
        told = sum(request.values["alloc_bytes"] for request in seen.requests if request.route == path)
        kept = [site for site in allocated(seen, path) if (site.process, site.number) not in withdrawn]
        sampled, deviation = estimate(kept)
        assert sampled == pytest.approx(told, abs=5 * deviation + 65536), path
    assert withdrawn or name not in ("asyncio", "fastapi-uvloop")


def test_freed_blocks_are_told(tmp_path):
    """Those that pymalloc has and those that malloc has; and what is kept isn't."""
    trace = tmp_path / "trace.rqs"
    with recorded("threaded", trace, "run", run_options=SITES) as server:
        ask_slowly(server, trace, ("/big", "/keep"), 50)
    seen = ended_trace(trace)
    freed = events(seen, read_trace.FREED)
    blocks = {path: [site for site in allocated(seen, path) if is_in_hold(seen, site)] for path in ("/big", "/keep")}
    assert all(site.followed for sites in blocks.values() for site in sites)
    small = [site for site in blocks["/big"] if site.bytes <= 512]
    assert len(small) > 50 and len(blocks["/big"]) > 2 * len(small)
    assert all((site.process, site.number) in freed for site in blocks["/big"])
    assert len(blocks["/keep"]) > 50 and not any((site.process, site.number) in freed for site in blocks["/keep"])


FORKING = """
import http.server, os, sys, threading, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        child = os.fork()
        if not child:
            kept = [bytearray(100000) for _ in range(200)]
            os._exit(len(kept) != 200)
        self.send_response(200 if os.waitpid(child, 0)[1] == 0 else 500)
        self.end_headers()

    def log_message(self, *arguments):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for _ in range(5):
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/fork").read()
"""


def test_what_a_forks_child_allocates_is_its_own(tmp_path):
    """It has a copy of what the interpreter knows of the request that its parent serves."""
    trace = tmp_path / "trace.rqs"
    subprocess.run([*run_prefix(trace, *SITES), sys.executable, "-c", FORKING], check=True, timeout=60)
    seen = ended_trace(trace)
    assert [(request.route, request.status) for request in seen.requests] == [("/fork", 200)] * 5
    assert not [note for note in seen.totals["notes"] if "wrote over" in note["why"]]
    made = [site for site in seen.sites if site.event == read_trace.ALLOCATED and 100000 <= site.bytes < 100100]
    lost = sum(process["events"].get("sample_lost", 0) for process in seen.totals["processes"])
    assert len(made) > 5 * 200 * 0.9 - lost
    assert {(site.owner, site.route) for site in made} == {(read_trace.UNATTRIBUTED, None)}


def is_in_hold(trace, site) -> bool:
    """Is it one of the blocks of tests/servers/python/works.py? Iterators are freed at once, and some freed lists kept."""
    return site.bytes in works.BLOCKS and any(frame["function"] == "hold" for frame in trace.stack(site.stack))
