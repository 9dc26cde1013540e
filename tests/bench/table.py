#!/usr/bin/env python3
"""`make table`: seven frameworks side by side under the same load, with the agent and without, compared by `reqscope compare`.

    table.py [--servers gin,flask] [--setups one,cores] [--connections 64,1000] [--rounds N] [--seconds S] [--minutes M]
    table.py --readme README.md      put what was measured last between the file's markers, without measuring again

A round is one run of each framework with the agent and one without it, right behind each other; rounds of all set-ups alternate, so that
what else the machine does hits all alike. Of all but the first set-up and load the later rounds are with the agent alone. Every figure of ours is one of `reqscope compare`, which reads all of a framework's
traces as the runs of one side. The load generator's figures stand beside it, and every request it counts must be in a
trace: where one isn't, the table says so, and the exit status is 1.

Written to build/table: table.{txt,md,json}, and of each set-up and load what compare says ({txt,md,html,json}).
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import table_pages
from contenders import FRAMEWORKS, ONE, SETUPS, Framework, machine
from runs import REQSCOPE, Run, Timing, complain, run_once
from serve import NotAvailable
from sides import BUILD

OUT = BUILD / "table"
ROUNDS, FEWER_ROUNDS = 5, 4  # of one core and the fewest connections; of the rest. Below four compare's test can't be sure of anything
BARE_ROUNDS = 2  # without the agent, of the rest
SETTLED_ROUNDS = 2  # of each set-up first, so that all are there if time runs out
ATTEMPTS = 3
FORMATS = {"text": "txt", "md": "md", "html": "html", "json": "json"}


@dataclass
class Cell:
    """One set-up under one load: a table."""

    setup: str
    connections: int
    rounds: int
    bare_rounds: int
    bare: dict = field(default_factory=dict)  # framework -> runs without the agent
    recorded: dict = field(default_factory=dict)  # framework -> runs with it, the first of them neighbours of those without
    failed: dict = field(default_factory=dict)  # framework -> why
    done: int = 0

    @property
    def name(self) -> str:
        return f"{self.setup}-{self.connections}"

    def runs_in(self, number: int) -> int:
        """Of each framework in this round."""
        return 2 if number < self.bare_rounds else 1


def schedule(cells: list[Cell]) -> list[tuple[Cell, int]]:
    """Which round of which cell comes when: a few of all first, then the rest of the first cell, then the others'."""
    pairs = [(cell, number) for cell in cells for number in range(cell.rounds)]
    return sorted(pairs, key=lambda pair: (min(pair[1], SETTLED_ROUNDS), pair[1] >= SETTLED_ROUNDS and pair[0] is not cells[0]))


class Measurement:
    """All runs, in turn."""

    def __init__(self, cells: list[Cell], frameworks: list[Framework], options):
        self.cells, self.frameworks, self.options = cells, frameworks, options
        self.began = time.monotonic()
        self.runs = 0

    def say(self, text: str):
        print(f"table: {text}", file=sys.stderr, flush=True)

    def seconds_of(self, runs: int) -> float:
        """That so many more take, as far as those before tell."""
        each = (time.monotonic() - self.began) / self.runs if self.runs else self.options.seconds + 3
        return runs * each

    def seconds_left(self) -> float:
        return self.began + self.options.minutes * 60 - time.monotonic()

    def run_all(self):
        left = schedule(self.cells)
        while left:
            cell, number = left.pop(0)
            if cell.done and self.seconds_of(cell.runs_in(number) * len(self.frameworks)) > self.seconds_left():
                self.say(f"no time for round {number + 1} of {cell.name}")
                continue
            self.run_round(cell, number, sum(later.runs_in(which) for later, which in left))
            cell.done += 1

    def run_round(self, cell: Cell, number: int, runs_left: int):
        first = number % len(self.frameworks)
        order = self.frameworks[first:] + self.frameworks[:first]
        for at, framework in enumerate(order):
            still = runs_left * len(order) + cell.runs_in(number) * (len(order) - at)
            minutes = max(min(self.seconds_of(still), self.seconds_left()), 0) / 60
            what = f"{SETUPS[cell.setup]}, {cell.connections} connections, round {number + 1} of {cell.rounds}: {framework.name}"
            self.say(f"{what} ({minutes:.0f} min left)")
            if framework.name not in cell.failed or cell.recorded.get(framework.name):
                self.run_beside(cell, framework, number)
            self.runs += cell.runs_in(number)

    def run_beside(self, cell: Cell, framework: Framework, number: int):
        """With the agent and without: both or none, as their ratio is the agent's cost. Who is first changes with each round."""
        trace = self.options.out / "traces" / f"{cell.name}-{framework.name}-{number}.rqs"
        order = [trace] if cell.runs_in(number) == 1 else [None, trace] if number % 2 else [trace, None]
        try:
            runs = {bool(path): self.attempt(cell, framework, path) for path in order}
        except (NotAvailable, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            cell.failed[framework.name] = str(error).splitlines()[0]
            self.say(f"{framework.name}: {error}")
            trace.unlink(missing_ok=True)
            return
        cell.recorded.setdefault(framework.name, []).append(runs[True])
        if False in runs:
            cell.bare.setdefault(framework.name, []).append(runs[False])

    def attempt(self, cell: Cell, framework: Framework, trace: Path | None) -> Run:
        """Again, if need be: a machine that is busy for a moment is no reason to miss a run."""
        start = framework.start(cell.setup)
        for attempt in range(ATTEMPTS):
            if trace:
                trace.unlink(missing_ok=True)
            try:
                run = run_once(
                    start.server, path=self.options.path, connections=cell.connections, workers=start.workers,
                    seconds=self.options.seconds, timing=Timing(), trace=trace, env=dict(start.env),
                )  # fmt: skip
                complain(run)
                return run
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                if attempt + 1 == ATTEMPTS:
                    raise
                self.say(f"{framework.name}: {error}; once more")


def compare(cell: Cell, out: Path) -> dict | None:
    """What `reqscope compare` says of the cell, as JSON; in all formats beside it. None where there is nothing to compare."""
    sides = [f"{name}={','.join(run.trace for run in runs)}" for name, runs in cell.recorded.items()]
    if len(sides) < 2:
        return None
    for form, suffix in FORMATS.items():
        command = [REQSCOPE, "compare", "--skip", Timing().skip, "--format", form, "-f", "-o", out / f"{cell.name}.{suffix}", *sides]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"reqscope compare: {done.stderr.strip() or done.returncode}")
    return json.loads((out / f"{cell.name}.json").read_text())


