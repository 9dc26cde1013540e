"""What hooks cost a Go program: switched on and off in one running process, layer by layer (toggle.c)."""

import random
import subprocess
import threading
from pathlib import Path
from statistics import median

from sides import BUILD, OUT

import load
import procfs
from serve import Server

LAYERS = ("requests", "memory", "times")  # each with those before it
COUNTER = "reqscope.test/servers/common.served"
SLICE_MS = 100
SLICE_AND_SWITCH = 0.14  # seconds, about
CLIENTS = 32
RESAMPLES = 2000


def counter_address(program: Path) -> str:
    """Where the server counts its requests itself; relative to its load address where that isn't fixed."""
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in symbols.splitlines() if line.endswith(f" {COUNTER}"))
    return "0x" + line.split()[0]


def slices(pid: int, program: Path, rounds: int) -> list[dict]:
    """One entry a round: layer -> CPU ns a request."""
    command = [OUT / "toggle", str(pid), counter_address(program), str(rounds), str(SLICE_MS)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    rows = [line.split() for line in lines]
    per_request = [(layer, int(cpu) / max(int(requests), 1)) for layer, requests, cpu, _ in rows]
    width = len(LAYERS) + 1
    return [dict(per_request[at : at + width]) for at in range(0, len(per_request), width)]


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the medians of resamples: the percentile bootstrap."""
    chosen = random.Random(1)
    medians = sorted(median(chosen.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def measure(name: str, rounds: int, folder: Path) -> dict:
    """layer -> change of CPU a request against no hooks, in the same round."""
    program = BUILD / "servers" / name
    trace = folder / f"{name}-toggled.rqs"
    seconds = min(int(rounds * (len(LAYERS) + 1) * SLICE_AND_SWITCH) + 3, load.MAX_SECONDS)
    with Server(name, wrap=[BUILD / "reqscope", "run", "-o", trace, "--"]) as server:
        (pid,) = (pid for pid in server.pids() if procfs.command_line(pid)[:1] == [str(program)])
        url = server.url + "/json"
        loading = threading.Thread(target=load.timed, args=(url,), kwargs={"clients": CLIENTS, "seconds": seconds})
        loading.start()
        taken = slices(pid, program, rounds)
        loading.join()
    result = {"cpu_us": median(one["none"] for one in taken) / 1000, "rounds": rounds}
    for layer in LAYERS:
        ratios = [one[layer] / one["none"] - 1 for one in taken if one["none"]]
        low, high = interval(ratios)
        result[layer] = {"median": median(ratios), "low": low, "high": high}
    return result


def single_operations(pairs: int, folder: Path) -> dict:
    """operation -> ns, without hooks and with them, in alternation."""
    program = BUILD / "servers/micro"
    taken: dict[str, dict] = {}
    for number in range(pairs):
        trace = folder / f"micro-{number}.rqs"
        for side, prefix in (("none", []), ("hooked", [BUILD / "reqscope", "run", "-o", trace, "--"])):
            done = subprocess.run([*prefix, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            for line in done.stdout.splitlines():
                operation, ns = line.split()
                taken.setdefault(operation, {"none": [], "hooked": []})[side].append(float(ns))
    return {
        operation: {"none": median(sides["none"]), "added": median(h - n for n, h in zip(sides["none"], sides["hooked"]))}
        for operation, sides in taken.items()
    }


def operations_table(operations: dict) -> str:
    rows = [f"| {name} | {ns['none']:.1f} ns | {ns['added']:+.1f} ns |" for name, ns in operations.items()]
    return "\n".join(["| one Go operation | takes | hooks add |", "|---|---|---|", *rows])


def table(servers: dict) -> str:
    lines = [
        "| Go server | CPU a request | requests only | with memory | with scheduler times |",
        "|---|---|---|---|---|",
    ]
    for name, result in servers.items():
        cells = [f"{result[layer]['median']:+.1%} [{result[layer]['low']:+.1%}, {result[layer]['high']:+.1%}]" for layer in LAYERS]
        lines.append(f"| {name} | {result['cpu_us']:.1f} µs | " + " | ".join(cells).replace("%", " %") + " |")
    return "\n".join(lines)
