"""Servers that are recorded while a test loads them, and what their traces say."""

import json
import os
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import read_trace
from procfs import command_line, cpu_seconds
from serve import Server, wait_until

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
REQSCOPE = BUILD / "reqscope"
LIBRARY = BUILD / "libreqscope.so"

MODES = ("run", "preload")

# Go's servers are static programs: no library can be preloaded to them.
GO = ("nethttp", "gin", "echo", "chi", "fiber")

# A client has the last byte before the server's own call returns, and a record is written after that. Who ends a server
# in between finds the request unfinished, as he should; tests that don't want that wait this long.
SETTLE = 0.2


def run_prefix(trace: Path, *options) -> list:
    return [REQSCOPE, "run", "-o", trace, *options, "--"]


def preload_env(trace: Path | None = None) -> dict:
    """The environment that records without the launcher; without a trace, into the default file."""
    return {"LD_PRELOAD": str(LIBRARY), **({"REQSCOPE_OUT": str(trace)} if trace else {})}


@contextmanager
def recorded(name: str, trace: Path, mode: str, *, run_options=(), env=None, **options):
    """A test server recorded into trace, by the launcher or by LD_PRELOAD alone."""
    wrap = run_prefix(trace, *run_options) if mode == "run" else ()
    env = {**(preload_env(trace) if mode == "preload" else {}), **(env or {})}
    with Server(name, wrap=wrap, env=env, **options) as server:
        yield server
        if server.process.poll() is None:
            time.sleep(SETTLE)
            server.stop()


def collector_of(trace: Path) -> int:
    def find():
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            words = command_line(pid)
            if "collect" in words and str(trace) in words:
                return pid
        return None

    return wait_until(find, 5, "the collector")


@contextmanager
def meanwhile(work):
    """Calls work over and over beside what is done in the block, and waits for its last call."""
    over = threading.Event()

    def go_on():
        while not over.is_set():
            work()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def small_disk(folder: Path, size: str):
    """A disk that is soon full: /dev/full can't be a new file, a small tmpfs is one."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def collector_of(trace: Path) -> int:
    """The pid of the process that writes the trace."""

    def find():
        pids = map(int, filter(str.isdigit, os.listdir("/proc")))
        return next((pid for pid in pids if {"collect", str(trace)} <= set(command_line(pid))), None)

    return wait_until(find, 5, "the collector")


def wait_for_collector(trace: Path):
    """Until it has read all there is: it doesn't more then than it takes to look."""
    pid = collector_of(trace)

    def is_idle():
        before = cpu_seconds([pid])
        time.sleep(0.1)
        return cpu_seconds([pid]) - before < 0.02

    wait_until(is_idle, 60, "the collector to have it all")


def if_ended(path: Path) -> read_trace.Trace | None:
    """The trace if it has its end frame."""
    try:
        trace = read_trace.read(path)
    except (FileNotFoundError, read_trace.Damaged):
        return None  # not there yet, or half a frame written
    return trace if trace.ended else None


def ended_trace(path: Path) -> read_trace.Trace:
    """The trace once its end frame is written: under LD_PRELOAD the collector outlives the server by a moment."""
    return wait_until(lambda: if_ended(path), 10, f"the end of {path.name}")


def report(path: Path) -> dict:
    """The one trace of `reqscope report --format json`."""
    done = subprocess.run([REQSCOPE, "report", "--format", "json", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (trace,) = json.loads(done.stdout)["traces"]
    return trace


def assert_accounted(completeness: dict):
    """Every request that was begun is accounted for."""
    ends = ("finished", "dropped", "unfinished", "given_up")
    assert completeness["started"] == sum(completeness[end] for end in ends), completeness


def assert_balanced(completeness: dict):
    """And none was lost."""
    assert_accounted(completeness)
    assert completeness["dropped"] == 0, completeness


def status_counts(trace: dict) -> dict[int, int]:
    """status -> requests, over all routes of a report."""
    counts: dict[int, int] = {}
    for route in trace["routes"]:
        for status, count in route["status"].items():
            counts[int(status)] = counts.get(int(status), 0) + count
    return counts


def route_counts(trace: dict) -> dict[tuple[str, str], int]:
    """(method, route) -> requests, of a report."""
    return {(route["method"], route["route"]): route["requests"] for route in trace["routes"]}
