"""
`report --sites` on simulated recordings of programs whose allocations, frees and leaks are known: how often the truth
lies in its intervals, and how often a leak is seen where there is one, and where there is none.
"""

import json
import math
from collections import Counter

import numpy
import pytest
from reqscope_cli import run, simulated
from site_traces import HARMLESS, Simulation, arrivals, leak

RUNS = simulated(200)
REQUESTS, MEAN, LEAKED = 2000, 16384, 1024


def record(seed):
    recording = Simulation(REQUESTS, MEAN, numpy.random.default_rng(seed))
    times = arrivals(recording)
    leak(recording, "leak", LEAKED)
    for name, program in HARMLESS.items():
        program(recording, name)
    recording.allocate("of_all_sizes", times, recording.dice.lognormal(6, 2, REQUESTS), times + 0.0003)
    recording.allocate("larger_than_the_mean", times[:40], 6 * MEAN, times[:40] + 0.0003)
    recording.allocate("few_samples", times[:60], 1000, times[:60] + 0.0003)
    return recording


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """(recording, {function: site of the report}) of each run."""
    path, found = tmp_path_factory.mktemp("simulated") / "t.rqs", []
    for seed in range(RUNS):
        recording = record(seed)
        path.write_bytes(recording.bytes())
        out, _ = run("report", "--sites", "--sites-top", "100", "--format", "json", path)
        sites = json.loads(out)["traces"][0]["routes"][0]["sites"]
        found.append((recording, {site["function"]: site for site in sites}))
    return found


def least(share, n):
    """What a share of n may come out as, in all but 1 of 1,000 cases."""
    return share - 3.1 * math.sqrt(share * (1 - share) / n)


def holds(interval, value):
    low, high = interval
    return low * (1 - 1e-9) <= value <= high * (1 + 1e-9)


def test_true_bytes_lie_in_their_intervals(reports):
    held, seen = Counter(), Counter()
    for recording, sites in reports:
        for name, site in sites.items():
            seen[name] += 1
            held[name] += holds(site["bytes_per_request_interval"], recording.true_bytes[name] / REQUESTS)
    for name, n in seen.items():
        assert held[name] / n >= least(0.95, n), (name, held[name], n)
    assert held.total() / seen.total() >= least(0.95, seen.total())


def test_estimates_are_unbiased(reports):
    """Over all runs together, those in which nothing was sampled included."""
    for name in ("leak", "freed_with_the_request", "of_all_sizes", "larger_than_the_mean", "few_samples"):
        got = numpy.array([sites[name]["bytes_per_request"] if name in sites else 0 for _, sites in reports])
        true = numpy.array([recording.true_bytes[name] / REQUESTS for recording, _ in reports])
        difference = got - true
        assert abs(difference.mean()) < 3.3 * difference.std() / math.sqrt(len(reports)), name


def test_what_is_live_lies_in_its_interval(reports):
    for name in ("leak", "cache_half", "least_recently_used", "wandering_queue"):
        held = sum(holds(sites[name]["retained_interval"], recording.true_live[name] / REQUESTS)
                   for recording, sites in reports)  # fmt: skip
        assert held / RUNS >= least(0.95, RUNS), (name, held)


def test_a_leak_is_found_with_its_slope(reports):
    slopes = [sites["leak"]["retained_slope"] for _, sites in reports]
    assert sum(slope is not None and slope["leak"] for slope in slopes) / RUNS >= least(0.95, RUNS)
    held = sum(slope is not None and holds(slope["interval"], LEAKED) for slope in slopes)
    assert held / RUNS >= least(0.95, RUNS)


@pytest.mark.parametrize("name", HARMLESS)
def test_no_leak_where_there_is_none(reports, name):
    """Caches that fill, queues that wander, garbage that is collected late: in fewer than 5 % of the runs."""
    wrong = 0
    for _, sites in reports:
        slope = sites[name]["retained_slope"] if name in sites else None
        wrong += bool(slope and slope["leak"])
    assert wrong / RUNS <= 0.05, wrong
