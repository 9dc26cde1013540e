"""Comparisons at their edges: nothing in common, nothing at all, too little, too much, and names made to hurt."""

import json
import random
import resource
import subprocess

import pytest
from reqscope_cli import REQSCOPE, one_line, run

from make_trace import SECOND, START, Request, trace

PASS, REGRESSED, MISTAKE, UNDECIDED, NOT_COMPARABLE = range(5)


@pytest.fixture
def write(tmp_path):
    def write_trace(name, requests, **more):
        path = tmp_path / f"{name}.rqs"
        path.write_bytes(trace(requests, **more))
        return path

    return write_trace


def steady(n, gap_us=10_000, handler=100_000, route="/a", start=START, **more):
    """Requests at a constant rate, of nearly a constant time."""
    return [Request(start + i * gap_us * 1000, route=route, queue=0, handler=handler + i % 7 * 512, send=0, **more)
            for i in range(n)]  # fmt: skip


def noisy(seed, factor=1.0, seconds=20, rate=100, spread=0.03, routes=("/a",), slow=(), start=START):
    """A run of log-normal times with a little luck of its own; `slow` routes take twice as long."""
    dice = random.Random(seed)
    luck = dice.lognormvariate(0, spread)
    made = []
    for i in range(seconds * rate):
        route = dice.choice(routes)
        handler = int(1e6 * factor * luck * (2 if route in slow else 1) * dice.lognormvariate(0, 0.3))
        made.append(Request(start + i * SECOND // rate, route=route, handler=handler, queue=20_000, send=5_000))
    return made


def compare(*args, status=PASS):
    value = json.loads(run("compare", "--format", "json", *args, status=status)[0])
    assert value["exit_status"] == status
    return value


def gates_of(value):
    return [(g["verdict"], g["passed"], g["why"] or "") for g in value["gates"]]


def row(value, metric, route=None):
    (found,) = [r for r in value["rows"] if r["metric"] == metric and r["route"] == route]
    return found


# ---- much of it ----


def limited(*args, megabytes=256):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    done = subprocess.run([REQSCOPE, *map(str, args)], capture_output=True, timeout=120, preexec_fn=limit)
    return done.returncode, done.stdout, done.stderr.decode()


def test_many_routes_and_runs_stay_apart_in_little_memory(write):
    """200 routes in 15 runs: each keeps its rows."""
    routes = [f"/{a}/{b}" for a in "abcdefghij" for b in "klmnopqrstuvwxyzABCD"]
    names = ("cpu_time", "sched_wait", "gil_wait", "loop_delay", "downstream", "children_cpu_time")
    sides = []
    for side in "xyz":
        dice, runs = random.Random(side), []
        for i in range(5):
            times = [{k: dice.randrange(1 << 16, 1 << 19) for k in names} for _ in range(50)]
            requests = [
                Request(START + k * 5_000_000, route=routes[k % 200], handler=1 << k // 200 % 4 + 17, queue=k, send=k,
                        more=dice.choice(times)) for k in range(4000)
            ]  # fmt: skip
            runs.append(str(write(f"{side}-{i}", requests, rows=4000)))
        sides.append(",".join(runs))
    status, out, err = limited("compare", "--format", "json", *sides)
    assert (status, err) == (0, "")
    value = json.loads(out)
    for side in value["sides"]:
        assert len(side["routes"]) == 200 and not any(n["what"] == "routes" for n in side["not_measured"])
    assert row(value, "latency_mean", "/a/k")["runs"] == [5, 5, 5]


def test_the_same_on_every_run_and_in_any_order(write):
    """Intervals and p values, too."""
    dice = random.Random(1)
    runs = [str(write(f"r{i}", noisy(i, dice.uniform(0.9, 1.1), routes="abc", start=START))) for i in range(7)]
    sides = [runs[:4], runs[4:]]
    gate = ["--gate", "p50<=+500%", "--gate", "mean<=+9ms"]
    for form in ("json", "text", "md", "html"):
        whole = {run("compare", "--format", form, *gate, *(n + ",".join(s) for n, s in zip(("a=", "b="), order)))[0]
                 for order in (sides, sides, [sides[0][::-1], sides[1][::-1]])}  # fmt: skip
        assert len(whole) == 1, form


# ---- what is decided ----


def test_one_slow_route_among_twenty_is_seen(write):
    """Its few rows, among hundreds that are as they were: of five runs a side, and of one run a side."""
    routes = [f"/{c}" for c in "abcdefghijklmnopqrst"]
    runs = {
        side: [str(write(f"{side}{i}", noisy(f"{side}{i}", routes=routes, slow=slow, rate=200, start=START)))
               for i in range(5)] for side, slow in (("old", ()), ("same", ()), ("new", ("/k",)))
    }  # fmt: skip
    for old, new in (("old", "new"), ("old", "same")):
        for n in (5, 1):
            value = compare(",".join(runs[old][:n]), ",".join(runs[new][:n]))
            seen = {r["route"] for r in value["rows"] if r["verdict"] in ("regressed", "improved")}
            seen -= {None}
            assert "/k" in seen and len(seen) <= 2 if new == "new" else not seen, (new, n, seen)
            for r in value["rows"]:
                found = r["against_base"][1]
                assert found["p"] is None or found["p_adjusted"] is None or found["p_adjusted"] >= found["p"]
            assert row(value, "latency_mean", "/k")["verdict"] != ("ok" if new == "new" else "regressed")


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Sides of five runs: as they were, 30 % faster, 30 % slower."""
    folder, sides = tmp_path_factory.mktemp("five"), {}
    for name, factor in (("base", 1), ("fast", 0.7), ("slow", 1.3)):
        paths = []
        for i in range(5):
            paths.append(folder / f"{name}-{i}.rqs")
            paths[-1].write_bytes(trace(noisy(f"{name}{i}", factor)))
        sides[name] = ",".join(map(str, paths))
    return sides


@pytest.mark.parametrize("gate, new, status, verdict", [
    ("p50<=-10%", "fast", PASS, "improved"),
    ("p50<=-25%", "fast", UNDECIDED, "inconclusive"),
    ("p50<=-50%", "fast", REGRESSED, "regressed"),
    ("p50<=-10%", "slow", REGRESSED, "regressed"),
    ("p50<=-0.1ms", "fast", PASS, "improved"),
    ("p50<=-0.8ms", "fast", REGRESSED, "regressed"),
    ("p50<=-0.1ms", "slow", REGRESSED, "regressed"),
    ("p50<=+1ms", "slow", PASS, "ok"),
    ("throughput>=+20%", "fast", REGRESSED, "regressed"),
    ("throughput>=+20/s", "fast", REGRESSED, "regressed"),
    ("throughput>=-20/s", "fast", PASS, "ok"),
    ("p999<=1s", "fast", UNDECIDED, "unresolved"),
])  # fmt: skip
def test_gates_that_ask_for_something_better(five, gate, new, status, verdict):
    """An improvement that is asked for must be there."""
    (seen,) = compare("--gate", gate, five["base"], five[new], status=status)["gates"]
    assert (seen["verdict"], seen["passed"]) == (verdict, status == PASS)
