"""Comparisons at their edges: nothing in common, nothing at all, too little, too much, and names made to hurt."""

import json
import math
import random
import resource
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from reqscope_cli import REQSCOPE, bucket_middle, one_line, run

import make_trace as make
from make_trace import END, SECOND, START, Request, json_frame, totals, trace

PASS, REGRESSED, MISTAKE, UNDECIDED, NOT_COMPARABLE = range(5)


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
    ("p99<=1s", "fast", PASS, "ok"),
    ("p99<=0.1ms", "fast", REGRESSED, "regressed"),
])  # fmt: skip
def test_gates_that_ask_for_something_better(five, gate, new, status, verdict):
    """An improvement that is asked for must be there."""
    (seen,) = compare("--gate", gate, five["base"], five[new], status=status)["gates"]
    assert (seen["verdict"], seen["passed"]) == (verdict, status == PASS)


def test_a_limit_of_a_thin_tail(five):
    """Two requests of one run are beyond p99.9."""
    one = [five[side].split(",")[0] for side in ("base", "fast")]
    assert [g[0] for g in gates_of(compare("--gate", "p999<=1s", *one, status=UNDECIDED))] == ["unresolved"]


def test_a_route_with_a_comparison_in_it(write):
    path = write("odd", steady(2000, route="/a<=b>=c:d"))
    (seen,) = compare("--allow-single-run", "--gate", "GET /a<=b>=c:d:p50<=+5%", path, path)["gates"]
    assert seen["verdict"] == "ok"


# ---- too little ----


@pytest.mark.parametrize("gate", ["p50<=+5%", "throughput>=-5%", "errors<=+1pp", "mean<=1s", "queue<=+1ms"])
def test_a_side_without_requests(write, gate):
    """Such as one whose window leaves nothing."""
    full, empty = write("full", steady(2000)), write("empty", [], samples=[{"time": START + i * 10**8, "rss": 1000,
                       "cpu_user": i, "cpu_system": i} for i in range(20)])  # fmt: skip
    seen = gates_of(compare("--gate", gate, full, empty, status=NOT_COMPARABLE))
    assert seen == [("not comparable", False, "no requests of this side")]
    value = compare("--gate", gate, empty, full, status=PASS if gate == "mean<=1s" else NOT_COMPARABLE)
    assert value["sides"][0]["requests"] == 0 and row(value, "throughput")["against_base"][1]["basis"] is None
    compare("--gate", gate, empty, empty, status=NOT_COMPARABLE)
    for form in ("text", "md", "html", "junit", "github"):
        out, err = run("compare", "--format", form, full, empty)
        assert "nan" not in out.lower().replace("nanosecond", "") and not err
    run("compare", "--skip", 3600, full, full)


def test_no_route_in_common(write):
    a, b = write("a", steady(2000)), write("b", steady(2000, route="/b"))
    options = ["--allow-single-run", "--gate"]
    assert gates_of(compare(*options, "GET /a:p50<=+5%", a, b, status=NOT_COMPARABLE)) == [
        ("not comparable", False, "not measured of this side")]  # fmt: skip
    assert gates_of(compare(*options, "GET /b:p50<=+5%", a, b, status=NOT_COMPARABLE)) == [
        ("not comparable", False, "not measured of the base")]  # fmt: skip
    ((verdict, _, why),) = gates_of(compare(*options, "p50<=+5%", a, b, status=NOT_COMPARABLE))
    assert verdict == "not comparable" and "route mixes differ" in why
    compare("--allow-unmatched-load", *options, "p50<=+5%", a, b)
    compare(*options, "throughput>=-5%", a, b)


@pytest.mark.parametrize("requests", [
    [Request(START)],
    [Request(START, queue=0, handler=0, send=0)],
    [Request(START, handler=None, send=None, aborted=True)],
    [Request(START), Request(START)],
    [Request(START, handler=5 * 3600 * SECOND)],
    [Request(START + i * 1000, handler=7200 * SECOND) for i in range(20)],
    [Request(START + 900_000_000 - i * 100_000_000, handler=1000) for i in range(9)],
], ids=["one", "of no time", "aborted", "at once", "hours", "twenty of hours", "backwards"])  # fmt: skip
def test_hardly_anything(write, requests):
    """Values are told, intervals aren't, and nothing is called different."""
    path, other = write("a", requests), write("b", steady(1500))
    for sides in ((path, path), (path, other), (other, path)):
        value = compare(*sides)
        for r in value["rows"]:
            known = r["against_base"][1]
            assert known["verdict"] in (None, "unresolved") and known["interval"] is None, r
        for form in ("text", "md", "html"):
            out, err = run("compare", "--format", form, *sides)
            assert not err and "nan" not in out.lower().replace("nanosecond", "")
    assert gates_of(compare("--gate", "p50<=+5%", "--allow-single-run", path, path, status=UNDECIDED if
                            requests[0].handler is not None else NOT_COMPARABLE))  # fmt: skip


