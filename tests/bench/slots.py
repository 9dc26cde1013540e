"""One recorded run of a server through several loads, each in a slot of time of its own.

The slots are the same in all runs of a question, counted from a run's first request. So `reqscope compare --from --to` has one load
of all runs by itself, and one start of a server does for all. Before the slots each load is tried, to know how many
requests fit: then exact numbers are sent, and what is recorded in a slot has to be what was answered in it.

What the server asks (its /db) can be recorded as well, in a trace of its own: that server's time is the database's.
"""

import json
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from runs import REQSCOPE, SETTLE, Tally, allow_many_files, report, statuses, wait_until_idle, warm_up

import load
from serve import Server

RAMP = 0.1  # seconds in which connections are opened, where there are several workers to share them


@dataclass(frozen=True)
class Load:
    name: str
    paths: tuple  # asked in turn by each connection
    connections: int


@dataclass(frozen=True)
class Slots:
    """Seconds."""

    seconds: float = 1.0  # that a load takes, about
    slack: float = 0.5  # that it may take longer
    warm_up: float = 0.35  # of each load
    margin: float = 0.2  # before a load, in which nothing arrives

    def start(self, loads: int) -> float:
        """Of the first load, after the run's first request."""
        return loads * (self.warm_up + 0.2) + 0.5

    def window(self, at: int, loads: int) -> tuple[float, float]:
        """From and to, of the at-th load."""
        begin = self.start(loads) - self.margin
        return begin + at * self.each, begin + (at + 1) * self.each

    @property
    def each(self) -> float:
        return self.seconds + self.slack + self.margin

    def run(self, loads: int) -> float:
        """A whole run, with the server's start and end."""
        return self.start(loads) + loads * self.each + 2.5


@dataclass(frozen=True)
class Contender:
    """A server of tests/servers, and how it is started."""

    name: str
    server: str
    workers: int | None = None
    env: tuple = ()
    cores: int = 1  # that it can use
    threads: int | None = None  # where requests wait for one of so many


@dataclass(frozen=True)
class Loaded:
    """What the load generator says of one load."""

    requests: int
    seconds: float
    latency_mean: float  # seconds


@dataclass
class SlottedRun:
    trace: Path
    upstream: Path | None
    loaded: dict  # load's name -> Loaded
    answered: int  # responses of the whole run by the load generator's count, warm-up included
    recorded: int = 0
    differences: list = field(default_factory=list)  # between what is recorded and what was answered, in words


def recording(file: Path) -> list:
    file.unlink(missing_ok=True)
    return [REQSCOPE, "run", "-o", file, "--"]


def run_slots(of: Contender, loads: list[Load], slots: Slots, trace: Path, upstream: Path | None = None) -> SlottedRun:
    """upstream: the trace of what the server asks. Raises what Server raises, and TimeoutError if a load doesn't fit its slot."""
    allow_many_files()
    asked = Server("httpd", wrap=recording(upstream)) if upstream else None
    with Server(of.server, workers=of.workers, wrap=recording(trace), env=dict(of.env), upstream=asked) as server:
        wait_until_idle(server)
        ramp = RAMP if server.workers > 1 else 0.0
        senders = {one: Tally(server, one.paths, one.connections, ramp=ramp) for one in loads}
        first = time.monotonic()
        rates = {one: warm_up(sender, slots.warm_up) for one, sender in senders.items()}
        loaded = {}
        for at, one in enumerate(loads):
            begin = first + slots.start(len(loads)) + at * slots.each
            late = time.monotonic() + slots.margin - begin
            if late > 0:
                raise TimeoutError(f"what came before {one.name} took {late:.1f} s longer than there was time for it")
            time.sleep(begin - time.monotonic())
            done = senders[one].send(requests_of(one, rates[one] * slots.seconds))
            loaded[one.name] = Loaded(done.answered, done.seconds, done.latency_mean)
        time.sleep(SETTLE)
        server.stop()
        if asked:
            asked.stop()
    answered: Counter = sum((sender.answered for sender in senders.values()), Counter())
    run = SlottedRun(trace, upstream, loaded, answered.total())
    check(run, loads, slots, sum(sender.sent for sender in senders.values()), answered)
    return run


def requests_of(one: Load, fit: float) -> int:
    """As many of each path on each connection, so that all end together; two at least."""
    step = one.connections * len(one.paths)
    return min(max(round(fit / step), 2), load.MAX_REQUESTS // step) * step


def check(run: SlottedRun, loads: list[Load], slots: Slots, sent: int, answered: Counter):
    """Every request is recorded once, and in its load's slot."""
    whole = report(run.trace)
    run.recorded = whole["requests"]
    if run.answered != sent:
        run.differences.append(f"{sent} requests were sent, and {run.answered} answered")
    if statuses(whole, by_class=True) != dict(answered):
        run.differences.append(f"{dict(answered)} by the load generator's count, {statuses(whole, by_class=True)} recorded")
    if bad := sum(count for status, count in answered.items() if status != "2xx"):
        run.differences.append(f"{bad} answers were failures")
    for file in filter(None, (run.trace, run.upstream)):
        for at, one in enumerate(loads):
            begin, end = slots.window(at, len(loads))
            seen = report(file, "--from", begin, "--to", end)["requests"]
            if seen != run.loaded[one.name].requests:
                run.differences.append(f"{one.name}: {run.loaded[one.name].requests} by the load generator's count, {seen} in {file.name}")


def compare(sides: dict, at: int, loads: int, slots: Slots, out: Path) -> dict:
    """What `reqscope compare` says of one load of all runs; sides: name -> traces, the base first. In out, as text, too."""
    words = [f"{name}={','.join(str(trace) for trace in traces)}" for name, traces in sides.items()]
    begin, end = slots.window(at, loads)
    for form, suffix in (("text", "txt"), ("json", "json")):
        command = [REQSCOPE, "compare", "--from", begin, "--to", end, "--format", form, "-f", "-o", out.with_suffix(f".{suffix}"), *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"reqscope compare: {done.stderr.strip() or done.returncode}")
    return json.loads(out.with_suffix(".json").read_text())
