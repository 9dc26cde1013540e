"""Traces of several hosts and services, and the figures which a query over all of them must find: the report's of their merge."""

import json
import random
import subprocess
from math import isqrt
from pathlib import Path

from make_trace import REALTIME, SECOND, START, Request, trace

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "README.md"
BEGIN, END = "<!-- many hosts: begin -->", "<!-- many hosts: end -->"
QUANTILES = ("p50", "p90", "p99", "p999")
# (host, label): two services, three hosts, one that says neither.
RECORDINGS = [("web-1", "shop"), ("web-2", "shop"), ("web-3", "shop"), ("web-1", "admin"), ("web-3", "admin"), (None, None)]


def make_requests(n, seed):
    """Aborted ones, nulls, latencies of 0, routes that only some hosts have, or found on some hosts alone."""
    dice, found = random.Random(seed), []
    for i in range(n):
        aborted, route = dice.random() < 0.04, dice.choice(("/", "/", "/items/{}", "/cart", f"/only/{seed}x", "/moved", "/no"))
        found.append(Request(
            START + i * 20_000_000 + dice.randrange(1000),
            method=dice.choice(("GET", "GET", "POST")),
            route=route,
            status=404 if route == "/no" or (route == "/moved" and seed in (1, 3)) else dice.choice((200, 200, 201, 500, 404)) if dice.random() < 0.98 else 0,
            queue=dice.choice((None, 0, dice.randrange(100_000))),
            handler=0 if dice.random() < 0.02 else int(dice.lognormvariate(13 + seed % 3, 1.5)),
            send=None if aborted else dice.choice((0, dice.randrange(50_000))),
            aborted=aborted,
            process=dice.randrange(3),
            more={"alloc_bytes": dice.choice((None, dice.randrange(10**6))), "cpu_time": dice.randrange(10**7)},
        ))  # fmt: skip
    return found


def write_traces(folder, requests=1500):
    """A trace of each recording, whose host booted at a time of its own; all begin in the last seconds of 2025, UTC."""
    folder.mkdir(exist_ok=True)
    paths = []
    for i, (host, label) in enumerate(RECORDINGS):
        monotonic = START + i * 777_000 * SECOND
        made = [Request(**{**vars(r), "time": r.time + monotonic - START}) for r in make_requests(requests, i)]
        clock = {"start_monotonic_ns": str(monotonic), "start_realtime_ns": str(REALTIME - 10 * SECOND + i * 1_234_567)}
        more = {"host": {"name": host, "cpus": 2} if host else {"cpus": 2}, "label": label}
        paths.append(folder / f"{i}.rqs")
        paths[i].write_bytes(trace(made, runtime=("go", "python", "node")[i % 3], **clock, **more))
    return paths


def told(reqscope, folder, files, *options):
    """{(method, route): (count, p50, p90, p99, p999)} in ns as reported of the files' merge; (None, None): all of them."""
    merged = folder / "merged.rqs"
    subprocess.run([reqscope, "merge", "-f", "-o", merged, *files], check=True)
    done = subprocess.run([reqscope, "report", "--format", "json", *options, merged], check=True, capture_output=True)
    (whole,) = json.loads(done.stdout)["traces"]
    found = {(r["method"], r["route"]): r["latency"] for r in whole["routes"]} | {(None, None): whole["latency"]}
    return {k: (v["count"], *(v[q] * 1e9 for q in QUANTILES)) for k, v in found.items() if v}


def expected(reqscope, folder, files, *options, recordings=RECORDINGS):
    """What percentiles.sql must find of the recordings, by (host, label, method, route); '' where one says no name."""
    found = {(None, None, *k): v for k, v in told(reqscope, folder, files, *options).items()}
    names = [tuple(n or "" for n in names) for names in recordings]
    for host in sorted({h for h, _ in names}):
        of_host = [f for f, (h, _) in zip(files, names) if h == host]
        found[host, None, None, None] = told(reqscope, folder, of_host, *options)[None, None]
    for label in sorted({n for _, n in names}):
        of_label = [f for f, (_, n) in zip(files, names) if n == label]
        found |= {(None, label, *k): v for k, v in told(reqscope, folder, of_label, *options).items() if k != (None, None)}
    return found


def page():
    """What README.md tells of many hosts."""
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def blocks(language):
    """The fenced blocks of a language there."""
    text = page()
    return [part.split("\n```")[0] for part in text.split(f"```{language}\n")[1:]]


def bounds(below):
    """[floor(2^(k/256))] of all buckets k up to one: the greatest integer in each, by whole numbers alone."""
    found = []
    for k in range(below * 256):
        x = 1 << k
        for _ in range(8):
            x = isqrt(x)
        found.append(x)
    return found