def test_a_rate_is_within_its_interval(write):
    """Also where the last responses come long after the last arrivals."""
    requests = steady(2000)
    for r in requests[-5:]:
        r.handler = 60 * SECOND
    value = compare(write("a", requests), write("b", steady(2000)))
    throughput = row(value, "throughput")
    for side in (0, 1):
        low, high = throughput["intervals"][side]
        assert low <= throughput["values"][side] * (1 + 1e-9) and throughput["values"][side] <= high * (1 + 1e-9)
    estimate = throughput["against_base"][1]["estimate"]
    assert estimate == pytest.approx(throughput["relative"][1], rel=1e-6)


def test_a_cut_and_a_damaged_side(write, tmp_path):
    good = write("good", steady(2000), rows=500)
    cut, bad = tmp_path / "cut.rqs", tmp_path / "bad.rqs"
    cut.write_bytes(trace(steady(2000), rows=500, end=False))
    gate = ["--gate", "mean<=1us"]
    out, err = run("compare", "--format", "json", *gate, good, cut, status=REGRESSED)
    assert "no end frame" in one_line(err) and json.loads(out)["sides"][1]["truncated"]
    bad.write_bytes(good.read_bytes()[:-100])
    out, err = run("compare", "--format", "json", *gate, good, bad, status=MISTAKE)
    assert "readable part" in one_line(err) and json.loads(out)["exit_status"] == MISTAKE
    out, err = run("compare", *gate, good, tmp_path / "none.rqs", status=MISTAKE)
    assert not out and "none.rqs" in one_line(err)


def test_no_errors_and_some(write):
    """A ratio to nothing is none: then it is a difference."""
    runs = {n: [write(f"{n}{i}", [Request(r.time, handler=r.handler, status=500 if n == "some" and k % 40 == i else 200)
            for k, r in enumerate(noisy(i))]) for i in range(5)] for n in ("none", "some")}  # fmt: skip
    for count, options in ((5, []), (1, ["--allow-single-run"])):
        sides = [",".join(map(str, runs[n][:count])) for n in ("none", "some")]
        value = compare(*options, "--gate", "errors<=+5%", "--gate", "errors<=+5pp", *sides, status=REGRESSED)
        seen = row(value, "error_rate")
        assert seen["relative"] == [None, None] and seen["values"] == [0, pytest.approx(0.025)]
        found = seen["against_base"][1]
        assert (found["relative"], found["estimate"]) == (False, pytest.approx(0.025)) and found["verdict"] == "regressed"
        assert [g[0] for g in gates_of(value)] == ["regressed", "ok"]
        compare(*options, "--gate", "errors<=+0.1%", sides[0], sides[0])


# ---- whether sides are alike ----


def findings(*sides):
    return {f["id"]: f["text"] for f in compare(*sides)["preflight"]}


def test_what_may_differ_besides(write, tmp_path):
    base = write("base", steady(2000), start_realtime_ns="1767225600000000001")
    slow = write("slow", steady(2000, handler=1_000_000))
    assert "in flight" in findings(base, slow)["in_flight"]
    other = {"kernel": "6.1.0", "cpu": "Some CPU", "cpus": 64, "memory_bytes": 8 << 30}
    third = write("third", steady(2000), host=other, start_realtime_ns="1767225600000000002")
    assert "64" in findings(f"{base},{third}", f"{base},{slow}")["host_cpus"]
    assert "64" in findings(base, f"{base},{third}")["host_cpus"]
    workers = write("workers", [Request(r.time, handler=r.handler, process=i % 4) for i, r in enumerate(steady(2000))])
    assert "4" in findings(base, workers)["processes"]
    same = write("copy", steady(2000), start_realtime_ns="1767225600000000001")
    assert "copy.rqs" in findings(f"{base},{same}", base)["repeated_run"]


