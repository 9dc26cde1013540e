"""A recorded server compared with itself, 200 times: how often a difference is seen that isn't there.

20 runs are dealt out to two sides of five in 200 ways; each is what a user who measured old and new would have had. The
runs last RQS_SAME_SECONDS each (`make same-server`: 12, as fewer segments say nothing of tails).
"""

import itertools
import json
import os
import random
import subprocess

import load
import pytest
from recording import REQSCOPE, ended_trace, recorded

RUNS, SIDE, COMPARISONS = 20, 5, 200
SECONDS = int(os.environ.get("RQS_SAME_SECONDS", "12"))
FIGURES = ("latency_p50", "latency_p99", "latency_mean", "throughput")
LEVEL = 0.05
CHANCE = 3 * (LEVEL * (1 - LEVEL) / COMPARISONS) ** 0.5


@pytest.fixture(scope="module", params=("nethttp", "fastapi-uvloop"))
def runs(request, tmp_path_factory):
    """Alternated like any others': one server a run."""
    folder = tmp_path_factory.mktemp(request.param)
    traces = []
    for i in range(RUNS):
        trace = folder / f"{i}.rqs"
        with recorded(request.param, trace, "run") as server:
            load.timed(server.url + "/json", clients=8, seconds=SECONDS)
        ended_trace(trace)
        traces.append(str(trace))
    return traces


def verdicts(base, new, *options):
    done = subprocess.run([REQSCOPE, "compare", "--format", "json", *options, ",".join(base), ",".join(new)],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    rows = [r for r in json.loads(done.stdout)["rows"] if r["route"] is None]
    return {r["metric"]: r["verdict"] for r in rows if r["metric"] in FIGURES}


def alarms(pairs, *options):
    """Of how many pairs any figure is said to differ."""
    return sum(any(v in ("regressed", "improved") for v in verdicts(*pair, *options).values()) for pair in pairs)


def test_five_against_five(runs):
    dice = random.Random(1)
    pairs = []
    for _ in range(COMPARISONS):
        drawn = dice.sample(runs, 2 * SIDE)
        pairs.append((drawn[:SIDE], drawn[SIDE:]))
    seen = alarms(pairs)
    print(f"{seen} of {COMPARISONS} comparisons of five runs with five")
    assert seen / COMPARISONS <= LEVEL + CHANCE


def test_one_against_one(runs):
    """What differs between runs isn't known from one; how often that alarms is printed, and the report says so."""
    pairs = [([a], [b]) for a, b in itertools.combinations(runs, 2)]
    print(f"{alarms(pairs)} of {len(pairs)} comparisons of one run with one, within the runs")
