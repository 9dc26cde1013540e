"""The report's numbers, counted again in Python from the same requests."""

import json
import math
import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from reqscope_cli import assert_counts, assert_metrics, one_line, report, run, statuses

import make_trace as make
from make_trace import END, SECOND, START, TOTALS, Request, dequantise, frame, json_frame, process_frame, quantise
from make_trace import requests_frame, run_frame, samples_frame, totals, trace


def ns(dice, mean, spread=1):
    """A time that quantisation leaves as it is: in a constant column it isn't applied."""
    return dequantise(quantise(int(dice.lognormvariate(mean, spread))))


def some_requests(n, seed=1, **more):
    dice = random.Random(seed)
    made, time = [], START + 2 * SECOND
    for _ in range(n):
        time += dice.randrange(1, 200_000)
        aborted = dice.random() < 0.01
        method, route = dice.choice([("GET", "/json"), ("GET", "/users/{}"), ("POST", "/echo"), ("BREW", "/pot")])
        made.append(
            Request(
                time, method, route, status=dice.choice([200] * 20 + [201, 404, 500, 503]), aborted=aborted,
                queue=None if dice.random() < 0.1 else ns(dice, 10),
                handler=None if aborted and dice.random() < 0.5 else ns(dice, 13),
                send=None if aborted else ns(dice, 6), process=dice.randrange(2),
                request_bytes=dice.randrange(80, 120), response_bytes=dice.randrange(100, 20_000),
                more={k: f(dice) for k, f in more.items()},
            )  # fmt: skip
        )
    return made


def by_route(requests):
    routes = defaultdict(list)
    for r in requests:
        routes[("_OTHER" if r.method == "BREW" else r.method, r.route)].append(r)
    return routes


def assert_report(got, requests):
    assert_counts(got, requests)
    assert_metrics(got, requests, "trace")
    whole = [r for r in requests if r.latency is not None]
    kernel = sum(r.queue is not None for r in whole)
    assert got["latency_from"] == {"kernel": kernel, "read": len(whole) - kernel}
    first = min(r.time for r in requests) // 1000 * 1000
    last = max(r.time // 1000 * 1000 + (r.latency or sum(r.recorded(p) or 0 for p in ("queue", "handler")))
               for r in requests)  # fmt: skip
    duration = (last - first) / 1e9
    assert math.isclose(got["duration"], duration, rel_tol=1e-9)
    assert math.isclose(got["throughput"], len(requests) / duration, rel_tol=1e-9)
    assert math.isclose(got["in_flight_mean"], sum(r.latency for r in whole) / 1e9 / duration, rel_tol=1e-9)
    routes = by_route(requests)
    assert {(r["method"], r["route"]) for r in got["routes"]} == set(routes)
    for row in got["routes"]:
        mine = routes[(row["method"], row["route"])]
        assert_counts(row, mine)
        assert row["status"] == statuses(mine)
        assert_metrics(row, mine, row["route"])
    times = [r["latency"]["mean"] * r["latency"]["count"] for r in got["routes"]]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("n, rows", [(1, 10), (7, 3), (2500, 1000), (6000, 6000)])
def test_numbers(tmp_path, n, rows):
    requests = some_requests(n, seed=n)
    requests[0].aborted, requests[0].handler, requests[0].send = False, 1000, 70
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests, rows=rows))
    (got,) = report(path)
    assert_report(got, requests)
    assert got["truncated"] is False
    assert got["completeness"] == {"started": n, "finished": n, "dropped": 0, "unfinished": 0, "given_up": 0}
    assert got["start_time"] == "2026-01-01T00:00:00.000Z"
    assert got["command"] == ["./server"] and got["label"] is None and got["file"] == str(path)


