"""Comparisons: sides of one or several runs, differences, and what is said before any of them."""

import json
import math
import re

import pytest
from reqscope_cli import assert_counts, assert_metrics, report, run
from test_report import some_requests

from make_trace import END, SECOND, START, Request, json_frame, totals, trace


def compare(*args):
    value = json.loads(run("compare", "--format", "json", *args)[0])
    assert value["schema"] == "reqscope.compare/1" and value["verdict"] is None
    return value


def steady(n, gap_us, handler, route="/a", start=START):
    """Requests at a constant rate with a constant time."""
    return [Request(start + i * gap_us * 1000, route=route, queue=0, handler=handler, send=0) for i in range(n)]


def rows_of(value, route=None):
    return {r["metric"]: r for r in value["rows"] if r["route"] == route}


def findings(value):
    return {f["id"] for f in value["preflight"]}


def test_values_and_differences(write):
    base, new = write("old", steady(1001, 1000, 1024)), write("new", steady(2001, 500, 2048))
    value = compare(base, new)
    assert [(s["label"], s["runs"], s["files"]) for s in value["sides"]] == [
        ("old", 1, [str(base)]), ("new", 1, [str(new)])]  # fmt: skip
    for route in (None, "/a"):
        rows = rows_of(value, route)
        p50 = rows["latency_p50"]
        assert p50["unit"] == "s" and p50["better"] == "lower" and p50["verdict"] is None
        assert math.isclose(p50["values"][1] / p50["values"][0], 2, rel_tol=1e-3)
        assert p50["difference"] == [None, pytest.approx(p50["values"][1] - p50["values"][0])]
        assert p50["relative"] == [None, pytest.approx(1, rel=1e-3)]
        assert rows["throughput"]["better"] == "higher"
        assert rows["throughput"]["relative"][1] == pytest.approx(1, rel=1e-2)
        assert ("rss_peak" in rows, "alloc_bytes_mean" in rows) == (False, False)  # nowhere measured
    out, _ = run("compare", base, new)
    assert "could not have been seen" not in out  # nothing is known of how such short runs vary
    assert re.search(r"new against old: throughput 2\.00x higher; p50 2\.00x slower", out)
    assert re.search(r"p50 +1\.02 µs +2\.05 µs +\+100\.0 % +2\.00x slower", out)


def test_a_side_of_several_runs_is_their_exact_sum(write, tmp_path):
    runs = [some_requests(300 + i, seed=i) for i in range(4)]
    paths = [write(f"run-{i}", r) for i, r in enumerate(runs)]
    other = write("x", some_requests(10))
    every = [r for requests in runs for r in requests]
    for side in (",".join(map(str, paths)), tmp_path / "run-*.rqs", f"run={tmp_path}/run-*.rqs"):
        value = compare(other, side)["sides"][1]
        assert (value["label"], value["runs"], value["files"]) == ("run", 4, list(map(str, paths)))
        assert_counts(value, every)
        assert_metrics(value, every)
        singles = report(*paths)
        assert value["duration"] == pytest.approx(sum(t["duration"] for t in singles))
        assert value["throughput"] == pytest.approx(len(every) / value["duration"])
        assert value["completeness"]["finished"] == len(every)


def test_names(write):
    a, b = write("a", steady(10, 1000, 1024), label="from the trace"), write("b", steady(10, 1000, 1024))
    labels = [s["label"] for s in compare(a, f"Second={b}", b, b, a)["sides"]]
    assert labels[:3] == ["from the trace", "Second", "b"]
    assert len(set(labels)) == 5


def test_seven_sides_are_one_neat_table(write):
    names = ["Gin", "Fiber", "Echo", "FastAPI", "Django", "Flask", "Express"]
    sides = [f"{n}={write(n, steady(100, 1000 + i, 1024 * (i + 1)))}" for i, n in enumerate(names)]
    out, _ = run("compare", *sides)
    table = out.split("\n\n")[2].splitlines()
    assert table[0].split()[:4] == ["REQUESTS/S", "MEAN", "p50", "p99"]
    assert [line.split()[0] for line in table[1:]] == names
    assert max(len(line) for line in out.splitlines() if "/" not in line or line.startswith("  GET")) <= 110
    assert "As a multiple of Gin" in out


def test_of_many_sides_multiples_that_may_be_chance_are_marked(write):
    """Two runs a side: what differs by much more than the runs do is sure at best of two as alike as two peas."""
    def side(name, gaps, handler):
        return f"{name}=" + ",".join(str(write(f"{name}-{i}", steady(9000, gap, handler))) for i, gap in enumerate(gaps))

    steadily = side("slow", range(2000, 2005), 4096)
    out, _ = run("compare", side("base", range(1000, 1005), 1024), side("like", range(1001, 1006), 1024), steadily,
                 side("wild", (600, 900, 1000, 1100, 1300), 1024))  # fmt: skip
    multiples = {line.split()[0]: line for line in out.partition("As a multiple of base")[2].splitlines() if "x" in line}
    assert re.match(r" *slow +0\.50x +4\.0\dx +4\.0\dx ", multiples["slow"])
    assert re.match(r" *wild +[01]\.\d\dx ~", multiples["wild"])
    assert re.match(r" *like +1\.00x +1\.00x ", multiples["like"])
    assert "~ may be chance" in out
    few, _ = run("compare", side("one", range(1000, 1005), 1024), side("two", range(800, 1300, 100), 1024))
    assert "~" not in few  # there each verdict has its line