@pytest.mark.parametrize("rate, peak, alike", [
    (1.09, 64, True), (1.12, 64, False), (1.12, 3, True), (0.5, 3, True), (0.89, 4, False), (2, 0, False),
])  # fmt: skip
def test_load_is_alike_by_rate_or_connections(write, tmp_path, rate, peak, alike):
    requests = steady(2000, gap_us=round(10_000 / rate))
    value = totals(requests, reason="exited")
    value["processes"][0]["connections"]["peak"] = peak
    path = tmp_path / "new.rqs"
    path.write_bytes(trace(requests, end=False) + json_frame(END, value, START + 60 * SECOND))
    base = write("base", steady(2000))
    if peak == 0:
        base.write_bytes(path.read_bytes())
        path.write_bytes(trace(steady(2000), end=False) + json_frame(END, value, START + 60 * SECOND))
    assert ("load_not_matched" in findings(base, path)) == (not alike)


@pytest.mark.parametrize("share, alike", [(2, True), (3, False)])
def test_route_shares(write, share, alike):
    def mixed(part):
        return [Request(r.time, handler=r.handler, route="/a" if i % 100 >= part else "/b")
                for i, r in enumerate(steady(2000))]  # fmt: skip

    sides = write("base", mixed(10)), write("new", mixed(10 + share))
    assert ("route_mix" in findings(*sides)) == (not alike)
    gate = ["--allow-single-run", "--gate"]
    compare(*gate, "p50<=+50%", *sides, status=PASS if alike else NOT_COMPARABLE)
    compare(*gate, "GET /a:p50<=+50%", *sides)


# ---- every number, counted again ----


