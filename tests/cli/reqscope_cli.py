"""Runs the built program for the CLI tests, and counts again in Python what a report should say."""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb

ROOT = Path(__file__).resolve().parents[2]
REQSCOPE = ROOT / os.environ.get("BUILD", "build") / "reqscope"
TRACES = ROOT / "tests/traces"

sys.path.insert(0, str(ROOT / "tests/tools"))

TIMES = ("latency", "queue", "handler", "send", "cpu_time", "sched_wait", "children_cpu_time", "gil_wait", "loop_delay",
         "downstream")  # fmt: skip
COUNTS = ("alloc_bytes", "alloc_count", "request_bytes", "response_bytes", "peak_bytes", "recv_buffer_bytes")
QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p999": (999, 1000)}
SIMULATIONS = float(os.environ.get("RQS_SIMULATIONS", "0.5"))  # times as many; `make check` makes half of them


def simulated(count: int) -> int:
    """So many as are made of that number. Their seeds are fixed; bounds allow for what chance makes of so many."""
    return round(count * SIMULATIONS)


def run(*args, status=0, env=None, stdin=None):
    """stdout and stderr of reqscope ARGS, which must end with this status."""
    environment = {**os.environ, **(env or {})}
    done = subprocess.run([REQSCOPE, *map(str, args)], capture_output=True, timeout=60, env=environment, input=stdin)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == status, (done.returncode, out, err)
    return out, err


def ask_duckdb(sql, *values):
    """All rows, by a connection of its own: the common one is taken while somebody's result isn't read to its end."""
    with duckdb.connect() as db:
        return db.execute(sql, values).fetchall()


def one_line(text):
    """The text is exactly one line that begins with the program's name."""
    assert text.startswith("reqscope: ") and text.count("\n") == 1 and text.endswith("\n"), text
    return text


def report(*args, status=0):
    """The traces of a JSON report."""
    out, _ = run("report", "--format", "json", *args, status=status)
    value = json.loads(out)
    assert value["schema"] == "reqscope.report/1"
    return value["traces"]


def bucket_middle(v):
    """The middle of the histogram bucket of an integer, by its definition."""
    if v == 0:
        return 0.0
    k = math.ceil(256 * math.log2(v) - 1e-12)
    return (2 ** ((k - 1) / 256) + 2 ** (k / 256)) / 2


def distribution(values, exact):
    """What the report's D object of these values must be, in their own unit."""
    values = sorted(v for v in values if v is not None)
    n = len(values)
    if not n:
        return None
    found = {"count": n, "mean": sum(values) / n, "min": values[0], "max": values[-1]}
    keep = exact and len(set(values)) <= 4096
    for name, (a, b) in QUANTILES.items():
        v = values[-(-n * a // b) - 1]
        found[name] = v if keep else min(max(bucket_middle(v), values[0]), values[-1])
    return found


def assert_close(got, want, unit, where):
    if want is None:
        assert got is None, where
        return
    assert set(got) == set(want), where
    for key, value in want.items():
        scale = 1 if key == "count" else unit
        assert math.isclose(got[key], value * scale, rel_tol=1e-9), (where, key, got[key], value * scale)


def assert_metrics(got, requests, where=""):
    """All D objects of a report's trace or route, against these requests."""
    for name in TIMES:
        values = [r.latency if name == "latency" else r.recorded(name) for r in requests]
        assert_close(got[name], distribution(values, exact=False), 1e-9, (where, name))
    for name in COUNTS:
        values = [getattr(r, name) if hasattr(r, name) else r.more.get(name) for r in requests]
        assert_close(got[name], distribution(values, exact=True), 1, (where, name))


def assert_counts(got, requests):
    errors = sum(r.aborted or r.status >= 500 for r in requests)
    assert (got["requests"], got["errors"]) == (len(requests), errors)


def statuses(requests):
    return {str(s): n for s, n in Counter(r.status for r in requests).items()}
