"""kill -9 at random moments, of the server, of a worker, of the collector: counts balance, and nobody else notices.

RQS_FAULT_ROUNDS sets how many times (`make faults`: 40 of each kind).
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import load
import pytest
from procfs import command_line, descendants
from recording import assert_balanced, collector_of, ended_trace, if_ended, preload_env, recorded, report, run_prefix, small_disk
from serve import Server, wait_until

ROUNDS = int(os.environ.get("RQS_FAULT_ROUNDS", "3"))


class Load:
    """h2load in a thread, ended when the server ends or its count is reached."""

    def __init__(self, server, requests, clients=8):
        self.result = None
        self.thread = threading.Thread(target=self._run, args=(server.url + "/json", requests, clients))
        self.thread.start()

    def _run(self, url, requests, clients):
        self.result = load.fixed(url, requests, clients=clients, log=False)

    def join(self):
        self.thread.join(60)
        return self.result


def pause(dice):
    time.sleep(dice.random() * 0.15)


def assert_kill_balances(seen, answered):
    """finished <= what the client has <= finished + unfinished, and every request is accounted for."""
    completeness = seen["completeness"]
    assert_balanced(completeness)
    assert completeness["finished"] == seen["requests"]
    whole = seen["requests"] - sum(route["errors"] for route in seen["routes"])
    assert whole <= answered <= completeness["finished"] + completeness["unfinished"]


@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("name", ("httpd", "nginx", "asyncio"))
def test_the_server_is_killed(name, round_, trace):
    dice = random.Random(f"{name} {round_}")
    with recorded(name, trace, dice.choice(("run", "preload"))) as server:
        running = Load(server, 100_000)
        pause(dice)
        server.kill()
        done = running.join()
    if not done.answered:
        # Killed between its listen() and the collector's start, there was nothing to lose: an empty trace is removed.
        wait_until(lambda: not trace.exists() or if_ended(trace), 10, "an end, or no trace")
        if not trace.exists():
            return
    ended_trace(trace)
    assert_kill_balances(report(trace), done.answered)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_worker_is_killed(round_, trace):
    dice = random.Random(round_)
    with recorded("flask-sync", trace, "run") as server:
        running = Load(server, 600)
        pause(dice)
        os.kill(dice.choice(server.pids()[1:]), signal.SIGKILL)
        done = running.join()
    ended_trace(trace)
    assert_kill_balances(report(trace), done.answered)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_the_collector_is_killed(round_, trace, mode):
    """The server goes on as if nothing was; what had been written is readable."""
    dice = random.Random(round_)
    how = {"wrap": run_prefix(trace)} if mode == "run" else {"env": preload_env(trace)}
    with Server("httpd", **how) as server:
        running = Load(server, 30_000)
        pause(dice)
        os.kill(collector_of(trace), signal.SIGKILL)
        done = running.join()
        assert (done.succeeded, done.failed, done.errored) == (30_000, 0, 0)
        server.stop()
        if mode == "run":
            assert "reqscope: " in server.output
    told = subprocess.run(
        [*run_prefix(trace)[:1], "report", "--format", "json", trace], capture_output=True, text=True, timeout=60
    )
    assert told.returncode in (0, 2), told.stderr
    assert told.stderr.startswith("reqscope: ")
    assert not told.stdout or json.loads(told.stdout)["traces"][0]["truncated"]


def region_memory(pid) -> int:
    """Bytes of the shared region that a process has in memory."""
    total = 0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = "memfd:reqscope" in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def test_without_a_collector_memory_stays_small(trace):
    """Nobody takes the records away any more: they are dropped, not piled up."""
    with Server("httpd", env=preload_env(trace)) as server:
        load.fixed(server.url + "/json", 1_000)
        os.kill(collector_of(trace), signal.SIGKILL)
        time.sleep(2.5)
        done = load.fixed(server.url + "/json", 150_000, log=False)
        assert done.succeeded == 150_000
        assert 0 < region_memory(server.pid) < 6 << 20


def test_a_stopped_collector_holds_nobody_up(trace):
    """It drains late; until then requests are kept or, where there is no room left, dropped and counted."""
    with recorded("httpd", trace, "preload") as server:
        load.fixed(server.url + "/json", 1_000)
        collector = collector_of(trace)
        os.kill(collector, signal.SIGSTOP)
        done = load.fixed(server.url + "/json", 100_000, log=False)
        os.kill(collector, signal.SIGCONT)
        assert done.succeeded == 100_000
    ended_trace(trace)
    completeness = report(trace)["completeness"]
    assert completeness["started"] == 101_000
    assert completeness["finished"] + completeness["dropped"] == 101_000


def test_the_folder_of_the_trace_goes_away(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    trace = folder / "trace.rqs"
    with Server("httpd", wrap=run_prefix(trace)) as server:
        load.fixed(server.url + "/json", 1_000)
        trace.unlink()
        folder.rmdir()
        done = load.fixed(server.url + "/json", 1_000)
        assert done.succeeded == 1_000
        server.stop()


def test_the_disk_is_full(tmp_path):
    with (
        small_disk(tmp_path / "disk", "64k") as disk,
        Server("httpd", wrap=run_prefix(disk / "trace.rqs")) as server,
    ):
        done = load.fixed(server.url + "/json", 60_000, log=False)
        time.sleep(1.5)
        done = load.fixed(server.url + "/json", 60_000, log=False)
        assert done.succeeded == 60_000
        server.stop()
        assert "space" in server.output


def test_processes_are_gone():
    """No test of this file leaves a collector behind."""

    def gone():
        mine = descendants(os.getpid())
        return not any("collect" in command_line(pid) for pid in mine)

    wait_until(gone, 10, "the collectors to end")
