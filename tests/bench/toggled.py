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

LAYERS = ("requests", "memory", "times", "sites")  # each with those before it
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


def slices(pid: int, program: Path, collector: int, rounds: int) -> list[tuple[dict, dict]]:
    """One entry a round: layer -> CPU ns a request, of the program; and of the collector."""
    command = [OUT / "toggle", str(pid), counter_address(program), str(rounds), str(SLICE_MS), str(collector)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    width = len(LAYERS) + 1
    per_request = []
    for layer, requests, cpu, _, collectors in map(str.split, lines):
        per_request.append((layer, int(cpu) / max(int(requests), 1), int(collectors) / max(int(requests), 1)))
    return [
        tuple({row[0]: row[which] for row in per_request[at : at + width]} for which in (1, 2))
        for at in range(0, len(per_request), width)
    ]


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the medians of resamples: the percentile bootstrap."""
    chosen = random.Random(1)
    medians = sorted(median(chosen.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def change(ratios: list[float]) -> dict:
    low, high = interval(ratios)
    return {"median": median(ratios), "low": low, "high": high}


def measure(name: str, rounds: int, folder: Path) -> dict:
    """layer -> change of CPU a request against no hooks, in the same round; and what samples add to the rest."""
    program = BUILD / "servers" / name
    trace = folder / f"{name}-toggled.rqs"
    seconds = min(int(rounds * (len(LAYERS) + 1) * SLICE_AND_SWITCH) + 3, load.MAX_SECONDS)
    with Server(name, wrap=[BUILD / "reqscope", "run", "--sites", "-o", trace, "--"]) as server:
        (pid,) = (pid for pid in server.pids() if procfs.command_line(pid)[:1] == [str(program)])
        (collector,) = (one for one in procfs.descendants(server.process.pid) if "collect" in procfs.command_line(one)[1:2])
        url = server.url + "/json"
        loading = threading.Thread(target=load.timed, args=(url,), kwargs={"clients": CLIENTS, "seconds": seconds})
        loading.start()
        taken = slices(pid, program, collector, rounds)
        loading.join()
    taken = [both for both in taken if both[0]["none"] and both[0]["times"]]
    result = {"cpu_us": median(one["none"] for one, _ in taken) / 1000, "rounds": rounds}
    for layer in LAYERS:
        result[layer] = change([one[layer] / one["none"] - 1 for one, _ in taken])
    added = [(one["sites"] / one["times"] - 1, (of["sites"] - of["times"]) / one["times"]) for one, of in taken]
    result["sampling"] = {
        "server": change([server for server, _ in added]),
        "collector": change([collector for _, collector in added]),
        "both": change([sum(both) for both in added]),
    }
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


def cell(one: dict) -> str:
    return f"{one['median']:+.1%} [{one['low']:+.1%}, {one['high']:+.1%}]".replace("%", " %")


def table(servers: dict) -> str:
    lines = [
        "| Go server | CPU a request | requests only | with memory | with scheduler times | with call sites |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in servers.items():
        cells = [cell(result[layer]) for layer in LAYERS]
        lines.append(f"| {name} | {result['cpu_us']:.1f} µs | " + " | ".join(cells) + " |")
    return "\n".join(lines)