def quantile(values, a, b):
    values = sorted(values)
    return min(max(bucket_middle(values[-(-len(values) * a // b) - 1]), values[0]), values[-1])


def figures_of(requests, duration):
    latencies = [r.latency for r in requests if r.latency is not None]
    found = {"throughput": len(requests) / duration,
             "error_rate": sum(r.aborted or r.status >= 500 for r in requests) / len(requests),
             "latency_mean": sum(latencies) / len(latencies) / 1e9, "latency_max": max(latencies) / 1e9}  # fmt: skip
    for name, part in {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p999": (999, 1000)}.items():
        found["latency_" + name] = quantile(latencies, *part) / 1e9
    for name in ("queue", "cpu_time", "sched_wait", "gil_wait"):
        values = [v for v in (r.recorded(name) for r in requests) if v is not None]
        if values:
            found[name + "_mean"] = sum(values) / len(values) / 1e9
    for name in ("request_bytes", "response_bytes"):
        found[name + "_mean"] = sum(getattr(r, name) for r in requests) / len(requests)
    for name in ("alloc_bytes", "alloc_count"):
        values = [r.more[name] for r in requests if r.more.get(name) is not None]
        if values:
            found[name + "_mean"] = sum(values) / len(values)
    return found


def parts_of(requests, share):
    """Means of the slowest; exact only where no bucket is cut, as with all."""
    kept = [r for r in requests if r.latency is not None]
    parts = {p: sum(r.recorded(p) or 0 for r in kept) / len(kept) / 1e9
             for p in ("queue", "cpu_time", "sched_wait", "gil_wait", "downstream", "send")}  # fmt: skip
    return parts, sum(r.latency for r in kept) / len(kept) / 1e9


def measured(seed, n=3000):
    """Of everything a bit; the parts stay within the latency."""
    dice = random.Random(seed)
    made = []
    for i in range(n):
        handler = make.dequantise(make.quantise(int(dice.lognormvariate(13 + seed * 0.2, 0.5))))
        made.append(Request(
            START + i * 5_000_000, route=dice.choice(["/a", "/b", "/c"]), handler=handler, aborted=dice.random() < 0.01,
            queue=None if dice.random() < 0.1 else dice.randrange(500), send=dice.randrange(500),
            status=dice.choice([200] * 50 + [404, 500]), request_bytes=dice.randrange(80, 200),
            response_bytes=dice.randrange(100, 900), more={
                "cpu_time": make.dequantise(make.quantise(handler // 3)), "alloc_bytes": dice.randrange(10_000),
                "sched_wait": make.dequantise(make.quantise(handler // 5)) if dice.random() < 0.9 else None,
                "alloc_count": None if dice.random() < 0.2 else dice.randrange(100),
            }))  # fmt: skip
    return made


def test_every_number_again(write):
    """By a second implementation: values, differences, intervals, parts, histograms, of the whole and of each route."""
    runs = [[measured(side + 10 * i) for i in range(2)] for side in range(3)]
    sides = [",".join(str(write(f"{s}-{i}", r)) for i, r in enumerate(side)) for s, side in enumerate(runs)]
    value = compare(*sides)
    every = [[r for run_ in side for r in run_] for side in runs]
    for r in value["rows"]:
        wanted = []
        for side, given in zip(every, value["sides"]):
            some = [q for q in side if r["route"] in (None, q.route)]
            wanted.append(figures_of(some, given["duration"])[r["metric"]])
        base = wanted[0]
        assert r["values"] == pytest.approx(wanted, rel=1e-9), r["metric"]
        assert r["difference"][1:] == pytest.approx([w - base for w in wanted[1:]], rel=1e-6, abs=1e-15)
        assert r["relative"][1:] == pytest.approx([w / base - 1 for w in wanted[1:]], rel=1e-6, abs=1e-12)
        assert r["difference"][0] is None and r["relative"][0] is None and r["runs"] == [2, 2, 2]
        for v, interval in zip(r["values"], r["intervals"]):
            assert interval is None or interval[0] <= v * (1 + 1e-9) and v <= interval[1] * (1 + 1e-9), r
        for i in (1, 2):
            low, high = r["against_base"][i]["interval"]
            assert low <= r["against_base"][i]["estimate"] <= high
    assert len(value["rows"]) == 4 * len(figures_of(every[0], 1))
    for entry in value["attribution"]:
        for i, side in enumerate(every):
            told = {p["part"]: p["values"][i] for p in entry["parts"]}
            assert math.fsum(v or 0 for v in told.values()) == pytest.approx(entry["latency_mean"][i], rel=1e-9)
            assert all(v is None or v >= 0 for v in told.values())
            some = [q for q in side if entry["route"] in (None, q.route)]
            if entry["share"] == 1:
                parts, latency = parts_of(some, 1)
                assert entry["latency_mean"][i] == pytest.approx(latency, rel=1e-9)
                assert all(told[p] == (pytest.approx(v, rel=1e-9) if v else None) for p, v in parts.items())
            else:
                slowest = sorted((q.latency for q in some if q.latency is not None), reverse=True)
                n = math.ceil(len(slowest) / 100)
                assert entry["latency_mean"][i] == pytest.approx(sum(slowest[:n]) / n / 1e9, rel=0.03)
        for i in (1, 2):
            moved = math.fsum(p["difference"][i] for p in entry["parts"])
            assert moved == pytest.approx(entry["latency_mean"][i] - entry["latency_mean"][0], abs=1e-12)
    for entry in value["histograms"]:
        for i, side in enumerate(every):
            latencies = [q.latency for q in side if q.latency is not None and entry["route"] in (None, q.route)]
            buckets = {}
            for v in latencies:
                bound = 2 ** (math.ceil(256 * math.log2(v) - 1e-12) / 256) / 1e9
                buckets[round(bound * 1e12)] = buckets.get(round(bound * 1e12), 0) + 1
            assert {round(b * 1e12): n for b, n in entry["sides"][i]} == buckets


# ---- names ----


HOSTILE = ["<script>alert(1)</script>", "a|b", "`x`", "new\nline\r\x1b[31m", "::error title=x::y", "]]>&amp;\"'", "\u202egnp",
           "%0A::error::x", "=1+1", "\x00", "ü€", "nul"]  # fmt: skip


def test_hostile_names_in_every_format(write):
    """As many sides as there are names, and each name a route, too."""
    requests = [[Request(r.time, handler=r.handler, route=f"/{name}") for name, r in zip(HOSTILE * 100, steady(1200))]
                for _ in HOSTILE]  # fmt: skip
    sides = [write(f"s{i}", made, label=name) for i, (name, made) in enumerate(zip(HOSTILE, requests))]
    gates = ["--allow-single-run", "--gate", "p50<=+50%"]
    value = compare(*gates, *sides)
    assert len(value["sides"]) == 12 and len({s["label"] for s in value["sides"]}) == 12
    for form in ("text", "md", "html", "junit", "github"):
        out, err = run("compare", "--format", form, *gates, *sides)
        assert not err and "\x1b" not in out and "\x00" not in out and "\r" not in out
        assert "<script>alert" not in out if form in ("html", "md", "junit") else True
        if form == "junit":
            ElementTree.fromstring(out)
        if form == "github":
            assert all(line.startswith(("::warning title=", "::notice title=")) for line in out.splitlines())
