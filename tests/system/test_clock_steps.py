"""The wall clock is stepped while requests wait: what they waited is told rightly, or not at all.

The clock of a machine that others use isn't stepped for a test: clock_shim.c moves what the server and the collector
are told of it, and the kernel's stamps with it.
"""

import shutil
import struct
import subprocess
import time
from contextlib import contextmanager

import raw_client
from raw_client import Connection
from recording import LIBRARY, REQSCOPE, ROOT, SETTLE, collector_of, ended_trace
from serve import Server
from test_arrival import Stopped

# After one backwards by less than ten minutes all is open for as long as it was wide: the last.
STEPS = (0.02, 0.5, 300, 3600, -3600, -86400 * 365, -0.2, -5)
PAUSE = 0.3  # longer than the collector takes to look again
AHEAD = 0.05  # seconds from when a step is written down until it happens


class Clock:
    """What clock_shim.c reads, and an agent beside a collector that both go by it."""

    def __init__(self, folder):
        self.steps, self.library, shim = folder / "steps", folder / "libreqscope.so", folder / "shim.so"
        self.steps.write_bytes(bytes(4096))
        self.written = 0
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", shim,
                        ROOT / "tests/system/clock_shim.c"], check=True)  # fmt: skip
        shutil.copy(LIBRARY, self.library)
        collector = folder / "reqscope"
        collector.write_text(f'#!/bin/sh\nLD_PRELOAD={shim} CLOCK_SHIM={self.steps} exec {REQSCOPE} "$@"\n')
        collector.chmod(0o755)
        self.env = {"LD_PRELOAD": f"{self.library}:{shim}", "CLOCK_SHIM": str(self.steps)}

    @contextmanager
    def recorded(self, trace):
        with Server("httpd", env={**self.env, "REQSCOPE_OUT": str(trace)}) as server:
            # A connection that was made before the agent was ready has no stamps.
            collector_of(trace)
            time.sleep(SETTLE)
            yield server

    def step(self, seconds: float):
        """Returns when it has happened."""
        at = time.time_ns() + int(AHEAD * 1e9)
        with open(self.steps, "r+b") as file:
            # The shim reads no step whose time isn't there yet.
            file.seek(self.written + 8)
            file.write(struct.pack("<q", int(seconds * 1e9)))
            file.flush()
            file.seek(self.written)
            file.write(struct.pack("<q", at))
        self.written += 16
        time.sleep(AHEAD + 0.001)


def path(number: int) -> str:
    """Without digits, which templates leave out."""
    return "/" + "".join("abcdefghij"[int(digit)] for digit in str(number))


class Client(Connection):
    """Asks for another path each time, so that its exchange can be found in the trace."""

    def next_request(self) -> bytes:
        return raw_client.get(path(len(self.log)))

    def ask(self):
        self.exchange(self.next_request())


def wait_across(step, client, server) -> int:
    """A request that arrives before the step and is read after it; how long it surely waited (ns)."""
    with Stopped(server):
        start = raw_client.now()
        client.send(client.next_request())
        sent = time.monotonic_ns()
        step()
        time.sleep(PAUSE)
        waited = time.monotonic_ns() - sent
    client.receive(start)
    return waited


def test_steps_while_requests_wait(tmp_path, trace):
    clock = Clock(tmp_path)
    waited = {}  # by number of the exchange
    steady = []  # numbers of exchanges long before a step, and long after
    with clock.recorded(trace) as server, Client(server.port) as client:
        for seconds in STEPS:
            steady.append(len(client.log))
            client.ask()
            time.sleep(PAUSE)
            number = len(client.log)
            waited[number] = wait_across(lambda: clock.step(seconds), client, server)
            for _ in range(10):
                client.ask()
                time.sleep(0.01)
            time.sleep(PAUSE)
        time.sleep(SETTLE)
        server.stop()
    queues = {request.route: request.queue for request in ended_trace(trace).requests}
    assert len(queues) == len(client.log) == 12 * len(STEPS)
    for number, exchange in enumerate(client.log):
        queue, spent = queues[path(number)], exchange.end.monotonic - exchange.start.monotonic
        assert queue is not None or number not in steady
        assert queue is None or waited.get(number, 0) * 0.999 <= queue <= spent
