"""What a trace tells of Go's runtime: heap, collections, goroutines; and of programs that ran unhooked."""

import json
import math
import re

import pytest
from reqscope_cli import report, run

from make_trace import END, SECOND, START, Request, json_frame, process_frame, requests_frame, run_frame, samples_frame
from make_trace import totals

MB = 1_000_000
FIGURES = ("heap_in_use", "heap_goal", "goroutines", "gc_cycles", "gc_pause")
COLUMNS = ("heap_in_use", "heap_goal", "goroutines", "gc_cycles", "gc_pause_total")


def go_samples(process=0, without=()):
    """10 s of them; in each second 5 collections, that stop the program for 2 ms."""
    for tenth in range(1, 101):
        sample = {"time": START + tenth * SECOND // 10 + process * 1000, "process": process, "rss": 50 * MB,
                  "heap_in_use": (10 + tenth % 3) * MB, "heap_goal": 20 * MB, "gc_cycles": tenth // 2,
                  "gc_pause_total": tenth * 200_000, "goroutines": 12 if tenth != 50 else 1013}  # fmt: skip
        yield {k: v for k, v in sample.items() if k not in without}


def go_trace(samples, *, runtimes=("go",), unplaced=None, more=None):
    """Requests from the 2nd to the 5th second."""
    requests = [Request(START + 2 * SECOND + i * 1_000_000, handler=1024, send=0, queue=0, more=more or {})
                for i in range(3001)]  # fmt: skip
    processes = range(len(runtimes))
    value = totals(requests, processes, reason="exited")
    if unplaced is not None:
        value["unplaced"] = unplaced
    frames = [process_frame(i, name, "1.26.8") for i, name in enumerate(runtimes)]
    return b"".join([run_frame(), *frames, requests_frame(requests), samples_frame(list(samples)),
                     json_frame(END, value, START + 11 * SECOND)])  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write_trace(*args, name="t", **more):
        path = tmp_path / f"{name}.rqs"
        path.write_bytes(go_trace(*args, **more))
        return path

    return write_trace


def missing(got):
    return {what for note in got["not_measured"] for what in note["what"].split(", ")}


def test_figures_of_one_process(write):
    path = write(go_samples())
    (got,) = report(path)
    stats = got["runtime_stats"]
    assert got["runtime"] == {"name": "go", "version": "1.26.8"}
    assert set(stats) == set(FIGURES)
    assert stats["heap_in_use"] == {"mean": pytest.approx(11 * MB), "peak": 12 * MB}
    assert stats["heap_goal"] == {"mean": 20 * MB, "peak": 20 * MB}
    assert stats["goroutines"] == {"mean": pytest.approx(12 + 1001 / 100), "peak": 1013}
    # What was counted from the sample at 2 s, when the first request came, to that after the last, at 5.1 s.
    assert stats["gc_cycles"] == 15
    assert math.isclose(stats["gc_pause"], 0.0062, rel_tol=1e-9)
    assert not missing(got) & set(FIGURES)
    out, _ = run("report", path)
    (line,) = re.findall(r"^ *Go +(heap .*)$", out, re.M)
    assert line == ("heap 11.0 MB (peak 12.0 MB), goal 20.0 MB (peak 20.0 MB), 15 GCs, 6.20 ms paused, "
                    "22.0 goroutines (peak 1,013)")  # fmt: skip


def test_processes_are_summed(write):
    path = write(sorted([*go_samples(0), *go_samples(1)], key=lambda s: s["time"]), runtimes=("go", "go"))
    stats = report(path)[0]["runtime_stats"]
    assert stats["heap_in_use"]["peak"] == 24 * MB
    assert stats["goroutines"]["peak"] == 2026
    assert stats["gc_cycles"] == 15 + 16  # the second's samples are a microsecond later: from 1.9 s on