def test_every_column(tmp_path):
    """Also those that no agent fills in yet, and exact counts that fall to buckets beyond 4,096 distinct values."""
    columns = {
        "alloc_count": lambda d: d.randrange(50), "alloc_bytes": lambda d: d.randrange(1 << 40),
        "cpu_time": lambda d: d.randrange(10**7), "sched_wait": lambda d: d.choice([None, 0, 5]),
        "children_cpu_time": lambda d: d.choice([None, 0, 1 << 50]),
        "gil_wait": lambda d: d.randrange(600), "loop_delay": lambda d: None,
        "downstream": lambda d: d.randrange(1 << 33), "peak_bytes": lambda d: d.choice([None, 1 << 20]),
        "recv_buffer_bytes": lambda d: 4096,
    }  # fmt: skip
    requests = some_requests(5000, **columns)
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests))
    (got,) = report(path)
    assert got["loop_delay"] is None
    assert_report(got, requests)


def test_an_unknown_column_and_frame_are_skipped(tmp_path):
    requests = some_requests(10)
    data = trace(requests, end=False) + frame(77, b"something of the future", START)
    data += json_frame(END, totals(requests, reason="exited"), START)
    path = tmp_path / "t.rqs"
    path.write_bytes(data)
    assert_report(report(path)[0], requests)


@pytest.mark.parametrize("options, keep", [
    (["--skip", "0.05"], lambda t: t >= 0.05),
    (["--from", "0.02", "--to", "0.1"], lambda t: 0.02 <= t < 0.1),
    (["--from", "2026-01-01T00:00:02.05Z"], lambda t: t >= 0.05),
    (["--to", "2026-01-01T02:00:02.050000+02:00"], lambda t: t < 0.05),
])  # fmt: skip
def test_window(tmp_path, options, keep):
    requests = some_requests(2000)
    requests[0].time = START + 2 * SECOND
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests))
    first = requests[0].time
    kept = [r for r in requests if keep((r.time // 1000 * 1000 - first) / 1e9)]
    assert 0 < len(kept) < len(requests)
    (got,) = report(*options, path)
    assert_report(got, kept)
    assert got["completeness"]["finished"] == 2000


def test_cpu_and_memory_of_the_window(tmp_path):
    """One process from the start on, one forked later; the window's edges lie between samples."""
    requests = [Request(START + 2 * SECOND + i * 1_000_000, handler=1000) for i in range(3001)]
    samples = []
    for tenth in range(1, 101):
        t = START + tenth * SECOND // 10
        # 0: half a core of user time; 1: begins at 3 s, a tenth of a core of system time
        samples.append({"time": t, "process": 0, "rss": 50_000_000 + tenth * 1000, "cpu_user": tenth * 50_000,
                        "cpu_system": 0})  # fmt: skip
        if tenth > 30:
            samples.append({"time": t + 100_000, "process": 1, "rss": 10_000_000, "cpu_user": 0,
                            "cpu_system": (tenth - 30) * 10_000})  # fmt: skip
    data = run_frame() + process_frame(0, "python", "3.11.2") + process_frame(1, "python", "3.11.2", START + 3 * SECOND)
    data += requests_frame(requests) + samples_frame(samples)
    data += json_frame(END, totals(requests, (0, 1), reason="exited"), START + 11 * SECOND)
    path = tmp_path / "t.rqs"
    path.write_bytes(data)
    (got,) = report(path)
    assert got["runtime"] == {"name": "python", "version": "3.11.2"} and got["processes"] == 2
    assert math.isclose(got["cpu"]["user"], 1.5, rel_tol=1e-4)  # 3 s at half a core
    assert math.isclose(got["cpu"]["system"], 0.2, rel_tol=1e-3)  # 2 s at a tenth
    assert math.isclose(got["cpu"]["per_request"], (got["cpu"]["user"] + got["cpu"]["system"]) / 3001, rel_tol=1e-9)
    sums = [50_000_000 + t * 1000 + (10_000_000 if t > 30 else 0) for t in range(1, 101)]
    assert got["memory"] == {"rss_mean": sum(sums) / 100, "rss_peak": max(sums)}
    assert got["connections"] == {"accepted": 8, "peak": 6}


def test_connections_of_several_processes_are_as_many_as_were_open_at_once(tmp_path):
    requests = [Request(START + i * 1000, process=i % 2) for i in range(6)]
    value = totals(requests, (0, 1), reason="exited", connections={"peak": 4})
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests, end=False) + json_frame(END, value, START + 60 * SECOND))
    (got,) = report(path)
    assert got["connections"] == {"accepted": 8, "peak": 4}


def test_connections_of_a_server_without_requests_are_told(tmp_path):
    path = tmp_path / "t.rqs"
    path.write_bytes(trace([]))
    (got,) = report(path)
    assert got["connections"] == {"accepted": 4, "peak": 3}


def test_what_is_not_measured_is_null_and_said(tmp_path):
    requests = [Request(START + i * 1000, queue=None) for i in range(5)]
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests))
    (got,) = report(path)
    assert got["queue"] is None and got["alloc_bytes"] is None and got["process_alloc"] is None
    assert got["cpu"] == {"user": None, "system": None, "per_request": None}
    assert got["memory"] == {"rss_mean": None, "rss_peak": None}
    assert {n["what"] for n in got["not_measured"]} == {"queue", "alloc_bytes, alloc_count", "cpu", "memory"}


