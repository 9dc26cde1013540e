"""One run of a server under a load, recorded or not: what the load generator saw, what /proc tells, and what the trace tells.

The load generator sends exact numbers of requests (h2load, each connection as many as the others), and ends before the server is
stopped. So nothing is in flight at the end, and what is recorded has to be what was answered, to the last request.

    run_once("gin", path="/json", connections=64, seconds=3, trace=folder / "gin.rqs")

A run begins with a warm-up, whose requests are counted like all others. Then nothing happens until the load's own time has come,
a fixed number of seconds (Timing.start) after the first request: `--skip` with one number, Timing.skip, leaves the warm-up out of every
trace.
"""

import json
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sides import BUILD

import load
import procfs
from serve import Server

REQSCOPE = BUILD / "reqscope"
SETTLE = 0.2  # seconds between the last answer and the server's end
RAMP = 0.2  # seconds in which connections are opened: of those that come at once one worker takes most
WARM_UP_CONNECTIONS = 64  # at most: a slow server takes long to answer each of a thousand
WARM_UP_LEAST = 16  # requests, that tell about a rate
IDLE_STEP, IDLE_CPU, IDLE_DEADLINE = 0.15, 0.002, 15.0  # seconds: idle takes less CPU than that in a step


@dataclass(frozen=True)
class Timing:
    """Seconds. A warm-up takes as long as it says or a bit less, so that the load begins on time."""

    warm_up: float = 0.9
    start: float = 1.5  # of the load, after the run's first request
    margin: float = 0.25  # before the load, in which nothing arrives

    @property
    def skip(self) -> float:
        return self.start - self.margin


@dataclass(frozen=True)
class Counts:
    """Requests of the whole run, warm-up included: answered as the load generator counts, and as recorded."""

    sent: int
    answered: dict  # status -> count
    recorded: dict | None = None  # the same of the trace; None where there is none
    measured: int = 0  # requests of the load without its warm-up
    measured_recorded: int | None = None
    lost: dict = field(default_factory=dict)  # of the trace: started, but not finished

    @property
    def differences(self) -> list[str]:
        """What is wrong with them, in words; nothing where all is equal."""
        found = []
        total = sum(self.answered.values())
        if total != self.sent:
            found.append(f"{self.sent} requests were sent, and {total} answered")
        if self.recorded is None:
            return found
        for status in sorted(set(self.answered) | set(self.recorded)):
            of_load, of_trace = self.answered.get(status, 0), self.recorded.get(status, 0)
            if of_load != of_trace:
                found.append(f"status {status}: {of_load} by the load generator's count, {of_trace} recorded")
        if self.measured != self.measured_recorded:
            found.append(f"without the warm-up {self.measured} by the load generator's count, {self.measured_recorded} recorded")
        found += [f"{count} requests {what}" for what, count in self.lost.items() if count]
        return found


@dataclass
class Run:
    """Times in seconds, memory in bytes, of the load without its warm-up."""

    name: str
    workers: int
    connections: int
    path: str
    requests: int
    per_second: float
    latency_mean: float
    latency_p50: float | None  # of the load generator's log, as the next
    latency_p99: float | None
    cpu_per_request: float  # of the server's processes, by /proc
    collector_per_request: float  # of reqscope's own processes
    rss: int  # of the server's processes, at the end of the load
    rss_peak: int  # the sum of their peaks, start and warm-up included
    processes: int
    counts: Counts
    trace: str | None = None
    report: dict | None = field(default=None, repr=False)  # `reqscope report` of the trace, without the warm-up

    @property
    def recorded(self) -> bool:
        return self.trace is not None

    def as_json(self) -> dict:
        return asdict(self) | {"differences": self.counts.differences}


