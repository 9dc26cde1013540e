#!/usr/bin/env python3
"""Three questions, answered by measurements: the last part of `make table`.

    questions.py [--questions lead,database,gil] [--servers Gin,FastAPI] [--times 0,1,5,20] [--rounds N] [--minutes M] [--quick]

    lead      how much faster Go is on one core, and what of: CPU a request, waits, allocations
    database  whether the bottleneck of /db is what it asks, for few connections and for many, by how long that takes
    gil       what the GIL costs: Flask with 1, 2, 4 and 8 threads and with two processes, on requests that compute, that wait, and both

The database is a stub with a time of its own (tests/servers/c/httpd.c, a thread a connection), asked over connections that are kept: a
real one would take a CPU that the servers share with it, and no time that could be chosen. It is recorded, too: how long a
request was there, and how many at a time, is what reqscope tells of it, not of the server. What the server's own client takes
counts for the server.

Rounds of all questions alternate, and servers within them. Every figure is one of `reqscope compare`'s, over all runs, with the load
generator's beside it; each request that it counts has to be in a trace, in its load's time. Answers are sentences made of these
numbers (answers.py). Written to build/table: questions.{md,json}, and what compare says of each load to build/table/questions.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable

import answers
from sides import BUILD
from slots import Contender, Load, SlottedRun, Slots, compare, run_slots
from table_pages import SURE, markdown_table, rate, seconds, size, times

from serve import NotAvailable

OUT = BUILD / "table"
FEW, MANY, SHARED = 4, 64, 16  # connections
TIMES = (0, 1, 5, 20)  # of the database, in ms
STEPS = 20  # thousand: about a millisecond of Python
WAIT = 5  # ms

GO = (("GOMAXPROCS", "1"),)
GIN, ECHO = Contender("Gin", "gin", env=GO), Contender("Echo", "echo", env=GO)
FASTAPI, EXPRESS = Contender("FastAPI", "fastapi-uvloop", 1), Contender("Express", "express", 1)
FLASK, DJANGO = Contender("Flask", "flask-gthread", 1, threads=4), Contender("Django", "django-gthread", 1, threads=4)
THREADS = {"1 thread": 1, "2 threads": 2, "4 threads": 4, "8 threads": 8}
PROCESSES = "2 processes"
THREADED = [Contender(name, f"flask-gthread-{number}", 1) for name, number in THREADS.items()]


@dataclass
class Question:
    name: str
    title: str
    contenders: list
    loads: list
    slots: Slots
    upstream: bool = False
    runs: dict = field(default_factory=dict)  # contender's name -> its runs
    failed: dict = field(default_factory=dict)  # contender's name -> why


def lead_question(_) -> Question:
    loads = [Load("users", ("/users/7",), MANY)]
    return Question("lead", "How much faster is Go, and what of?", [GIN, ECHO, FASTAPI, FLASK, DJANGO, EXPRESS], loads, Slots(1.5, 0.5))


def database_question(options) -> Question:
    loads = [Load(f"{ms} ms, {clients} connections", (f"/db?ms={ms}",), clients) for clients in (FEW, MANY) for ms in options.times]
    slots = Slots(seconds=0.65, slack=0.35, warm_up=0.2, margin=0.15)
    return Question("database", "Is the bottleneck the database, not Python?", [GIN, EXPRESS, FASTAPI, FLASK], loads, slots, True)


def gil_question(_) -> Question:
    compute, wait = f"/steps?k={STEPS}", f"/sleep?ms={WAIT}"
    loads = [Load("cpu", (compute,), SHARED), Load("wait", (wait,), SHARED), Load("mixed", (compute, wait), SHARED)]
    contenders = [*THREADED, Contender(PROCESSES, "flask-gthread-1", 2, cores=2)]
    return Question("gil", "What does the GIL cost with threads?", contenders, loads, Slots(seconds=0.75, slack=0.4, warm_up=0.3, margin=0.15))


QUESTIONS = {"lead": lead_question, "database": database_question, "gil": gil_question}


# ---- measuring ----


def say(text: str):
    print(f"questions: {text}", file=sys.stderr, flush=True)


def run_rounds(questions: list[Question], options):
    """Round by round, so that all questions have an answer if time runs out."""
    began, last = time.monotonic(), 0.0
    for number in range(options.rounds):
        if number and time.monotonic() - began + last > options.minutes * 60:
            return say(f"no time for round {number + 1}")
        round_began = time.monotonic()
        for question in questions:
            first = number % len(question.contenders)
            for of in question.contenders[first:] + question.contenders[:first]:
                left = (options.rounds - number) * last - (time.monotonic() - round_began)
                say(f"{question.name}, round {number + 1} of {options.rounds}: {of.name}" + (f" ({left / 60:.0f} min left)" if last else ""))
                attempt(question, of, number, options.out)
        last = time.monotonic() - round_began


def attempt(question: Question, of: Contender, number: int, out: Path):
    """Twice, if need be: a machine that is busy for a moment is no reason to miss a run."""
    base = out / "questions" / f"{question.name}-{of.name.replace(' ', '-')}-{number}"
    asked = base.with_name(base.name + "-db.rqs") if question.upstream else None
    for again in (True, False):
        try:
            run = run_slots(of, question.loads, question.slots, base.with_suffix(".rqs"), asked)
        except NotAvailable as error:
            question.failed[of.name] = str(error)
            return say(f"{of.name}: {error}")
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            question.failed[of.name] = str(error).splitlines()[0]
            say(f"{of.name}: {error}" + ("; once more" if again else ""))
        else:
            question.runs.setdefault(of.name, []).append(run)
            for difference in run.differences:
                say(f"COUNTS DIFFER: {of.name}: {difference}")
            return


# ---- figures ----


def against(rows: dict, metric: str, side: int) -> dict | None:
    """Times the base's, with the interval of 95 %."""
    row = rows.get(metric)
    if not row or row["relative"][side] is None:
        return None
    test = row["against_base"][side]
    low, high = (1 + end for end in test["interval"]) if test["interval"] else (None, None)
    sure = None if test["verdict"] is None else test["verdict"] in SURE
    return {"times": 1 + row["relative"][side], "low": low, "high": high, "sure": sure}