def test_sides_that_differ_from_the_base_are_one_finding(write):
    def processes(name, count):
        return write(name, [Request(START + i * 1_000_000, process=i % count) for i in range(100)])

    value = compare(*(processes(name, count) for name, count in (("a", 1), ("b", 2), ("c", 1), ("d", 3))))
    assert [f["text"] for f in value["preflight"] if f["id"] == "processes"] == [
        "different numbers of processes: 1 of a, 2 of b, 3 of d"]  # fmt: skip


def test_loads_that_differ_from_the_base_are_one_finding(write, tmp_path):
    def side(name, gap, peak):
        requests = steady(1000, gap, 1024)
        value = totals(requests, reason="exited")
        value["processes"][0]["connections"]["peak"] = peak
        path = tmp_path / f"{name}.rqs"
        path.write_bytes(trace(requests, end=False) + json_frame(END, value, START + 60 * SECOND))
        return path

    value = compare(side("a", 1000, 8), side("b", 500, 16), side("c", 500, 8), side("d", 2000, 32))
    (found,) = (f["text"] for f in value["preflight"] if f["id"] == "load_not_matched")
    assert re.fullmatch(r"load not matched: a 1,00\d/s over at most 8 connections, b 2,00\d/s over at most 16 connections, "
                        r"d 50\d/s over at most 32 connections; their latencies are not like for like", found)  # fmt: skip


def test_a_route_that_one_side_lacks(write):
    base, new = write("a", steady(50, 1000, 1024)), write("b", steady(50, 1000, 1024, route="/b"))
    value = compare(base, new)
    values = rows_of(value, "/b")["latency_p50"]["values"]
    assert values[0] is None and values[1] > 0
    assert "route_mix" in findings(value)
    assert "different route mix" in run("compare", base, new)[0]


def test_preflight(write, tmp_path):
    base = write("base", steady(1000, 1000, 1024))
    assert findings(compare(base, base)) == {"single_runs"}
    again = write("again", steady(1000, 1000, 1024), start_realtime_ns="1767225700000000000")
    two = write("two", steady(1000, 1000, 1024), start_realtime_ns="1767225800000000000")
    assert findings(compare(f"{base},{again}", f"{two},{again}")) == set()
    assert findings(compare(f"{base},{again}", base)) == {"single_runs"}
    assert findings(compare(f"{base},{base}", f"{two},{again}")) == {"repeated_run"}
    host = {"kernel": "6.1.0", "cpu": "Another CPU", "cpus": 4, "memory_bytes": 8 << 30}
    other = write("other", steady(1000, 1000, 1024), host=host, agent_version="9.9")
    assert findings(compare(base, other)) == {"host_cpu", "host_cpus", "agent_version", "single_runs"}
    warm = write("warm", steady(1000, 1000, 1024), mode="attach")
    assert findings(compare(base, warm)) == findings(compare(warm, base)) == {"attached", "single_runs"}
    assert findings(compare(warm, write("hot", steady(1000, 1000, 1024), mode="attach"))) == {"single_runs"}
    # In a closed loop the rate follows the latency: different connections make it another load.
    faster = steady(1000, 500, 1024)
    assert "load_not_matched" not in findings(compare(base, write("faster", faster)))
    value = totals(faster, reason="exited")
    value["processes"][0]["connections"]["peak"] = 64
    value["completeness"] = {**value["completeness"], "started": 1005, "dropped": 5}
    path = tmp_path / "crowd.rqs"
    path.write_bytes(trace(faster, end=False) + json_frame(END, value, START + 60 * SECOND))
    assert "load_not_matched" in findings(compare(base, path))
    out, _ = run("compare", base, path)
    assert "! load not matched: base 1,0" in out and "! crowd: 5 requests were served but not recorded" in out


def test_latencies_that_begin_elsewhere_are_told(write):
    def side(name, read):
        return write(name, [Request(START + i * 1_000_000, queue=None if i % 100 < read else 0, handler=1000, send=0)
                            for i in range(1000)])  # fmt: skip

    base, few, many = side("base", 0), side("few", 1), side("many", 25)
    assert "latency_from" not in findings(compare(base, few))
    (found,) = (f["text"] for f in compare(base, few, many)["preflight"] if f["id"] == "latency_from")
    assert found == ("latencies begin with the read, not with the arrival in the kernel: 0.0 % of base, 25.0 % of many; "
                     "what those waited before isn't in them")  # fmt: skip


@pytest.mark.parametrize("form", ["md", "html"])
def test_forms(write, form):
    base, new = write("a", steady(100, 1000, 1024)), write("b", steady(100, 1000, 2048), label="<b>|")
    out, _ = run("compare", "--format", form, base, new)
    assert "2.00x slower" in out and "<b>|" not in out
    assert out.count("<script") == (form == "html")  # its own