FIGURES = {
    "throughput": "throughput", "latency_mean": "latency_mean", "p50": "latency_p50", "p99": "latency_p99", "rss_peak": "rss_peak",
    "alloc_bytes": "alloc_bytes_mean", "cpu": "cpu_per_request",
}  # fmt: skip


def figures_of(compared: dict, side: int) -> dict:
    """Of the whole of one side: value, times the base's, and whether a test says that it isn't chance."""
    rows = {row["metric"]: row for row in compared["rows"] if row["route"] is None}
    found = {}
    for name, metric in FIGURES.items():
        row = rows.get(metric)
        relative = row["relative"][side] if row and side else None
        against = row["against_base"][side] if row else None
        found[name] = {
            "value": row["values"][side] if row else None,
            "times": None if relative is None else 1 + relative,
            "verdict": against["verdict"] if against else None,
        }
    return found


def by_load_generator(runs: list[Run]) -> dict:
    """The same of its own log; quantiles are those of the typical run."""
    requests = sum(run.requests for run in runs)

    def typical(values):
        known = [value for value in values if value is not None]
        return median(known) if known else None

    return {
        "throughput": requests / sum(run.requests / run.per_second for run in runs),
        "latency_mean": sum(run.latency_mean * run.requests for run in runs) / requests,
        "p50": typical(run.latency_p50 for run in runs),
        "p99": typical(run.latency_p99 for run in runs),
    }


def cost(bare: list[Run], recorded: list[Run]) -> dict:
    """Of the agent, as ratios less 1 of neighbours in time: the typical one, and the least and greatest."""

    def change(value):
        ratios = [value(with_agent) / value(without) - 1 for without, with_agent in zip(bare, recorded)]
        return {"median": median(ratios), "min": min(ratios), "max": max(ratios)}

    return {
        "cpu": change(lambda run: run.cpu_per_request),
        "throughput": change(lambda run: run.per_second),
        "rss_added": median(with_agent.rss_peak - without.rss_peak for without, with_agent in zip(bare, recorded)),
        "collector_cpu": median(run.collector_per_request for run in recorded),
    }


def row_of(cell: Cell, framework: Framework, compared: dict | None) -> dict:
    start, recorded = framework.start(cell.setup), cell.recorded.get(framework.name)
    row = {
        "framework": framework.name,
        "version": framework.version,
        "server": start.what,
        "published": vars(framework.published) if framework.published else None,
    }
    if not recorded or not compared or not cell.bare.get(framework.name):
        return row | {"failed": cell.failed.get(framework.name, "nothing to compare it with")}
    bare, side = cell.bare[framework.name], list(cell.recorded).index(framework.name)
    answered = sum(sum(run.counts.answered.values()) for run in recorded)
    differences = [difference for run in bare + recorded for difference in run.counts.differences]
    measured, of_compare = sum(run.requests for run in recorded), compared["sides"][side]["requests"]
    if measured != of_compare:
        differences.append(f"without the warm-ups {measured} by the load generator's count, {of_compare} by compare's")
    return row | {
        "rounds": len(recorded),
        "runtime": compared["sides"][side]["runtime"],
        "figures": figures_of(compared, side),
        "load_generator": by_load_generator(recorded),
        "bare": by_load_generator(bare) | {
            "cpu": median(run.cpu_per_request for run in bare), "rss": median(run.rss for run in bare),
            "rss_peak": median(run.rss_peak for run in bare), "processes": bare[0].processes,
        },
        "cost": cost(bare, recorded),
        "counts": {"load_generator": answered, "recorded": sum(sum(run.counts.recorded.values()) for run in recorded)},
        "differences": differences,
    }  # fmt: skip