SUMS = ("latency", "queue", "handler", "send", "cpu_time", "sched_wait", "gil_wait", "loop_delay", "alloc_bytes", "alloc_count")


def means(of: dict) -> dict:
    """Of a side or one of its routes."""
    return {name: of[name]["mean"] if of.get(name) else None for name in SUMS}


def figures_of(compared: dict, side: int) -> dict:
    of = compared["sides"][side]
    rows = {row["metric"]: row for row in compared["rows"] if row["route"] is None}
    return means(of) | {
        "runs": of["runs"], "requests": of["requests"], "throughput": of["throughput"], "in_flight": of["in_flight_mean"],
        "cpu": of["cpu"]["per_request"], "cores": (of["cpu"]["user"] + of["cpu"]["system"]) / of["duration"],
        "rss_peak": of["memory"]["rss_peak"],
        "against": {name: against(rows, metric, side) if side else BASE for name, metric in AGAINST.items()},
        "routes": {route["route"]: means(route) for route in of["routes"]},
    }  # fmt: skip


BASE = {"times": 1.0, "low": 1.0, "high": 1.0, "sure": True}
AGAINST = {"throughput": "throughput", "cpu": "cpu_per_request", "latency": "latency_mean"}


def by_load_generator(runs: list[SlottedRun], one: Load) -> dict:
    loaded = [run.loaded[one.name] for run in runs]
    requests = sum(load.requests for load in loaded)
    return {
        "requests": requests,
        "throughput": requests / sum(load.seconds for load in loaded),
        "latency": sum(load.latency_mean * load.requests for load in loaded) / requests,
    }


def compare_load(question: Question, at: int, out: Path) -> dict:
    """Contender's name -> figures; empty where there is nothing to compare."""
    one, sides = question.loads[at], in_order(question)
    if len(sides) < 2:
        return {}
    file = out / "questions" / f"{question.name}-{at + 1}"

    def compared(traces, file):
        return compare({name: [getattr(run, traces) for run in runs] for name, runs in sides.items()}, at, len(question.loads), question.slots, file)

    whole = compared("trace", file)
    found = {name: figures_of(whole, side) for side, name in enumerate(sides)}
    databases = compared("upstream", file.with_name(file.name + "-db"))["sides"] if question.upstream else [None] * len(sides)
    for (name, figures), database in zip(found.items(), databases):
        figures["load_generator"] = by_load_generator(sides[name], one)
        if database:
            figures["db"] = {key: database[of] for key, of in (("requests", "requests"), ("in_flight", "in_flight_mean"))}
            figures["db"]["latency"] = database["latency"]["mean"]
    return found


def in_order(question: Question) -> dict:
    """The first one is the base."""
    return {of.name: question.runs[of.name] for of in question.contenders if of.name in question.runs}


# ---- answers ----