def test_attached(tmp_path):
    path, requests = tmp_path / "t.rqs", [Request(START)]
    path.write_bytes(trace(requests))
    assert "attach" not in report(path)[0] and "attached" not in run("report", path)[0]
    told = {"pid": 4711, "processes": 3, "attach_stopped_ns": "1500000", "detach_stopped_ns": None}
    head = trace(requests, end=False, mode="attach")
    for detach, stopped in ((None, None), ("2500000", 0.0025)):
        value = totals(requests, reason="detached", attach=told | {"detach_stopped_ns": detach})
        path.write_bytes(head + json_frame(END, value, START))
        assert report(path)[0]["attach"] == {"pid": 4711, "processes": 3, "stopped": 0.0015, "detach_stopped": stopped}
        text = " ".join(run("report", path)[0].split())
        assert "while it ran, to process 4711 and its children: threads stopped for at most 1.50 ms" in text
        assert ("to detach for 2.50 ms" in text) == (stopped is not None)
    path.write_bytes(head)
    assert set(report(path)[0]["attach"].values()) == {None}
    assert "its start isn't recorded" in run("report", path)[0]


def test_allocations_outside_of_requests(tmp_path):
    requests = [Request(START)]
    value = totals(requests, (0, 1), reason="exited", notes=[{"what": "gil", "why": "not yet"}] * 2)
    for i, process in enumerate(value["processes"]):
        process["process_alloc"] = {"alloc_bytes": 100 + i, "alloc_count": 2}
    value["processes"][1]["unattributed"] = {"alloc_bytes": 7, "alloc_count": 1}
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests, end=False) + json_frame(END, value, START))
    (got,) = report(path)
    assert got["process_alloc"] == {"alloc_bytes": 201, "alloc_count": 4}
    assert got["unattributed"] == {"alloc_bytes": 7, "alloc_count": 1}
    assert got["after_response"] is None
    assert [n for n in got["not_measured"] if n["what"] == "gil"] == [{"what": "gil", "why": "not yet"}]


def test_without_an_end_frame(tmp_path):
    """The last totals count; without any nothing but what was read is known."""
    requests = [Request(START + i) for i in range(10)]
    whole = trace(requests, end=False)
    path = tmp_path / "t.rqs"
    path.write_bytes(whole)
    out, err = run("report", "--format", "json", path)
    assert "no end frame" in one_line(err)
    (got,) = json.loads(out)["traces"]
    assert got["truncated"] is True and got["requests"] == 10
    none = dict.fromkeys(("started", "dropped", "unfinished", "given_up"))
    assert got["completeness"] == {**none, "finished": 10}
    assert "completeness" in {n["what"] for n in got["not_measured"]}
    for n in (4, 9):
        whole += json_frame(TOTALS, totals(requests[:n]), START)
    path.write_bytes(whole)
    (got,) = report(path)
    assert got["truncated"] is True and got["completeness"]["finished"] == 9