def test_what_is_not_found_is_null_and_said(write):
    (got,) = report(write(go_samples(without=("heap_goal", "gc_pause_total"))))
    stats = got["runtime_stats"]
    assert stats["heap_goal"] is None and stats["gc_pause"] is None
    assert stats["gc_cycles"] == 15 and stats["goroutines"]["peak"] == 1013
    assert missing(got) & set(FIGURES) == {"heap_goal", "gc_pause"}
    out, _ = run("report", write(go_samples(without=("heap_goal", "gc_pause_total"))))
    assert "15 GCs, 22.0 goroutines" in out and "paused" not in out
    (got,) = report(write(go_samples(without=COLUMNS)))
    assert got["runtime_stats"] == dict.fromkeys(FIGURES)
    assert missing(got) >= set(FIGURES)


def test_a_runtime_without_such_figures_has_none(write):
    path = write(go_samples(without=COLUMNS), runtimes=("python",))
    (got,) = report(path)
    assert got["runtime_stats"] == {} and not missing(got) & set(FIGURES)
    assert not re.search(r"^ *Go ", run("report", path)[0], re.M)


def test_sides_are_compared_by_what_all_have(write):
    one, two = write(go_samples(), name="one"), write([*go_samples()][::2], name="two")
    value = json.loads(run("compare", "--format", "json", one, f"{two},{two}")[0])
    rows = {r["metric"]: r for r in value["rows"] if r["route"] is None}
    assert rows["gc_rate"]["values"] == [pytest.approx(5, rel=0.1)] * 2
    assert rows["gc_pause_share"]["values"] == [pytest.approx(0.002, rel=0.1)] * 2
    assert rows["heap_in_use_peak"]["values"] == [12 * MB] * 2
    assert rows["goroutines_peak"]["better"] == "neither"
    assert value["sides"][1]["runtime_stats"]["gc_cycles"] == 32
    shown = run("compare", one, two)[0]
    assert re.search(r"heap, peak +12\.0 MB +12\.0 MB", shown) and re.search(r"collections +5\.00/s +5\.33/s", shown)
    plain = write([{"time": START + SECOND, "rss": MB}], name="plain", runtimes=("node",))
    assert "goroutines" not in run("compare", one, plain)[0]


def test_times_of_the_scheduler(write):
    more = {"cpu_time": 512 * 1024, "sched_wait": 4 << 20, "children_cpu_time": 0}
    path = write(go_samples(), more=more)
    (got,) = report(path)
    assert got["cpu_time"]["max"] == pytest.approx(0.000524288, rel=1e-2)
    assert got["children_cpu_time"]["max"] == 0 and got["routes"][0]["sched_wait"]["count"] == 3001
    out, _ = run("report", path)
    assert re.search(r"on a CPU +p50 52[45] µs", out) and re.search(r"for a CPU +p50 4\.\d\d ms", out)
    assert "CPU/REQ" in out and "WAIT/REQ" in out
    rows = {r["metric"] for r in json.loads(run("compare", "--format", "json", path, path)[0])["rows"]}
    assert {"cpu_time_mean", "sched_wait_mean", "children_cpu_time_mean"} <= rows


@pytest.mark.parametrize("n, says", [(1, "1 Go program ran unhooked: its"), (3, "3 Go programs ran unhooked: their")])
def test_programs_that_ran_unhooked(write, n, says):
    path = write(go_samples(), unplaced=n)
    (got,) = report(path)
    assert [note["why"].startswith(says) for note in got["not_measured"] if note["what"] == "processes"] == [True]
    for command in (["report"], ["info"], ["compare", path]):
        assert says in run(*command, path)[0]
    assert "unhooked" not in run("report", write(go_samples(), unplaced=0))[0]


def test_hostile_values(write):
    """The greatest that a column can hold, and counters that go back."""
    top = (1 << 64) - 2
    samples = [{"time": START + i * SECOND, "heap_in_use": top, "goroutines": top, "gc_cycles": top if i % 2 else 0,
                "gc_pause_total": top * (i % 2)} for i in range(1, 9)]  # fmt: skip
    path = write(samples)
    (got,) = report(path)
    assert got["runtime_stats"]["goroutines"]["peak"] == pytest.approx(top)
    run("report", path)
    run("compare", path, path)