def result_of(cell: Cell, frameworks: list[Framework], out: Path) -> dict:
    # The base is the first side: the first framework, not the one whose turn was first.
    cell.recorded = {one.name: cell.recorded[one.name] for one in frameworks if cell.recorded.get(one.name)}
    compared = compare(cell, out)
    runs = [run for of_all in (cell.bare, cell.recorded) for of_one in of_all.values() for run in of_one]
    return {
        "name": cell.name,
        "setup": cell.setup,
        "title": SETUPS[cell.setup],
        "connections": cell.connections,
        "rounds": cell.done,
        "base": next(iter(cell.recorded)) if compared else None,
        "rows": [row_of(cell, framework, compared) for framework in frameworks],
        "runs": [{key: value for key, value in run.as_json().items() if key != "report"} for run in runs],
    }


def measure(options) -> dict:
    wanted = options.servers.lower().split(",") if options.servers else [one.name.lower() for one in FRAMEWORKS]
    frameworks = [one for one in FRAMEWORKS if one.name.lower() in wanted]
    if not frameworks or len(frameworks) < len(wanted):
        raise SystemExit(f"table.py: --servers: of {', '.join(one.name for one in FRAMEWORKS)}")
    connections = [int(word) for word in options.connections.split(",")]
    fewer = min(options.rounds, FEWER_ROUNDS)
    cells = [Cell(setup, clients, fewer, BARE_ROUNDS) for setup in options.setups.split(",") for clients in connections]
    cells[0].rounds = cells[0].bare_rounds = options.rounds
    (options.out / "traces").mkdir(parents=True, exist_ok=True)
    for old in [*(options.out / "traces").glob("*.rqs"), *options.out.glob("*-*.*")]:
        old.unlink()
    measurement = Measurement(cells, frameworks, options)
    try:
        measurement.run_all()
    except KeyboardInterrupt:
        measurement.say("interrupted: the table is of what was done until now")
    return {
        "schema": "reqscope.table/1",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "path": options.path,
        "seconds": options.seconds,
        "took": time.monotonic() - measurement.began,
        "cells": [result_of(cell, frameworks, options.out) for cell in cells],
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", help=f"of {','.join(one.name for one in FRAMEWORKS)}; default all")
    parser.add_argument("--setups", default=",".join(SETUPS), help=f"of {','.join(SETUPS)}; default all")
    parser.add_argument("--connections", default="64,1000", help="default 64,1000")
    parser.add_argument("--rounds", type=int, default=ROUNDS,
                        help=f"of the first set-up and load (default {ROUNDS}); of the others at most {FEWER_ROUNDS}")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=2.2, help="that a load takes, without its warm-up (default 2.2)")
    parser.add_argument("--minutes", type=float, default=18, help="no further round begins that would end later (default 18)")
    parser.add_argument("--path", default="/users/7", help="what is asked for: 1 KB of JSON (default /users/7)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="write the last results into this file instead of measuring")
    options = parser.parse_args()
    for setup in options.setups.split(","):
        if setup not in SETUPS:
            parser.error(f"no set-up '{setup}': {', '.join(SETUPS)}")
    return options


def status_of(result: dict) -> int:
    """1 where a request is missing in a trace, which is said, too, or where there is no comparison at all."""
    wrong = [(cell, row) for cell in result["cells"] for row in cell["rows"] if row.get("differences")]
    for cell, row in wrong:
        print(f"table: COUNTS DIFFER: {cell['name']}, {row['framework']}: {'; '.join(row['differences'])}", file=sys.stderr)
    return 1 if wrong or not any(cell["base"] for cell in result["cells"]) else 0


def main() -> int:
    options = parse_arguments()
    if options.readme:
        return table_pages.into_readme(options.readme, options.out)
    result = measure(options)
    (options.out / "table.json").write_text(json.dumps(result, indent=1) + "\n")
    table_pages.write(result, options.out)
    print((options.out / "table.txt").read_text())
    return status_of(result)


if __name__ == "__main__":
    sys.exit(main())