def test_no_requests(tmp_path):
    path = tmp_path / "t.rqs"
    path.write_bytes(run_frame() + json_frame(END, totals([], reason="exited"), START))
    (got,) = report(path)
    assert (got["requests"], got["duration"], got["throughput"], got["latency"], got["routes"]) == (0, 0, 0, None, [])
    out, _ = run("report", path)
    assert "no request was recorded" in out
    (got,) = report("--skip", "1000", path)
    assert got["requests"] == 0


def test_several_files_and_a_pipe(tmp_path):
    one, two = some_requests(50, seed=1), some_requests(70, seed=2)
    for name, requests in (("one", one), ("two", two)):
        (tmp_path / f"{name}.rqs").write_bytes(trace(requests))
    first, second = report(tmp_path / "one.rqs", tmp_path / "two.rqs")
    assert_report(first, one)
    assert_report(second, two)
    out, _ = run("report", "--format", "json", "/dev/stdin", stdin=trace(one))
    assert_report(json.loads(out)["traces"][0], one)


# ---- routes ----


def routes_of(tmp_path, requests):
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests))
    return {(r["method"], r["route"]): r["requests"] for r in report(path)[0]["routes"]}


def test_high_cardinality_becomes_a_parameter_in_any_order(tmp_path):
    templates = [f"/shop/thing-{i}/price" for i in range(101)] + ["/shop/{}", "/about"]
    expected = {("GET", "/shop/{}/price"): 101, ("GET", "/shop/{}"): 1, ("GET", "/about"): 1}
    for seed in range(5):
        random.Random(seed).shuffle(templates)
        assert routes_of(tmp_path, [Request(START + i, route=t) for i, t in enumerate(templates)]) == expected
    few = [Request(START + i, route=t) for i, t in enumerate(templates) if t != "/about"][:20]
    assert len(routes_of(tmp_path, few)) == 20


def test_a_scanner_melts_nothing_together(tmp_path):
    real = [Request(START + i, route=f"/api/{i % 5}x") for i in range(50)]
    scan = [Request(START + i, route=f"/wp-{i:x}.php", status=404) for i in range(500)]
    gone = [Request(START, route="/api/1x", status=404)]
    found = routes_of(tmp_path, real + scan + gone)
    assert found == {("*", "(unmatched)"): 500, **{("GET", f"/api/{i}x"): 10 + (i == 1) for i in range(5)}}


def test_hostile_routes_stay_few(tmp_path):
    dice = random.Random(3)
    requests = [Request(START + i, route="".join(f"/{dice.randrange(20):c}{dice.randrange(26) + 97:c}".replace("\0", "x")
                for _ in range(dice.randrange(1, 8)))) for i in range(3000)]  # fmt: skip
    assert len(routes_of(tmp_path, requests)) <= 200
    deep = [Request(START + i, route="/x" * i) for i in range(1, 300)]
    assert sum(routes_of(tmp_path, deep).values()) == 299


def test_routes_are_one_over_all_inputs(tmp_path):
    """Templates too many only when taken together are collapsed in both."""
    for name in "ab":
        requests = [Request(START + i, route=f"/{name}-thing-{i}") for i in range(51)]
        (tmp_path / f"{name}.rqs").write_bytes(trace(requests))
        assert len(report(tmp_path / f"{name}.rqs")[0]["routes"]) == 51
    both = report(tmp_path / "a.rqs", tmp_path / "b.rqs")
    assert [[r["route"] for r in t["routes"]] for t in both] == [["/{}"], ["/{}"]]


