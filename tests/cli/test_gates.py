"""Verdicts and gates: what is said of a difference, and what a build server is told."""

import json
import math
import random
import xml.etree.ElementTree as ElementTree

import pytest
from reqscope_cli import one_line, run

from make_trace import END, SECOND, START, Request, json_frame, totals, trace

RUNS = 5
RATE = 100  # requests/s
PASS, REGRESSED, MISTAKE, UNDECIDED, NOT_COMPARABLE = range(5)


def noisy(seed, factor=1.0, seconds=20, spread=0.03, errors=0, **more):
    """A run of log-normal times; each run has a little luck of its own. Every `errors`-th request fails."""
    dice = random.Random(seed)
    luck = math.exp(dice.gauss(0, spread))
    return [
        Request(START + i * 1_000_000_000 // RATE, handler=int(1e6 * factor * luck * math.exp(dice.gauss(0, 0.3))),
                queue=20_000, send=5_000, status=500 if errors and i % errors == 0 else 200, **more)
        for i in range(seconds * RATE)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five runs each of the same, of the same again, of 10 % more, of 30 % less; and of another name."""
    path = tmp_path_factory.mktemp("gates")
    kinds = {"base": {}, "same": {}, "slow": {"factor": 1.1}, "fast": {"factor": 0.7}, "failing": {"errors": 50}}
    for kind, how in kinds.items():
        for i in range(RUNS):
            (path / f"{kind}-{i}.rqs").write_bytes(trace(noisy(f"{kind} {i}", **how, route="/a"), label=kind))
    return path


def sides(folder, *kinds, runs=RUNS):
    return [",".join(str(folder / f"{kind}-{i}.rqs") for i in range(runs)) for kind in kinds]


def compare(*args, status=PASS):
    return json.loads(run("compare", "--format", "json", *args, status=status)[0])


def verdicts(value, route=None):
    return {r["metric"]: r["verdict"] for r in value["rows"] if r["route"] == route}


def test_ten_per_cent_are_found(folder):
    value = compare(*sides(folder, "base", "slow"))
    for route in (None, "/a"):
        seen = verdicts(value, route)
        assert (seen["latency_p50"], seen["latency_mean"]) == ("regressed", "regressed")
        assert seen["throughput"] in ("ok", "inconclusive")
    (p50,) = [r for r in value["rows"] if r["metric"] == "latency_p50" and r["route"] is None]
    found = p50["against_base"][1]
    low, high = found["interval"]
    assert found["basis"] == "between-runs" and found["p_adjusted"] <= 0.05
    assert low < 0.1 < high and 0 < found["smallest_detectable"] < 0.1 and p50["runs"] == [RUNS, RUNS]
    assert verdicts(compare(*sides(folder, "base", "fast")))["latency_p50"] == "improved"
    assert verdicts(compare(*sides(folder, "base", "same")))["latency_p50"] in ("ok", "inconclusive")


@pytest.mark.parametrize("gate, new, status", [
    ("p50<=+5%", "slow", REGRESSED),
    ("p50<=+50%", "slow", PASS),
    ("latency_p50<=+5%", "fast", PASS),
    ("GET /a:p50<=+5%", "slow", REGRESSED),
    ("GET /a: p50 <= +2ms", "slow", PASS),
    ("p50<=+10us", "slow", REGRESSED),
    ("mean<=1.5ms", "slow", PASS),
    ("mean<=1ms", "slow", REGRESSED),
    ("throughput>=-5%", "slow", PASS),
    ("throughput>=1000", "slow", REGRESSED),
    ("errors<=+1pp", "failing", REGRESSED),
    ("errors<=+5pp", "failing", PASS),
    ("errors<=1%", "failing", REGRESSED),
    ("errors<=+0.1pp", "same", PASS),
    ("p50<=+0.1%", "same", UNDECIDED),
    ("rss_peak<=100MB", "same", NOT_COMPARABLE),
])  # fmt: skip
def test_gate(folder, gate, new, status):
    value = compare("--gate", gate, *sides(folder, "base", new), status=status)
    (seen,) = value["gates"]
    assert seen["gate"] == gate and seen["passed"] == (status == PASS) and value["exit_status"] == status
    assert value["verdict"] == seen["verdict"]
    text, _ = run("compare", "--gate", gate, *sides(folder, "base", new), status=status)
    assert gate in text and ("passed" if status == PASS else "failed") in text


@pytest.mark.parametrize("gates, options, status", [
    (["mean<=2ms", "p50<=+0.1%"], [], UNDECIDED),
    (["p50<=+0.1%", "rss_peak<=1MB"], [], NOT_COMPARABLE),
    (["rss_peak<=1MB", "p50<=+0.1%", "p50<=1us"], [], REGRESSED),
    (["p50<=+0.1%"], ["--inconclusive=pass"], PASS),
    (["p50<=+0.1%", "p50<=1us"], ["--inconclusive=pass"], REGRESSED),
])  # fmt: skip
def test_which_of_several_gates_counts(folder, gates, options, status):
    words = [word for gate in gates for word in ("--gate", gate)]
    compare(*words, *options, *sides(folder, "base", "same"), status=status)


def test_strict_wants_the_whole_interval_beyond(folder):
    both = sides(folder, "base", "slow")
    compare("--gate", "p50<=+9%", *both, status=REGRESSED)
    compare("--gate", "p50<=+9%", "--strict", *both, status=UNDECIDED)
    compare("--gate", "p50<=+1%", "--strict", *both, status=REGRESSED)


def test_one_run_a_side_decides_when_told_to(folder):
    one = sides(folder, "base", "slow", runs=1)
    (gate,) = compare("--gate", "p50<=+3%", *one, status=UNDECIDED)["gates"]
    assert "--allow-single-run" in gate["why"] and gate["against_base"]["basis"] == "within-run"
    compare("--gate", "p50<=+3%", "--allow-single-run", *one, status=REGRESSED)
    out, _ = run("compare", *one)
    assert "* within these runs" in out


def test_other_loads_are_not_comparable(folder, tmp_path):
    requests = noisy("crowd", seconds=24)
    for r in requests:
        r.time = START + (r.time - START) // 2  # twice the rate
    value = totals(requests, reason="exited")
    value["processes"][0]["connections"]["peak"] = 64
    crowd = tmp_path / "crowd.rqs"
    crowd.write_bytes(trace(requests, end=False) + json_frame(END, value, START + 60 * SECOND))
    args = ["--gate", "p50<=+50%", "--allow-single-run", *sides(folder, "base", runs=1), str(crowd)]
    (gate,) = compare(*args, status=NOT_COMPARABLE)["gates"]
    assert "loads differ" in gate["why"]
    compare("--allow-unmatched-load", *args, status=PASS)


def test_a_tail_that_is_too_thin_is_unresolved(folder):
    short = sides(folder, "base", "same", runs=1)
    value = compare("--gate", "p999<=+5%", "--allow-single-run", *short, status=UNDECIDED)
    assert value["gates"][0]["verdict"] == "unresolved" and verdicts(value)["latency_p999"] == "unresolved"


@pytest.mark.parametrize("gate, says, at", [
    ("p99", "no <= or >=", 3),
    ("p99<5%", "no <= or >=", 3),
    ("p98<=+5%", "no figure 'p98'", 0),
    ("GET /a: p98<=+5%", "no figure 'p98'", 8),
    ("p99<=fast", "'fast' is no number", 5),
    ("p99 <= +5MB", "the unit of latency_p99 is", 9),
    ("p99>=+5%", "use <=", 3),
    ("throughput<=+5%", "use >=", 10),
    ("throughput>=-100%", "leaves nothing", 12),
    ("response_bytes<=+5%", "neither better high nor low", 14),
    ("GET /a:rss_peak<=+5%", "not of a route", 7),
])  # fmt: skip
def test_mistakes(folder, gate, says, at):
    out, err = run("compare", "--gate", gate, *sides(folder, "base", "same"), status=MISTAKE)
    message, shown, caret = err.splitlines()
    assert says in message and shown == "  " + gate and caret == "  " + at * " " + "^" and not out


def test_a_route_that_no_trace_has(folder):
    out, err = run("compare", "--gate", "GET /b:p99<=+5%", *sides(folder, "base", "same"), status=MISTAKE)
    assert "no trace has a route 'GET /b'" in one_line(err) and not out


def test_one_per_cent_is_too_little_to_see(folder):
    (p50,) = [r for r in compare(*sides(folder, "base", "same"))["rows"]
              if r["metric"] == "latency_p50" and r["route"] is None]  # fmt: skip
    found = p50["against_base"][1]
    assert found["verdict"] == "inconclusive" and found["smallest_detectable"] > 0.01 and found["runs_needed"] > 1


def test_more_gates_than_so_few_runs_can_decide(folder):
    figures = ("p50", "p90", "mean", "queue", "throughput", "errors", "max")
    words = [w for f in figures for w in ("--gate", f + (">=-0.01%" if f == "throughput" else "<=+0.01%"))]
    gates = compare(*words, *sides(folder, "base", "slow"), status=UNDECIDED)["gates"]
    assert any("so many gates" in (gate["why"] or "") for gate in gates)


def test_parts_sum_to_the_difference(folder):
    for entry in compare(*sides(folder, "base", "slow"))["attribution"]:
        base, new = entry["latency_mean"]
        moved = sum(part["difference"][1] for part in entry["parts"])
        assert moved == pytest.approx(new - base, abs=1e-12)
        for side in (0, 1):
            assert sum(part["values"][side] or 0 for part in entry["parts"]) == pytest.approx([base, new][side])


def test_histograms_are_the_latencies(folder):
    value = compare(*sides(folder, "base", "slow"))
    for entry in value["histograms"]:
        assert [sum(n for _, n in side) for side in entry["sides"]] == [RUNS * 20 * RATE] * 2


def test_what_build_servers_are_told(folder):
    args = ["--gate", "p50<=+5%", "--gate", "mean<=2ms", *sides(folder, "base", "slow")]
    suite = ElementTree.fromstring(run("compare", "--format", "junit", *args, status=REGRESSED)[0])[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["p50<=+5%"]
    lines = run("compare", "--format", "github", *args, status=REGRESSED)[0].splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::warning", "::error", "::notice"]
    assert "in flight" in lines[0]  # who takes longer has more of them
    assert lines[1].startswith("::error title=p50<=+5%25::") and "\r" not in lines[1]
