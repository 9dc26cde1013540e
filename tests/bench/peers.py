#!/usr/bin/env python3
"""`make bench-peers`: reqscope, the tools that a user would pick instead, and nothing, on the same servers in the same turns.

    peers.py [--servers gin,express] [--peers memray,ddtrace-run] [--rounds N] [--turns N] [--minutes M]
    peers.py --readme README.md      puts the tables of the last run between README's markers, and measures nothing

In a round each server is started once under each tool (others.py), warmed up, and all of them are loaded in turn, many times and
each time for a tenth of a second; those with something that never rests come last, beside nothing and reqscope. CPU a request is
that of the server's processes, against that of the server under nothing in the same turn. What a tool has outside of them (py-spy,
collectors, sinks) is counted apart. A tool that isn't there, or doesn't work here, is in the table with its reason. Writes
build/bench/peers.{md,json}.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

import contenders
import others
import peers_tables
import sink
import toggled
from markers import NoPlace, put_between
from others import BASE, FULL, Tool
from sides import OUT, Side, collectors_of

import load
import procfs
from serve import START_DEADLINE, free_port, wait_until

SERVERS = ("gin", "fastapi-uvloop", "flask-gthread", "express")
PATH = "/users/7"
CLIENTS = 16
LOAD_SECONDS = 0.1
MOST_REQUESTS = 4_000  # of a load
WARM_UP_SECONDS = {"express": 1.5}  # Node compiles for a while
WARM_UP = 0.6
STARTS_AT_ONCE = 3
ANSWER_SECONDS = 30  # a load that takes longer has failed
BESIDE_SECONDS = 2.0  # until what is started beside a server is at work
END_SECONDS = 8.0
SENT_SECONDS, IDLE_SECONDS = 6.0, 2.0  # OpenTelemetry sends what it has every five seconds
GO_SLICES = 60
PEERS_ROUNDS = 3
FAILURES = 2  # a tool that has failed as often isn't tried again
LEAN_SHARE = 0.4  # of a round's time, without the peers


@dataclasses.dataclass(frozen=True)
class Taken:
    """Seconds: of the clock, and of CPU, by a server and by what its tool has beside it."""

    seconds: float = 0.0
    server: float = 0.0
    beside: float = 0.0

    def since(self, before: "Taken") -> "Taken":
        return Taken(self.seconds - before.seconds, self.server - before.server, self.beside - before.beside)

    @property
    def server_share(self) -> float:
        return self.server / self.seconds if self.seconds else 0.0

    @property
    def beside_share(self) -> float:
        return self.beside / self.seconds if self.seconds else 0.0


class Under(Side):
    """A server under one tool, with all that belongs to the tool."""

    def __init__(self, name: str, tool: Tool, folder: Path):
        folder.mkdir()
        self.folder = folder
        self.beside: list[subprocess.Popen] = []
        self.sink_port = own_port()
        self.each = 0  # requests of a load
        self.sent = 0
        self.before = Taken()
        self.tool = self.filled(tool, {"{sink}": f"http://127.0.0.1:{self.sink_port}"})
        super().__init__(tool.server or name, self.tool, folder / "file")
        self.server.port = own_port()

    @staticmethod
    def filled(tool: Tool, values: dict) -> Tool:
        def fill(word: str) -> str:
            for name, value in values.items():
                word = word.replace(name, value)
            return word

        env = tuple((key, fill(value)) for key, value in tool.env)
        return dataclasses.replace(tool, env=env, beside=tuple(map(fill, tool.beside)))

    def start(self):
        if self.tool.sink:
            self.run_beside([sys.executable, sink.__file__, self.sink_port, self.folder / "sent"])
            wait_until(lambda: procfs.listener_inode(self.sink_port), END_SECONDS, "the sink to listen")
        self.server.start()
        if self.tool.beside:
            words = self.filled(self.tool, {"{file}": str(self.trace), "{url}": self.server.url}).beside
            started = self.run_beside(words)
            try:
                started.wait(BESIDE_SECONDS)
            except subprocess.TimeoutExpired:
                return
            raise RuntimeError(last_line((self.folder / "beside").read_text(errors="replace")))

    def run_beside(self, words) -> subprocess.Popen:
        with open(self.folder / "beside", "ab") as said:
            self.beside.append(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=said, stderr=said))
        return self.beside[-1]

    def helpers(self) -> list[int]:
        """The tool's processes that aren't the server's."""
        served = set(self.server.pids())
        found = [pid for pid in procfs.descendants(self.server.process.pid) if pid not in served]
        for one in self.beside:
            found += procfs.descendants(one.pid)
        return list(dict.fromkeys(found + self.collector))

    def send(self, requests: int, seconds=ANSWER_SECONDS) -> load.Fixed:
        done = load.fixed(self.server.url + PATH, requests, CLIENTS, log=False, seconds=seconds)
        self.sent += requests
        if done.succeeded != requests:
            raise RuntimeError(f"{done.succeeded} of {requests} requests succeeded")
        return done

    def prepare(self, seconds: float):
        """Warms up, and finds out how many requests take a tenth of a second."""
        requests = CLIENTS
        self.send(requests, START_DEADLINE)  # a worker may still import what it serves
        deadline = time.monotonic() + seconds
        while True:
            done = self.send(requests)
            rate = requests / max(done.seconds, 1e-3)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            requests = whole(min(rate * min(left, 0.3), requests * 4))
        self.each = whole(min(rate * LOAD_SECONDS, MOST_REQUESTS))
        self.collector = collectors_of(self.trace)
        self.before = self.taken()

    def taken(self) -> Taken:
        return Taken(time.monotonic(), self.server.cpu_seconds(), procfs.cpu_seconds(self.helpers()))

    def measure_once(self, turn: int):
        helpers = self.helpers()
        cpu, beside = self.server.cpu_seconds(), procfs.cpu_seconds(helpers)
        done = self.send(self.each)
        self.loads.append({
            "turn": turn,
            "requests": self.each,
            "cpu_us": (self.server.cpu_seconds() - cpu) / self.each * 1e6,
            "beside_us": (procfs.cpu_seconds(helpers) - beside) / self.each * 1e6,
            "per_second": self.each / done.seconds,
        })  # fmt: skip
        self.requests += self.each

    def result(self, idle: Taken) -> dict:
        """What comes between the loads counts too, batches of spans for instance; not what is done without any request."""
        since = self.taken().since(self.before)
        in_loads = sum(one["cpu_us"] * one["requests"] for one in self.loads) / 1e6
        resting = since.seconds - sum(one["requests"] / one["per_second"] for one in self.loads)
        later = since.server - in_loads - idle.server_share * resting
        beside = (since.beside - idle.beside_share * since.seconds) / self.requests * 1e6
        if self.tool.restless:
            beside = mean(one["beside_us"] for one in self.loads)
        return {"loads": self.loads, "later_us": later / self.requests * 1e6, "beside_us": beside, **self.server.memory()}

    def files(self) -> int:
        """Bytes written into files so far."""
        return sum(path.stat().st_size for path in self.folder.glob("file*") if path.suffix != ".program")

    def finish(self) -> dict:
        """Ends all of it; what was written, and of how many requests the tool tells."""
        try:
            os.kill(self.server.pid, signal.SIGTERM)
            self.server.wait(self.tool.grace)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            self.server.kill()
        self.end_beside()
        deadline = time.monotonic() + END_SECONDS
        while any(map(procfs.alive, self.collector)) and time.monotonic() < deadline:
            time.sleep(0.02)
        kept = sink.received(self.folder / "sent").bytes if self.tool.sink else 0
        recorded = self.tool.count(self.folder) if self.tool.count else None
        if recorded == 0:
            raise RuntimeError(f"it recorded none of {self.sent} requests")
        return {"sent": self.sent, "written": self.files() + kept, "recorded": recorded}

    def end_beside(self):
        """The sink last: what is in flight gets there."""
        for one in reversed(self.beside):
            one.send_signal(signal.SIGINT)
            try:
                one.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()

    def close(self):
        self.end_beside()
        if self.server.process:
            self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def whole(requests: float) -> int:
    """Each client as many."""
    return max(int(requests / CLIENTS), 2) * CLIENTS


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def reason(side: Under, error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer, or no end, within {error.timeout:.0f} s"
    said = side.server.last_words
    return last_line(said) if said.strip() else f"{type(error).__name__}: {last_line(str(error))}"


def own_port() -> int:
    """One that no other server of this run has been given: most of them will listen only later."""
    while (port := free_port()) in own_port.given:
        pass
    own_port.given.add(port)
    return port


own_port.given = set()


class Servers:
    """One server under all its tools, for a round; a tool that fails is left out of it."""

    def __init__(self, name: str, tools: dict[str, Tool], failures: dict[str, list], idle: dict[str, Taken], folder: Path):
        self.name = name
        self.failures = failures
        self.idle = idle  # of the first round, for all of them
        self.sides = {label: Under(name, tool, folder / str(at)) for at, (label, tool) in enumerate(tools.items())}

    def fail(self, label: str, error: Exception):
        side = self.sides.pop(label)
        self.failures.setdefault(label, []).append(reason(side, error))
        print(f"peers: {self.name}, {label}: {self.failures[label][-1]}", file=sys.stderr)
        side.close()

    def attempt(self, label: str, what, *words):
        try:
            return what(*words)
        except (OSError, RuntimeError, ValueError, TimeoutError, subprocess.SubprocessError) as error:
            self.fail(label, error)
            return None

    def all_at_once(self, what, labels: list[str]) -> dict:
        """what(side) of each, a few at a time; label -> its result."""
        with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
            waiting = {label: pool.submit(what, self.sides[label]) for label in labels}
            return {label: self.attempt(label, one.result) for label, one in waiting.items()}

    def begin(self, labels: list[str], warm_up: float):
        self.all_at_once(Under.start, labels)
        for label in self.there(labels):
            self.attempt(label, self.sides[label].prepare, warm_up)

    def there(self, labels: list[str]) -> list[str]:
        return [label for label in labels if label in self.sides]

    def take_turns(self, labels: list[str], first: int, turns: int):
        """As in bench.py: each turn begins with another side, and every other goes backwards."""
        for turn in range(first, first + turns):
            at = turn % len(labels)
            order = labels[at:] + labels[:at]
            for label in self.there(order if turn % 2 else order[::-1]):
                self.attempt(label, self.sides[label].measure_once, turn)

    def round(self, number: int, turns: int) -> dict:
        """label -> result."""
        quiet = [label for label, side in self.sides.items() if not side.tool.restless]
        restless = [label for label in self.sides if label not in quiet]
        warm_up = WARM_UP_SECONDS.get(self.name, WARM_UP)
        self.begin(quiet, warm_up)
        if not self.idle:
            self.watch_idle(self.there(quiet))
        first = number * turns * 2
        self.take_turns(quiet, first, turns)
        if restless:
            self.begin(restless, warm_up)
            self.take_turns([label for label in quiet if label in (BASE, FULL)] + restless, first + turns, turns)
        results = {label: self.attempt(label, side.result, self.idle.get(label, Taken())) for label, side in list(self.sides.items())}
        ended = self.all_at_once(Under.finish, list(self.sides))
        return {label: results[label] | ended[label] for label in self.sides}

    def watch_idle(self, labels: list[str]):
        """What each does when nothing is asked: after the warm-up's last batches have been sent."""
        time.sleep(SENT_SECONDS)
        before = {label: self.sides[label].taken() for label in labels}
        time.sleep(IDLE_SECONDS)
        for label in labels:
            side = self.sides[label]
            side.before = side.taken()
            self.idle[label] = side.before.since(before[label])

    def close(self):
        for side in self.sides.values():
            side.close()


def one_round(name: str, server: dict, folder: Path, number: int, turns: int, lean: bool) -> dict:
    """lean: without the peers."""
    folder.mkdir()
    tools = {
        label: tool for label, tool in server["tools"].items()
        if (label == BASE or len(server["failures"].get(label, [])) < FAILURES) and (not lean or label in others.OURS)
    }  # fmt: skip
    servers = Servers(name, tools, server["failures"], server["idle"], folder)
    try:
        return servers.round(number, turns)
    finally:
        servers.close()
        shutil.rmtree(folder, ignore_errors=True)


def written_at_start(name: str, server: dict, folder: Path) -> dict:
    """label -> what is written for next to no requests, of tools that write much then."""
    folder.mkdir()
    tools = {label: tool for label, tool in server["tools"].items() if tool.writes_start}
    servers = Servers(name, tools, server["failures"], {}, folder)
    try:
        servers.begin(list(tools), 0)
        return {label: done for label, done in servers.all_at_once(Under.finish, list(servers.sides)).items() if done}
    finally:
        servers.close()
        shutil.rmtree(folder, ignore_errors=True)


def chosen_tools(name: str, wanted: set[str]) -> tuple[dict, dict]:
    """Those to be measured, and why others aren't."""
    tools = {label: tool for label, tool in others.tools_for(name).items() if not wanted or label in wanted | {BASE}}
    missing = {label: why for label, tool in tools.items() if (why := tool.missing())}
    return {label: tool for label, tool in tools.items() if label not in missing}, missing


def safely(name: str, server: dict, what, *words):
    """What goes wrong with one server leaves the others' figures."""
    try:
        return what(name, server, *words)
    except Exception as error:
        print(f"peers: {name}: {type(error).__name__}: {error}", file=sys.stderr)
        server["failures"].setdefault(BASE, []).append(f"{type(error).__name__}: {last_line(str(error))}")
        return None


def measure(names: list[str], wanted: set[str], rounds: int, turns: int, deadline: float, folder: Path) -> dict:
    """A round of each server, again and again: what the machine does meanwhile, it does to all of them."""
    servers = {}
    for name in names:
        tools, missing = chosen_tools(name, wanted)
        servers[name] = {"tools": tools, "missing": missing, "failures": {}, "idle": {}, "rounds": []}
        servers[name]["start"] = safely(name, servers[name], written_at_start, folder / name) or {}
    took: dict[str, float] = {}
    for number in range(rounds):
        for name, server in servers.items():
            left = deadline - time.monotonic()
            # What the goals are judged by gets all its rounds; of peers, whose costs are greater, three are enough where time is short.
            lean = number >= PEERS_ROUNDS and left < sum(took.values()) * (rounds - number)
            if took.get(name, 0) * (LEAN_SHARE if lean else 1) > left:
                print(f"peers: no time for round {number + 1} of {name}", file=sys.stderr)
                continue
            print(f"peers: {name}, round {number + 1} of {rounds}{', without peers' if lean else ''}", file=sys.stderr)
            began = time.monotonic()
            done = safely(name, server, one_round, folder / f"{name}-{number}", number, turns, lean)
            if done and BASE in done:
                server["rounds"].append(done)
            if not lean:
                took[name] = time.monotonic() - began
    return {
        name: {
            "tells": {label: tool.tells for label, tool in server["tools"].items()},
            "at_end": [label for label, tool in server["tools"].items() if tool.at_end],
            "defers": [label for label, tool in server["tools"].items() if tool.sink],
            "start": server["start"],
            "failed": server["missing"] | {label: said[-1] for label, said in server["failures"].items()},
            "rounds": server["rounds"],
        }
        for name, server in servers.items()
    }  # fmt: skip


def measure_toggled(slices: int, folder: Path) -> dict | None:
    """Gin's hooks switched on and off in one process; none where that can't be done here."""
    print(f"peers: gin, {slices} slices of each layer", file=sys.stderr)
    try:
        return toggled.measure("gin", slices, folder)
    except Exception as error:
        print(f"peers: no slices: {type(error).__name__}: {last_line(str(error))}", file=sys.stderr)
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", default=",".join(SERVERS), help=f"of {', '.join(others.KINDS)}; default {','.join(SERVERS)}")
    parser.add_argument("--peers", default="", help="these rows alone, such as 'reqscope: everything,memray'")
    parser.add_argument("--rounds", type=int, default=6, help="fresh servers this many times (default 6)")
    parser.add_argument("--turns", type=int, default=6, help="loads of each in a round (default 6)")
    parser.add_argument("--minutes", type=float, default=14, help="how long at most, about: then peers have fewer rounds, at least 3 (default 14)")
    parser.add_argument("--slices", type=int, default=GO_SLICES, help=f"of each of Gin's layers, 0 for none (default {GO_SLICES})")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="only put the last run's tables into FILE")
    options = parser.parse_args()
    if options.readme:
        tables = peers_tables.markdown(json.loads((OUT / "peers.json").read_text()))
        try:
            put_between(options.readme, peers_tables.BEGIN, peers_tables.END, tables)
        except NoPlace as error:
            raise SystemExit(f"peers.py: {error}") from None
        return 0

    began = time.monotonic()
    names = [name for name in options.servers.split(",") if name]
    if unknown := set(names) - set(others.KINDS):
        parser.error(f"no server {', '.join(sorted(unknown))}: {', '.join(others.KINDS)}")
    folder = Path(tempfile.mkdtemp(prefix="reqscope-peers-"))
    try:
        slices = measure_toggled(options.slices, folder) if options.slices and "gin" in names else None
        wanted = set(filter(None, options.peers.split(",")))
        servers = measure(names, wanted, options.rounds, options.turns, began + options.minutes * 60, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "machine": contenders.machine(), "versions": others.versions(), "seconds": time.monotonic() - began,
        "turns": options.turns, "toggled": slices, "servers": servers,
    }  # fmt: skip
    text = peers_tables.markdown(result)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "peers.json").write_text(json.dumps(result, indent=1))
    (OUT / "peers.md").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