@dataclass
class Answered:
    heads: list
    rows: list
    sentences: list


def both(figures: dict, name: str, form: Callable) -> str:
    return f"{form(figures[name])} ({form(figures['load_generator'][name])})"


def ratio(of: dict, name="throughput") -> str:
    one = of["against"][name]
    if one is BASE or one is None:
        return ""
    return f"{times(one['times'])} [{times(one['low'])}, {times(one['high'])}]" if one["low"] is not None else f"{times(one['times'])} ~"


def counted(runs: list[SlottedRun]) -> str:
    answered, recorded = sum(run.answered for run in runs), sum(run.recorded for run in runs)
    wrong = any(run.differences for run in runs)
    return f"{answered:,} {'≠' if answered != recorded else '='} {recorded:,}" + (" COUNTS DIFFER" if wrong else "")


def waits(figures: dict) -> float | None:
    return figures["sched_wait"] if figures["sched_wait"] is not None else figures["gil_wait"]


def lead_answer(question: Question, figures: list[dict]) -> Answered:
    (found,) = figures
    base = next(iter(found))
    heads = ["requests/s (h2load)", f"× {base} [95 %]", "CPU a request", "cores", "latency (h2load)", "queue", "of it loop", "handler",
             "its CPU", "CPU or GIL wait", "allocated", "allocations", "counted"]  # fmt: skip
    rows = [
        [
            name, both(one, "throughput", rate), ratio(one), seconds(one["cpu"]), f"{one['cores']:.2f}", both(one, "latency", seconds),
            *(seconds(one[part]) for part in ("queue", "loop_delay", "handler", "cpu_time")), seconds(waits(one)),
            size(one["alloc_bytes"]), "-" if one["alloc_count"] is None else f"{one['alloc_count']:.0f}", counted(question.runs[name]),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    return Answered([f"`GET /users/7`, one core, {MANY} connections", *heads], rows, answers.lead(found, MANY))


def database_answer(question: Question, figures: list[dict]) -> Answered:
    by_load = {one.name: found for one, found in zip(question.loads, figures)}
    all_times = sorted({int(one.paths[0].partition("=")[2]) for one in question.loads})
    numbers = {clients: {ms: by_load[f"{ms} ms, {clients} connections"] for ms in all_times} for clients in (FEW, MANY)}

    def cell(one: dict) -> str:
        return f"{both(one, 'throughput', rate)}, {seconds(one['latency'])}, {answers.percent(answers.database_share(one))}"

    rows = [
        [f"{name}, {clients} connections", *(cell(numbers[clients][ms][name]) for ms in all_times), *([] if clients == FEW else [counted(runs)])]
        for clients in numbers for name, runs in in_order(question).items()
    ]  # fmt: skip
    there = [of for of in question.contenders if of.name in question.runs]
    cores, threads = {of.name: of.cores for of in there}, {of.name: of.threads for of in there if of.threads}
    python = [of.name for of in (FASTAPI, FLASK) if of.name in cores]
    heads = ["`GET /db`: requests/s (h2load), latency, database's part", *(f"{ms} ms" for ms in all_times), "counted"]
    return Answered(heads, rows, answers.database(numbers, python, cores, threads))


def gil_answer(question: Question, figures: list[dict]) -> Answered:
    of_load = dict(zip((one.name for one in question.loads), figures))
    numbers = {
        name: {"cpu": of_load["cpu"][name], "wait": of_load["wait"][name], "mixed": of_load["mixed"][name]["routes"]["/sleep"]}
        for name in in_order(question)
    }
    heads = [f"Flask, {SHARED} connections", "computing: requests/s (h2load)", "× 1 thread [95 %]", "handler", "for the GIL",
             f"waiting {WAIT} ms: requests/s (h2load)", "× 1 thread [95 %]", "waiting beside computing: handler", "for the GIL", "counted"]  # fmt: skip
    rows = [
        [
            name, both(of["cpu"], "throughput", rate), ratio(of["cpu"]), seconds(of["cpu"]["handler"]), seconds(of["cpu"]["gil_wait"]),
            both(of["wait"], "throughput", rate), ratio(of["wait"]), seconds(of["mixed"]["handler"]), seconds(of["mixed"]["gil_wait"]),
            counted(question.runs[name]),
        ]
        for name, of in numbers.items()
    ]  # fmt: skip
    return Answered(heads, rows, answers.gil(numbers, THREADS, PROCESSES, WAIT))


ANSWERS = {"lead": lead_answer, "database": database_answer, "gil": gil_answer}


def answer(question: Question, out: Path) -> tuple[list[dict], Answered]:
    """What can't be answered takes no other answer with it, nor what was measured."""
    try:
        figures = [compare_load(question, at, out) for at in range(len(question.loads))]
        if all(figures):
            return figures, ANSWERS[question.name](question, figures)
        why = "Too little was measured for an answer."
    except Exception as error:
        traceback.print_exc()
        why = f"No answer: {error!r}."
    return [{} for _ in question.loads], Answered([], [], [why])


def result_of(question: Question, out: Path) -> dict:
    figures, answered = answer(question, out)
    return {
        "name": question.name,
        "title": question.title,
        "figures": {one.name: found for one, found in zip(question.loads, figures)},
        "table": [answered.heads, *answered.rows],
        "answer": answered.sentences,
        "failed": {name: why for name, why in question.failed.items() if name not in question.runs},
        "runs": [asdict(run) | {"contender": name} for name, runs in question.runs.items() for run in runs],
    }


# ---- pages ----

LEGEND = (
    "Each one process on one core, but for *2 processes*. ~: may be chance, or too few runs to tell. The database is a stub that takes "
    "the time at the head of its column; its part of a request is its own latency, by a recording of it, as reqscope doesn't measure "
    "`downstream` yet. Counted: responses by h2load's count = requests in the traces."
)


def page(results: list[dict], rounds: int) -> str:
    """For the README."""
    parts = ["#### Three questions", f"{rounds} run{'s' * (rounds != 1)} of each, alternated. {LEGEND}"]
    for result in results:
        heads, *rows = result["table"]
        table = ["", *markdown_table(heads, rows)] if heads else []
        failed = [f"Not measured: {name} ({why})." for name, why in result["failed"].items()]
        parts.append("\n".join([" ".join([f"**{result['title']}**", *result["answer"], *failed]), *table]))
    return "\n\n".join(parts) + "\n"


def asked(options) -> list[Question]:
    """With the servers that are wanted; without a question that has none of them."""
    questions = [QUESTIONS[name](options) for name in options.questions]
    for question in questions:
        question.contenders = [of for of in question.contenders if not options.servers or of.name in options.servers]
        if options.quick:
            question.slots = Slots(seconds=0.4, slack=1.5)
    return [question for question in questions if question.contenders]


def measure(options) -> list[Question]:
    folder = options.out / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.rqs"), *folder.glob("*.txt"), *folder.glob("*.json")]:
        old.unlink()
    questions = asked(options)
    try:
        run_rounds(questions, options)
    except KeyboardInterrupt:
        say("interrupted: the answers are of what was done until now")
    return questions


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", default=",".join(QUESTIONS), help=f"of {','.join(QUESTIONS)}; default all")
    parser.add_argument("--servers", default="", help="by the names in the tables, the base first; default all")
    parser.add_argument("--times", default=",".join(map(str, TIMES)), help=f"of the database, in ms (default {','.join(map(str, TIMES))})")
    parser.add_argument("--rounds", type=int, help="default 5, so that a test can tell what is no chance; with --quick 1")
    parser.add_argument("--minutes", type=float, default=13, help="no further round begins that would end later (default 13)")
    parser.add_argument("--quick", action="store_true", help="shorter loads, on a machine that may be busy")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the results")
    options = parser.parse_args()
    options.questions = options.questions.split(",")
    options.servers = options.servers.split(",") if options.servers else []
    options.times = [int(word) for word in options.times.split(",")]
    options.rounds = options.rounds or (1 if options.quick else 5)
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no question '{unknown.pop()}': {', '.join(QUESTIONS)}")
    if not asked(options):
        parser.error(f"--servers: none of these questions asks {' or '.join(options.servers)}")
    return options


def main() -> int:
    options = parse_arguments()
    began = time.monotonic()
    questions = measure(options)
    results = [result_of(question, options.out) for question in questions]
    rounds = max((len(runs) for question in questions for runs in question.runs.values()), default=0)
    whole = {"schema": "reqscope.questions/1", "date": time.strftime("%Y-%m-%d", time.gmtime()), "rounds": rounds,
             "took": time.monotonic() - began, "questions": results}  # fmt: skip
    (options.out / "questions.json").write_text(json.dumps(whole, indent=1, default=str) + "\n")
    (options.out / "questions.md").write_text(page(results, rounds))
    print(page(results, rounds))
    wrong = any(run["differences"] for result in results for run in result["runs"])
    return 0 if not wrong and all(all(result["figures"].values()) for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