def allow_many_files():
    """Servers and load generator inherit it: as many descriptors as an ordinary user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait_until_idle(server: Server):
    """A worker that listens may still import its application for a second; no request needs to wait for that."""
    previous = -1.0
    deadline = time.monotonic() + IDLE_DEADLINE
    while (now := server.cpu_seconds()) - previous > IDLE_CPU and time.monotonic() < deadline:
        previous = now
        time.sleep(IDLE_STEP)


class Tally:
    """What the load generator counts, from the first request on."""

    def __init__(self, server: Server, paths: tuple, connections: int, log=False, ramp=0.0):
        """paths: asked in turn by each connection. ramp: seconds in which connections are opened."""
        self.server, self.urls = server, [server.url + path for path in paths]
        self.connections, self.log, self.ramp = connections, log, ramp
        self.sent = 0
        self.answered: Counter = Counter()

    def send(self, requests: int, connections: int | None = None, ramp: float | None = None) -> load.Fixed:
        ramp = self.ramp if ramp is None else ramp
        done = load.fixed(self.urls, requests, connections or self.connections, log=self.log, ramp=ramp)
        self.sent += requests
        if not done.answered:
            last_words = self.server.output.strip().rpartition("\n")[2]
            raise RuntimeError(f"{self.server.name} answers nothing; the last it said: {last_words or 'nothing'}")
        self.answered.update({str(status): n for status, n in (done.statuses if self.log else done.classes).items()})
        return done


def warm_up(tally: Tally, seconds: float) -> float:
    """Loads the server until then, ever longer as it is seen how fast it is; returns its requests a second at last."""
    deadline = time.monotonic() + seconds
    connections = requests = min(tally.connections, WARM_UP_CONNECTIONS)
    rate = 0.0
    while requests >= min(connections, WARM_UP_LEAST):
        rate = requests / tally.send(requests, connections).seconds
        left = deadline - time.monotonic()
        # Never more than eight times the last one: the first are slow, so that their rate says little.
        requests = min(int(rate * left * 0.9), 8 * requests)
    return rate


def wait_for_load(first: float, timing: Timing):
    """A load that begins late would have its warm-up in its figures."""
    late = time.monotonic() - first - timing.skip
    if late > 0:
        raise TimeoutError(f"the warm-up took {late:.1f} s longer than there was time for it")
    time.sleep(first + timing.start - time.monotonic())


def report(trace: Path, *words) -> dict:
    command = [str(word) for word in (REQSCOPE, "report", "--format", "json", *words, trace)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)["traces"][0]


def statuses(of: dict, by_class=False) -> dict:
    """status -> requests, of all routes; where the load generator keeps no log it knows classes alone ("2xx")."""
    total: Counter = Counter()
    for route in of["routes"]:
        for status, count in route["status"].items():
            total[status[0] + "xx" if by_class else status] += count
    return dict(total)


def own_processes(server: Server) -> list[int]:
    """The launcher and the collector."""
    return [pid for pid in procfs.descendants(server.process.pid) if Path(procfs.executable(pid)).name == "reqscope"]


def rss_peak(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return total


def quantile(durations: list[int], share: float) -> float | None:
    """Of sorted µs, in seconds: the ceil(qn)-th smallest, as reqscope has it."""
    return durations[min(-int(-share * len(durations) // 1), len(durations)) - 1] / 1e6 if durations else None


def run_once(name: str, *, path="/users/7", connections=64, workers=None, requests: int | None = None, seconds: float | None = None,
             timing=Timing(), trace: Path | None = None, options=(), env=None, upstream=False, log=True) -> Run:  # fmt: skip
    """A fresh server; recorded into trace if that is given, by `reqscope run` with these options.

    requests: exactly so many; or so many as take about so many seconds, by the warm-up's rate. Without log the statuses are only counted by
    class, and there are no quantiles of the load generator's. Raises what Server raises if it doesn't start, and RuntimeError or
    TimeoutError if the load can't be done.
    """
    allow_many_files()
    wrap = [REQSCOPE, "run", "-o", trace, *options, "--"] if trace else []
    with Server(name, workers=workers, wrap=wrap, env=env, upstream=upstream) as server:
        wait_until_idle(server)
        tally = Tally(server, (path,), connections, log)
        first = time.monotonic()
        rate = warm_up(tally, timing.warm_up)
        wait_for_load(first, timing)
        count = requests or max(int(rate * (seconds or 1)), connections)

        pids, own = server.pids(), own_processes(server)
        cpu, own_cpu = procfs.cpu_seconds(pids), procfs.cpu_seconds(own)
        done = tally.send(min(count, load.MAX_REQUESTS), ramp=RAMP)
        cpu, own_cpu = procfs.cpu_seconds(pids) - cpu, procfs.cpu_seconds(own) - own_cpu
        memory, peak = server.memory()["rss"], rss_peak(pids)
        time.sleep(SETTLE)
        server.stop()

    answered = max(done.answered, 1)
    durations = sorted(row.duration for row in done.rows if row.status > 0)
    run = Run(
        name=name, workers=server.workers, connections=connections, path=path, requests=done.answered,
        per_second=done.answered / done.seconds, latency_mean=done.latency_mean,
        latency_p50=quantile(durations, 0.5), latency_p99=quantile(durations, 0.99),
        cpu_per_request=cpu / answered, collector_per_request=own_cpu / answered,
        rss=memory, rss_peak=peak, processes=len(pids),
        counts=Counts(tally.sent, dict(tally.answered), measured=done.answered),
    )  # fmt: skip
    if trace:
        add_recorded(run, trace, timing, log)
    return run


def add_recorded(run: Run, trace: Path, timing: Timing, log: bool):
    whole, run.report = report(trace), report(trace, "--skip", timing.skip)
    completeness = whole["completeness"]
    lost = {what: completeness[what] for what in ("dropped", "unfinished", "given_up")}
    run.trace = str(trace)
    run.counts = Counts(run.counts.sent, run.counts.answered, statuses(whole, not log), run.requests, run.report["requests"], lost)


def complain(run: Run) -> bool:
    """Says loudly what is wrong with a run's counts; whether something is."""
    for difference in run.counts.differences:
        print(f"COUNTS DIFFER: {run.name}, {run.connections} connections, {run.trace or 'not recorded'}: {difference}", file=sys.stderr)
    return bool(run.counts.differences)
