"""What recording costs a Python server in instructions a request, layer by layer: valgrind counts them, exactly.

A load of N requests and one of 2 N, each with as many connections: what the second takes more is N requests, and nothing
else. That is done several times; how far the results are apart is the noise. One connection at a time: with more of them
it is a matter of chance how many requests a loop finds ready, and how often threads wait for each other. What a server
does in the kernel isn't counted.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean

from sides import LAYERS, layers_of, server_under

import load
import procfs

SKIPPED = {"control"}  # there is none without a clock
CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--trace-children=yes", "--trace-children-skip=*/reqscope")
WARM_UP, REQUESTS, PAIRS = 200, 100, 3
CLIENTS = 1
DUMP_SECONDS = 60
START_SECONDS = 300


def control(pid: int, *words: str):
    """callgrind_control, which exits with 0 whatever happens."""
    subprocess.run(["callgrind_control", *words, str(pid)], capture_output=True, check=True, timeout=DUMP_SECONDS)


class Counter:
    """The instructions of a server's process that runs under callgrind."""

    def __init__(self, pid: int, folder: Path):
        self.pid = pid
        self.folder = folder
        self.dumps = 0
        control(pid, "--instr=on")

    def take(self) -> int:
        """How many there were since the last time."""
        control(self.pid, "--dump")
        self.dumps += 1
        path = self.folder / f"callgrind.{self.pid}.{self.dumps}"
        deadline = time.monotonic() + DUMP_SECONDS
        while not (path.exists() and (totals := re.search(r"^totals: (\d+)", path.read_text(errors="replace"), re.M))):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {path}")
            time.sleep(0.05)
        return int(totals.group(1))


def worker_of(server) -> int:
    """The process that serves: the last one where a parent looks after it."""
    return server.pids()[-1]


def count(name: str, layer: str, path: str, folder: Path, requests=REQUESTS, pairs=PAIRS) -> list[float]:
    """Instructions a request, as often as there are pairs."""
    folder.mkdir()
    wrap = (*CALLGRIND, f"--callgrind-out-file={folder}/callgrind.%p")
    with server_under(name, layer, folder / "file", wrap=wrap, seconds=START_SECONDS) as server:

        def send(n: int):
            done = load.fixed(server.url + path, n, CLIENTS, log=False)
            if done.succeeded != n:
                raise RuntimeError(f"{name}, {layer}: {done.succeeded} of {n} requests succeeded")

        send(WARM_UP)
        counter = Counter(worker_of(server), folder)
        send(requests)
        counter.take()
        taken = []
        for _ in range(pairs):
            send(requests)
            once = counter.take()
            send(2 * requests)
            taken.append((counter.take() - once) / requests)
        return taken


def measure(name: str, path: str, folder: Path) -> dict:
    """layer -> instructions a request, or why there are none."""
    result = {}
    for layer in layers_of(name):
        if layer in SKIPPED:
            continue
        print(f"bench: {name}, {layer}: instructions", file=sys.stderr)
        try:
            taken = count(name, layer, path, folder / f"{name}-{list(LAYERS).index(layer)}-counted")
            result[layer] = {"each": taken, "mean": mean(taken)}
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            result[layer] = {"failed": str(error).splitlines()[0]}
    return result


def table(servers: dict) -> str:
    if not servers:
        return ""
    lines = ["| instructions a request | " + " | ".join(servers) + " |", "|---|" + "---|" * len(servers)]
    layers = [layer for layer in LAYERS if any(layer in server for server in servers.values())]
    for layer in layers:
        lines.append(f"| {layer} | " + " | ".join(cell(server, layer) for server in servers.values()) + " |")
    return "\n".join(lines)


def cell(server: dict, layer: str) -> str:
    one, base = server.get(layer), server["none"]["mean"]
    if not one:
        return ""
    if "failed" in one:
        return one["failed"]
    if layer == "none":
        spread = (max(one["each"]) - min(one["each"])) / base
        return f"{base / 1000:,.1f} k (± {spread / 2:.2%})".replace("%", " %")
    return f"{one['mean'] / base - 1:+.2%}".replace("%", " %")
