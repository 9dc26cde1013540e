"""A collector that can't keep up, on a slow disk or suspended: the server goes on, and what is lost is counted.

RQS_LOAD_SECONDS sets for how long, RQS_LOAD_SERVERS which servers (`make load-long`).
"""

import fcntl
import os
import signal
import threading
import time
from contextlib import contextmanager

import load
import pytest
from recording import SETTLE, assert_accounted, collector_of, ended_trace, preload_env, recorded, report
from serve import Server, wait_until

SECONDS = float(os.environ.get("RQS_LOAD_SECONDS", "1"))
SERVERS = os.environ.get("RQS_LOAD_SERVERS", "httpd").split()
# From when on agents keep to 4 MiB, and more requests than have room there.
SILENT = 2.5
MANY = 40_000
PIECE = 10_000


def asked(server, requests: int, seconds: float = 0) -> int:
    """How many were sent: so many, and on for so long. All were answered."""
    end, sent = time.monotonic() + seconds, 0
    while sent < requests or time.monotonic() < end:
        count = min(PIECE, max(requests - sent, PIECE // 10))
        done = load.fixed(server.url + "/json", count, log=False)
        assert (done.succeeded, done.failed, done.errored) == (count, 0, 0)
        sent += count
    return sent


def asked_in_vain(server) -> int:
    """More than there is room for while nobody takes anything away."""
    sent = asked(server, 0, SECONDS)
    time.sleep(SILENT)
    return sent + asked(server, MANY)


def assert_all_told(trace, sent: int, recovered: int):
    """What was lost is counted, and none of the last PIECE, sent after `recovered` (ns), was."""
    completeness = report(trace)["completeness"]
    print(f"of {sent} requests {completeness['dropped']} dropped")
    assert_accounted(completeness)
    assert completeness["started"] == sent
    assert completeness["finished"] + completeness["dropped"] == sent
    rows = ended_trace(trace).requests
    assert len(rows) == completeness["finished"]
    assert sum(row.time > recovered for row in rows) == PIECE
    assert completeness["dropped"] > 0


# ---- a slow disk ----


class SlowDisk:
    """A pipe that takes in a trace as slowly as it is told to, and keeps what came in a file."""

    SIZE = 4096

    def __init__(self, folder):
        self.pipe, self.kept = folder / "pipe", folder / "kept.rqs"
        self.pause = 0.0  # seconds after each piece; None: takes nothing
        os.mkfifo(self.pipe)
        self.thread = threading.Thread(target=self._take_in)
        self.thread.start()

    def _take_in(self):
        with open(self.pipe, "rb", 0) as pipe, open(self.kept, "wb") as kept:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, self.SIZE)
            while piece := pipe.read(self.SIZE):
                kept.write(piece)
                while self.pause is None:
                    time.sleep(0.01)
                time.sleep(self.pause)

    @contextmanager
    def taking(self, pause):
        self.pause = pause
        try:
            yield
        finally:
            self.pause = 0.0


def is_writing(pid: int) -> bool:
    """It waits in a write(2)."""
    with open(f"/proc/{pid}/syscall") as file:
        return file.read().split()[0] == "1"


@pytest.mark.parametrize("name", SERVERS)
def test_a_disk_that_is_slow_and_then_stands_still(name, tmp_path):
    disk = SlowDisk(tmp_path)
    with recorded(name, disk.pipe, "run", run_options=("-f",)) as server:
        collector = collector_of(disk.pipe)
        sent = asked(server, PIECE)
        with disk.taking(0.05):
            sent += asked(server, PIECE, SECONDS)
        with disk.taking(None):
            sent += asked(server, PIECE)
            wait_until(lambda: is_writing(collector), 20, "the collector to wait for the disk")
            sent += asked_in_vain(server)
            assert is_writing(collector)
        time.sleep(SILENT)
        recovered = time.monotonic_ns()
        sent += asked(server, PIECE)
    disk.thread.join(20)
    assert_all_told(disk.kept, sent, recovered)


# ---- a suspended collector ----


@contextmanager
def suspended(pid: int):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("name", SERVERS)
def test_recording_goes_on_after_a_suspension(name, trace):
    with recorded(name, trace, "run") as server:
        sent = asked(server, PIECE)
        with suspended(collector_of(trace)):
            sent += asked_in_vain(server)
            size = trace.stat().st_size
        wait_until(lambda: trace.stat().st_size > size, 20, "the collector to go on")
        time.sleep(SETTLE)
        recovered = time.monotonic_ns()
        sent += asked(server, PIECE)
    assert_all_told(trace, sent, recovered)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_ends_beside_a_suspended_collector(name, trace):
    """Nothing that was committed is lost."""
    if name in ("gin", "fiber"):
        pytest.skip("only by the launcher, and that waits for the collector")
    with Server(name, env=preload_env(trace)) as server:
        asked(server, PIECE)
        with suspended(collector_of(trace)):
            asked(server, PIECE)
            time.sleep(SETTLE)
            server.stop()
    ended_trace(trace)
    completeness = report(trace)["completeness"]
    assert_accounted(completeness)
    assert completeness["finished"] == completeness["started"] == 2 * PIECE