# ---- forms ----


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nothing_in_a_trace_reaches_a_terminal_or_a_page_as_it_is(tmp_path):
    evil = ["/\x1b[2J\x1b]0;owned\x07", "/<script>alert(1)</script>", "/a|b`c", "/\u202egnp.exe", "/caf\u00e9", '/"q"&']
    requests = [Request(START + i, route=t) for i, t in enumerate(evil)]
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests, label="\x1b[31mred", command=["\x9b1m", "<b>"]))
    for form in ("text", "md", "html"):
        out, _ = run("report", "--format", form, path)
        assert not any(c in out for c in "\x1b\x07\x9b\u202e"), form
        assert "/caf\u00e9" in out
        assert ("<script>alert" in out) == (form == "text")
        assert "\\x1b[2J" in out or "\\x1b&#91;2J" in out
    out, _ = run("report", "--format", "md", path)
    assert "/a|b" not in out
    json.loads(run("report", "--format", "json", path)[0])


def test_invalid_utf8_in_a_template(tmp_path):
    path = tmp_path / "t.rqs"
    cols = [make.column("time", [0]), make.column("status", [200])]
    data = frame(make.REQUESTS, make.columns(1, cols, [(0, b"/\xff\xc0\x80\xed\xa0\x80")]), START)
    path.write_bytes(run_frame() + data + json_frame(END, totals([1], reason="exited"), START))
    assert "\\xff" in run("report", path)[0]
    assert "\ufffd" in report(path)[0]["routes"][0]["route"]


def test_text_is_aligned_and_plain_in_a_pipe(tmp_path):
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(some_requests(500)))
    out, _ = run("report", path)
    assert "\x1b" not in out and not any(line != line.rstrip() for line in out.splitlines())
    table = [line for line in out.splitlines() if line.startswith("  GET ") or line.startswith("  ROUTE")]
    assert len(table) == 3 and len({len(line) for line in table}) == 1


def test_output_file(tmp_path):
    path, out = tmp_path / "t.rqs", tmp_path / "out.html"
    path.write_bytes(trace(some_requests(5)))
    assert run("report", "--format", "html", "-o", out, path) == ("", "")
    assert out.read_text().startswith("<!doctype html>")
    assert "exists; -f replaces it" in one_line(run("report", "-o", out, path, status=2)[1])
    assert out.read_text().startswith("<!doctype html>")
    run("report", "-f", "-o", out, path)
    assert out.read_text().startswith("t\n")
    assert "No such file or directory" in one_line(run("report", "-o", tmp_path / "no/out", path, status=2)[1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.html", "t.rqs"]
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask()


def test_output_to_what_is_no_file(tmp_path):
    """A device or a pipe is written to, never replaced."""
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(some_requests(5)))
    for option in ([], ["-f"]):
        assert run("report", *option, "-o", "/dev/null", path) == ("", "")
        assert Path("/dev/null").is_char_device()
    assert run("report", "-o", "/dev/stdout", path)[0].startswith("t\n")


# ---- command line ----


@pytest.mark.parametrize("command", ["report", "compare", "info"])
def test_help(command):
    out, err = run(command, "--help")
    assert out.startswith(f"usage: reqscope {command}") and "examples:" in out and not err


@pytest.mark.parametrize("args, says", [
    (["report"], "FILE"),
    (["report", "--nonsense", "x"], "unknown option '--nonsense'"),
    (["report", "-z", "x"], "unknown option"),
    (["report", "x", "-o"], "needs a value"),
    (["report", "--format", "pdf", "x"], "text, json, md, html"),
    (["report", "--skip", "-1", "x"], "--skip takes seconds"),
    (["report", "--skip", "nan", "x"], "--skip takes seconds"),
    (["report", "--from", "yesterday", "x"], "RFC 3339"),
    (["report", "--gate", "p99<5%", "x"], "unknown option '--gate'"),
    (["compare", "x"], "at least two sides"),
    (["report", "--format", "junit", "x"], "only compare has"),
    (["compare", "x", "no-such-*.rqs"], "no file matches"),
    (["info"], "FILE"),
    (["info", "-o", "x", "a", "b"], "one FILE"),
])  # fmt: skip
def test_mistakes(args, says):
    out, err = run(*args, status=2)
    assert says in one_line(err) and not out
