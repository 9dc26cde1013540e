#!/usr/bin/env python3
"""`make bench`: what the agent costs a request, layer by layer, and what a trace costs to keep and to read.

    bench.py [--servers nginx,express] [--layers full,sites] [--rounds N] [--turns N] [--go gin,fiber] [--go-rounds N] [--counted flask-gthread]

A round starts one fresh server for every layer and loads them in turn, many times and each time briefly: a shared
machine's speed wanders by tens of percent within seconds, and neighbours in time see the same of it. Each load is compared
with that of the server without an agent in the same turn. Shown are the median of all those ratios, and in brackets
the lowest and highest median of a single round. CPU a request is the servers' own; `control` is no agent against no
agent: differences of its size are noise. Python servers also run under other tools that their users have. Instructions
are steadier: of Python servers valgrind counts them (instructions.py).

Hooks in Go programs are switched on and off in one running process (toggled.py): steadier still.

Prints a table for the README and writes it, with all rounds, to build/bench/bench.{md,json}.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import instructions
import toggled
from sides import BUILD, OUT, Side, layers_of

REQSCOPE = BUILD / "reqscope"
CLIENTS = 16
BASE = "none"


@dataclass(frozen=True)
class Work:
    path: str
    requests: int  # of one load: about a tenth of a second
    warm_up: int  # requests; Node compiles for a while, and the collector reads names and lines of what samples see first


WORK = {
    "nginx": Work("/users/7", 4_000, 20_000),
    "fastapi-uvloop": Work("/users/7", 500, 6_000),
    "express": Work("/users/7", 1_000, 10_000),
    "flask-gthread": Work("/users/7", 250, 4_000),
}
DEFAULT_SERVERS = "nginx,fastapi-uvloop,express"
DEFAULT_GO = "gin,fiber"
DEFAULT_COUNTED = "fastapi-uvloop,fastapi-asyncio,flask-gthread,django-gthread"
OPERATION_PAIRS = 8


def one_round(name: str, layers: list[str], number: int, turns: int, folder: Path) -> dict:
    """layer -> result."""
    work = WORK[name]
    with ExitStack() as stack:
        sides = {}
        for layer in layers:
            sides[layer] = stack.enter_context(Side(name, layer, folder / f"{name}-{layer}-{number}.rqs"))
            sides[layer].warm_up(work.warm_up, work.path, CLIENTS)
        for turn in range(turns):
            # Each turn begins with another side and every other goes backwards, so that no side is always first.
            start = (number + turn) % len(layers)
            order = layers[start:] + layers[:start]
            for layer in order if turn % 2 else reversed(order):
                sides[layer].measure(work.requests, work.path, CLIENTS)
        return {layer: side.result() for layer, side in sides.items()}


def changes(rounds: list[dict], layer: str, metric: str, against=BASE) -> dict:
    """The layer's metric against the other's of the same turn, less 1."""
    by_round = [
        [side[metric] / base[metric] - 1 for side, base in zip(one[layer]["loads"], one[against]["loads"])] for one in rounds
    ]
    medians = [median(one) for one in by_round]
    return {"median": median(sum(by_round, [])), "min": min(medians), "max": max(medians)}


def summarise(rounds: list[dict]) -> dict:
    """layer -> its figures."""

    def typical(layer, metric):
        return median(load[metric] for one in rounds for load in one[layer]["loads"])

    def added(layer, metric):
        return median(one[layer][metric] - one[BASE][metric] for one in rounds)

    return {
        layer: {
            "cpu_us": typical(layer, "cpu_us"),
            "cpu_change": changes(rounds, layer, "cpu_us"),
            "throughput_change": changes(rounds, layer, "per_second"),
            "rss_added": added(layer, "rss"),
            "pss_added": added(layer, "pss"),
            "collector_us": mean(load["collector_us"] for one in rounds for load in one[layer]["loads"]),
        }
        for layer in rounds[0]
    }


def sampling(rounds: list[dict], traces: list[Path]) -> dict | None:
    """What samples of allocations cost, against all else that there is: of a request, and each."""
    if "sites" not in rounds[0] or "full" not in rounds[0]:
        return None
    reports = [report("--sites", trace) for trace in traces]
    a_request = sum(one["sites"]["samples"] for one in reports) / sum(one["requests"] for one in reports)
    server = changes(rounds, "sites", "cpu_us", "full")
    collector_us = median(one["sites"]["collector_us"] - one["full"]["collector_us"] for one in rounds)
    cpu_us = median(load["cpu_us"] for one in rounds for load in one["full"]["loads"])
    return {
        "server": server,
        "collector_us": collector_us,
        "both": server["median"] + collector_us / cpu_us,
        "samples": a_request,
        "collector_us_a_sample": collector_us / a_request if a_request else None,
    }


def bytes_a_request(folder: Path) -> dict:
    """server -> what its whole trace holds for each request."""
    sizes: dict[str, list] = {}
    for trace in folder.glob("*-full-*.rqs"):
        sizes.setdefault(trace.name.partition("-full-")[0], []).append(trace.stat().st_size / report(trace)["requests"])
    return {name: median(values) for name, values in sizes.items()}


def report(*words) -> dict:
    command = [REQSCOPE, "report", "--format", "json", *words]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)["traces"][0]


def analyzer_speed(folder: Path, requests=10_000_000, times=5) -> dict:
    """Command -> requests/s, and its memory: one long trace is read, two are compared; the program's start included."""
    traces = [folder / f"long-{seed}.rqs" for seed in (1, 2)]
    for seed, trace in enumerate(traces, 1):
        subprocess.run([OUT / "gen_trace", trace, str(requests), str(seed)], check=True, timeout=300)
    speeds = {}
    for command, files in {"report": traces[:1], "compare": traces}.items():
        cpu, memory = [], []
        for _ in range(times):
            process = subprocess.Popen([REQSCOPE, command, *files], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            assert status == 0, (command, status)
            cpu.append(usage.ru_utime + usage.ru_stime)
            memory.append(usage.ru_maxrss * 1024)
        speeds[command] = {"per_cpu_second": requests * len(files) / median(cpu), "memory": max(memory)}
    return speeds


def percent(change: dict) -> str:
    return f"{change['median']:+.1%} ({change['min']:+.1%} .. {change['max']:+.1%})".replace("%", " %")


def table(servers: dict, sizes: dict) -> str:
    lines = [
        "| server | agent | CPU a request | change | throughput | memory added (RSS / PSS) | collector's CPU | trace |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, server in servers.items():
        for layer, row in server["summary"].items():
            cells = [name, layer, f"{row['cpu_us']:.1f} µs"]
            if layer != BASE:
                cells += [percent(row["cpu_change"]), percent(row["throughput_change"])]
                cells.append(f"{row['rss_added'] / 2**20:.1f} / {row['pss_added'] / 2**20:.1f} MiB")
            cells.append(f"{row['collector_us']:.2f} µs" if row["collector_us"] else "")
            cells.append(f"{sizes[name]:.1f} B a request" if layer == "full" and name in sizes else "")
            lines.append("| " + " | ".join(cells[:3] + [""] * (8 - len(cells)) + cells[3:]) + " |")
    return "\n".join(lines)


def sampling_table(servers: dict, go: dict) -> str:
    """The last column is the goal's: all that is spent for samples, of what the server takes with everything else on."""
    lines = [
        "| call sites | server's CPU | samples a request | collector, a request | collector, a sample | server and collector |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in ((name, server["sampling"]) for name, server in servers.items() if server["sampling"]):
        each = f"{one['collector_us_a_sample']:.0f} µs" if one["samples"] else ""
        cells = [percent(one["server"]), f"{one['samples']:.4f}", f"{one['collector_us']:+.2f} µs", each, f"{one['both']:+.1%}".replace("%", " %")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, result in go.items():
        one = result["sampling"]
        lines.append(f"| {name} | {toggled.cell(one['server'])} | | {toggled.cell(one['collector'])} | | {toggled.cell(one['both'])} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def go_tables(go: dict, operations: dict) -> list[str]:
    return [toggled.table(go), toggled.operations_table(operations) if operations else ""] if go else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="", help="these alone, such as none,full,sites")
    parser.add_argument("--servers", default=DEFAULT_SERVERS, help=f"of {', '.join(WORK)}; default {DEFAULT_SERVERS}")
    parser.add_argument("--rounds", type=int, default=6, help="fresh servers this many times (default 6)")
    parser.add_argument("--turns", type=int, default=16, help="loads of each side in a round (default 16)")
    parser.add_argument("--go", default=DEFAULT_GO, help=f"Go servers, '' for none; default {DEFAULT_GO}")
    parser.add_argument("--go-rounds", type=int, default=160, help="slices of each layer (default 160)")
    parser.add_argument("--counted", default=DEFAULT_COUNTED, help=f"by instructions, '' for none; default {DEFAULT_COUNTED}")
    options = parser.parse_args()

    OUT.mkdir(parents=True, exist_ok=True)
    beside = OUT / "reqscope"  # an agent looks for its collector beside itself
    beside.unlink(missing_ok=True)
    beside.symlink_to(REQSCOPE.resolve())
    folder = Path(tempfile.mkdtemp(prefix="reqscope-bench-"))
    try:
        servers, go, operations, counted = {}, {}, {}, {}
        for name in filter(None, options.counted.split(",")):
            counted[name] = instructions.measure(name, "/users/7", folder)
        for name in filter(None, options.go.split(",")):
            print(f"bench: {name}, {options.go_rounds} slices of each layer", file=sys.stderr)
            go[name] = toggled.measure(name, options.go_rounds, folder)
        if go and not options.layers:
            operations = toggled.single_operations(OPERATION_PAIRS, folder)
        for name in filter(None, options.servers.split(",")):
            rounds = []
            layers = [layer for layer in layers_of(name) if not options.layers or layer in {BASE, *options.layers.split(",")}]
            for number in range(options.rounds):
                print(f"bench: {name}, round {number + 1} of {options.rounds}", file=sys.stderr)
                rounds.append(one_round(name, layers, number, options.turns, folder))
            traces = list(folder.glob(f"{name}-sites-*.rqs"))
            servers[name] = {"summary": summarise(rounds), "sampling": sampling(rounds, traces), "rounds": rounds}
        sizes, speeds = bytes_a_request(folder), {} if options.layers else analyzer_speed(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    tables = [
        table(servers, sizes) if servers else "", sampling_table(servers, go), *go_tables(go, operations), instructions.table(counted)
    ]  # fmt: skip
    text = "\n\n".join(filter(None, tables))
    for command, speed in speeds.items():
        text += f"\n\n`{command}`: {speed['per_cpu_second'] / 1e6:.1f} M requests a second of CPU, {speed['memory'] / 1e6:.0f} MB"
    (OUT / "bench.md").write_text(text + "\n")
    result = {"servers": servers, "counted": counted, "go": go, "operations": operations, "bytes_per_request": sizes, "analyzer": speeds}
    (OUT / "bench.json").write_text(json.dumps(result, indent=1))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
