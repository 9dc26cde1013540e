"""`report --sites`: what the rows of sites frames add up to, counted again in Python; damage; what people are shown."""

import copy
import json
import math
import os
import random
import resource
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from reqscope_cli import REQSCOPE, one_line, run
from scipy import stats

import make_trace as make
from make_trace import AFTER_RESPONSE, END, FREED, SECOND, SITES, STACKS, START, UNATTRIBUTED, WITHDRAWN, Request, Site
from make_trace import Stacks, column, columns, frame, json_frame, process_frame, requests_frame, run_frame, sites_frame
from make_trace import totals, trace

MS = 10**6
MEAN = 50_000


def sites_report(path, *options, status=0):
    out, err = run("report", "--sites", "--format", "json", *options, path, status=status)
    return json.loads(out)["traces"][0], err


@pytest.fixture
def file(tmp_path):
    def write(data, name="t.rqs"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def requests_at(count, route="/a", step=MS):
    return [Request(START + i * step, route=route, handler=step // 2) for i in range(count)]


def a_recording(seed=1, count=600):
    """Requests of two routes, and samples of all kinds; frees before and behind their allocations."""
    dice = random.Random(seed)
    requests = [Request(START + i * MS, route=f"/r{i % 2}", handler=MS // 2) for i in range(count)]
    stacks, rows, number = Stacks(), [], 0
    known = [stacks.number("malloc", {"function": f"f{i}", "file": f"/srv/f{i}.c", "line": i + 1}, "main") for i in range(5)]
    for i in range(3000):
        number += 1
        time = START + dice.randrange(count * MS)
        kind = dice.randrange(10)
        route = f"/r{dice.randrange(2)}" if kind < 7 else None
        owner = None if kind < 7 else AFTER_RESPONSE if kind == 7 else UNATTRIBUTED
        followed = dice.random() < 0.8
        process = dice.randrange(2)
        rows.append(Site(time, number, route=route, owner=owner, stack=dice.choice(known), process=process,
                         bytes=int(math.exp(dice.gauss(9, 2))) + 1, sample_bytes=MEAN, followed=followed))  # fmt: skip
        if followed and dice.random() < 0.7:
            event = WITHDRAWN if dice.random() < 0.1 else FREED
            later = dice.choice([1000, 10 * MS, 200 * MS, 900 * MS])
            rows.append(Site(time + dice.randrange(later), number, event, process=process))
    dice.shuffle(rows)
    return requests, rows, stacks


def weight(row):
    p = -math.expm1(-row.bytes / row.sample_bytes)
    return row.bytes / p, row.bytes**2 * (1 - p) / p**2, 1 / p


def expected(requests, rows, window=(0, math.inf)):
    """{(route or owner, function's number): (samples, bytes, variance, count, live bytes, live samples)} by definition."""
    ends = {(row.process, row.number): row for row in rows if row.event != make.ALLOCATED}
    inside = [r for r in requests if window[0] <= r.time < window[1]]
    last = max(r.time + r.latency for r in inside)
    last = last if window[1] == math.inf else max(last, window[1])
    sums = defaultdict(lambda: [0, 0.0, 0.0, 0.0, 0.0, 0])
    withdrawn = 0
    for row in rows:
        if row.event != make.ALLOCATED or not window[0] <= row.time < window[1]:
            continue
        end = ends.get((row.process, row.number))
        if end and end.event == WITHDRAWN:
            withdrawn += 1
            continue
        owner = row.column_values["owner"]
        key = (row.route if owner == 0 else owner, row.stack)
        b, variance, count = weight(row)
        for i, v in enumerate((1, b, variance, count)):
            sums[key][i] += v
        if row.followed and not (end and end.time <= last):
            sums[key][4] += b
            sums[key][5] += 1
    return sums, withdrawn


def interval(n, b, variance):
    """Fay and Feuer 1997, with the weight that the variance tells; of nearly certain samples the exact one, if wider."""
    w = variance / b
    low, high = w * stats.chi2.ppf(0.025, 2 * b / w) / 2, w * stats.chi2.ppf(0.975, 2 * b / w + 2) / 2
    p = 1 - n * variance / b**2
    if p < 0.5 or n * (1 - p) / p > 50:
        return low, high
    return max(low, p * b), max(high, p * b * (1 + stats.nbinom.ppf(0.975, n + 1, p) / n))


def by_function(sites):
    return {site["function"]: site for site in sites}


def assert_sites(block, want, requests):
    """The sites of a route or a block against {function: sums}."""
    got = by_function(block["sites"])
    assert set(got) == set(want)
    total = sum(s[1] for s in want.values())
    for name, (samples, b, variance, count, live, _) in want.items():
        site = got[name]
        assert site["samples"] == samples and site["few_samples"] == (samples < 10)
        assert site["bytes_per_request"] == pytest.approx(b / requests, rel=1e-9)
        assert site["count_per_request"] == pytest.approx(count / requests, rel=1e-9)
        assert site["share"] == pytest.approx(b / total, rel=1e-9)
        assert site["retained_bytes_per_request"] == pytest.approx(live / requests, rel=1e-9, abs=1e-6)
        low, high = interval(samples, b, variance)
        assert site["bytes_per_request_interval"] == pytest.approx([low / requests, high / requests], rel=1e-4)
    sizes = [site["bytes_per_request"] for site in block["sites"]]
    assert sizes == sorted(sizes, reverse=True)


def function_of(stacks, number):
    """The function of a stack's second frame, whose first is malloc."""
    listed = list(stacks.stacks)
    caller, _ = listed[number - 1]
    return json.loads(list(stacks.frames)[listed[caller - 1][1]])["function"]


def assert_report(got, requests, rows, stacks, window=(0, math.inf)):
    sums, withdrawn = expected(requests, rows, window)
    inside = [r for r in requests if window[0] <= r.time < window[1]]
    grouped = defaultdict(dict)
    for (owner, stack), values in sums.items():
        grouped[owner][function_of(stacks, stack)] = values
    for route in got["routes"]:
        count = sum(r.route == route["route"] for r in inside)
        assert_sites(route, grouped[route["route"]], count)
    assert_sites(got["sites"]["after_response"], grouped[AFTER_RESPONSE], len(inside))
    assert_sites(got["sites"]["unattributed"], grouped[UNATTRIBUTED], len(inside))
    assert got["sites"]["samples"] == sum(s[0] for s in sums.values())
    assert got["sites"]["withdrawn"] == withdrawn
    assert got["sites"]["all"]["bytes"] == pytest.approx(sum(s[1] for s in sums.values()))


def test_sums_are_those_of_the_rows(file):
    requests, rows, stacks = a_recording()
    path = file(trace(requests, sites=rows, stacks=stacks))
    got, _ = sites_report(path)
    assert_report(got, requests, rows, stacks)
    assert got["sites"]["sample_bytes"] == MEAN
    assert got["sites"]["not_followed"] == sum(r.event == make.ALLOCATED and not r.followed for r in rows)


def test_the_order_of_rows_makes_no_difference(file):
    requests, rows, stacks = a_recording()
    again = copy.deepcopy(stacks)  # a frame() of them brings what wasn't brought before
    path = file(trace(requests, sites=sorted(rows, key=lambda r: r.time), stacks=stacks))
    backwards = file(trace(requests, sites=sorted(rows, key=lambda r: -r.time), stacks=again, rows=77), "b.rqs")
    assert_report(sites_report(path)[0], requests, rows, stacks)
    assert_report(sites_report(backwards)[0], requests, rows, stacks)


@pytest.mark.parametrize("options, window", [
    (("--skip", "0.2"), (START + SECOND // 5, math.inf)),
    (("--from", "0.1", "--to", "0.3"), (START + SECOND // 10, START + 3 * SECOND // 10)),
])  # fmt: skip
def test_a_window_is_of_the_time_of_the_allocation(file, options, window):
    requests, rows, stacks = a_recording()
    got, _ = sites_report(file(trace(requests, sites=rows, stacks=stacks)), *options)
    assert_report(got, requests, rows, stacks, window)


def test_what_is_freed_at_the_exit_is_live_at_the_end(file):
    """CPython frees all that it has when it ends; what counts is when the last response had been sent."""
    requests, stacks = requests_at(100), Stacks()
    at = stacks.number("malloc", "keep")
    rows = [Site(START + i * MS, i + 1, route="/a", stack=at, bytes=1000, sample_bytes=1000, followed=True) for i in range(100)]
    rows += [Site(START + 5 * SECOND, i + 1, FREED) for i in range(100)]
    # Behind the last arrival, but before its response.
    rows[100].time = START + 99 * MS + MS // 4
    got, _ = sites_report(file(trace(requests, sites=rows, stacks=stacks)))
    (site,) = got["routes"][0]["sites"]
    assert site["retained_bytes_per_request"] == pytest.approx(99 / 100 * 1000 / -math.expm1(-1))


def test_sites_of_one_line_are_one(file):
    """Under whatever callers; the stack shown is the one that allocated most."""
    stacks = Stacks()
    line = {"function": "make", "file": "/m.c", "line": 3}
    few, many = stacks.number("malloc", line, "one", "main"), stacks.number("calloc", line, "two", "main")
    rows = [Site(START, i + 1, route="/a", stack=many if i % 3 else few, bytes=100, sample_bytes=100) for i in range(30)]
    got, _ = sites_report(file(trace(requests_at(10), sites=rows, stacks=stacks)))
    (site,) = got["routes"][0]["sites"]
    assert site["stack"] == ["calloc", "make /m.c:3", "two", "main"]
    assert (site["samples"], site["share"], site["line"]) == (30, 1, 3)
    assert site["retained_bytes_per_request"] is None and site["retained_slope"] is None
    assert site["retained_slope_why"] == "when these are freed isn't seen"


def test_a_line_that_is_inlined_here_and_called_there_is_one(file):
    stacks = Stacks()
    line = {"function": "grow", "file": "/m.go", "line": 3, "kind": "go"}
    some = [stacks.number(line, "main"), stacks.number(line | {"inlined": True}, "caller", "main")]
    rows = [Site(START, i + 1, route="/a", stack=some[i % 2], bytes=100, sample_bytes=100) for i in range(30)]
    got, _ = sites_report(file(trace(requests_at(10), sites=rows, stacks=stacks)))
    (site,) = got["routes"][0]["sites"]
    assert (site["function"], site["samples"]) == ("grow", 30)


@pytest.mark.parametrize("frames, site", [
    (["malloc", "handler"], "handler"),
    (["_int_malloc", "__libc_malloc", "operator new(unsigned long)", "std::vector<int>::reserve(unsigned long)", "fill"], "fill"),
    (["malloc", "std::string my::join<int>(int)", "main"], "std::string my::join<int>(int)"),
    (["__GI___libc_malloc", "strdup", "copy"], "copy"),
    (["malloc", "ngx_alloc", "ngx_palloc_large", "ngx_http_write_filter"], "ngx_http_write_filter"),
    (["malloc", "malloc_trim_thing", "malloc"], "malloc"),
    (["malloc", "__rdl_alloc", "__rust_alloc", "alloc::raw_vec::finish_grow", "app::render"], "app::render"),
    ([{"function": "runtime.mallocgc", "kind": "go"}, {"function": "runtime.growslice", "kind": "go"},
      {"function": "strings.(*Builder).grow", "kind": "go"}], "strings.(*Builder).grow"),
    (["PyObject_Malloc", "PyList_New", {"function": "view", "kind": "python"}, {"function": "app", "kind": "python"}], "view"),
    (["malloc", "png_read", "_ext_call", {"function": "load", "kind": "python"}], "load"),
    ([{"function": "(truncated)", "kind": "note"}], "(truncated)"),
])  # fmt: skip
def test_which_frame_is_the_site(file, frames, site):
    stacks = Stacks()
    rows = [Site(START, 1, route="/a", stack=stacks.number(*frames), bytes=100, sample_bytes=100)]
    got, _ = sites_report(file(trace(requests_at(3), sites=rows, stacks=stacks)))
    assert got["routes"][0]["sites"][0]["function"] == site


def test_without_the_option_nothing_changes(file):
    requests, rows, stacks = a_recording()
    out, _ = run("report", "--format", "json", file(trace(requests, sites=rows, stacks=stacks)))
    got = json.loads(out)["traces"][0]
    assert "sites" not in got and all("sites" not in route for route in got["routes"])


def test_a_trace_without_sites_says_how_to_record_them(file):
    path = file(trace(requests_at(5)))
    got, _ = sites_report(path)
    assert got["sites"] is None and "sites" not in got["routes"][0]
    assert "recorded without --sites (reqscope run --sites -- CMD)" in run("report", "--sites", path)[0]


def test_recorded_without_a_sample(file):
    """The run frame tells that they were asked for."""
    path = file(trace(requests_at(5), options={"sample_bytes": 524288}))
    got, _ = sites_report(path)
    assert got["sites"]["samples"] == 0 and got["sites"]["sample_bytes"] == 524288
    assert got["routes"][0]["sites"] == []
    assert "no allocation was sampled" in run("report", "--sites", path)[0]


def test_lost_samples_are_told(file):
    requests, rows, stacks = a_recording(count=200)
    end = totals(requests, [0, 1], reason="exited")
    end["processes"][0]["events"], end["processes"][1]["events"] = {"sample_lost": 70}, {"sample_lost": 7}
    data = trace(requests, sites=rows, stacks=stacks, end=False) + json_frame(END, end, START)
    got, _ = sites_report(file(data))
    assert got["sites"]["lost"] == 77
    shown, _ = run("report", "--sites", file(data))
    seen = got["sites"]["samples"] + got["sites"]["withdrawn"] + 77
    assert f"77 of {seen} sampled allocations were lost" in shown


@pytest.mark.parametrize(("lost", "is_sure"), ((10, True), (11, False)))
def test_where_many_were_lost_nothing_tells_how_much_there_was(file, lost, is_sure):
    stacks = Stacks()
    at = stacks.number("malloc", "here")
    requests = requests_at(200)
    rows = [Site(START + i, i + 1, route="/a", stack=at, bytes=100, sample_bytes=1000) for i in range(200)]
    end = totals(requests, [0], reason="exited")
    end["processes"][0]["events"] = {"sample_lost": lost}
    data = trace(requests, sites=rows, stacks=stacks, end=False) + json_frame(END, end, START)
    got, _ = sites_report(file(data))
    (site,) = got["routes"][0]["sites"]
    assert (site["bytes_per_request_interval"][1] is not None) == is_sure
    assert (got["sites"]["all"]["bytes_interval"][1] is not None) == is_sure
    assert (" .. ?" in run("report", "--sites", file(data))[0]) != is_sure


def test_what_has_no_site_may_be_any_sites(file):
    """Each one's interval ends as much higher; that of all is what it is."""
    stacks, whole = Stacks(), Stacks()
    frames = ["malloc", "here"], [{"function": "(no room for its stack)", "kind": "note"}]
    requests = requests_at(200)

    def rows(of, names):
        return [Site(START + i, i + 1, route="/a", stack=of.number(*names[i % 2]), bytes=100, sample_bytes=1000) for i in range(200)]

    got, _ = sites_report(file(trace(requests, sites=rows(stacks, frames), stacks=stacks)))
    known, _ = sites_report(file(trace(requests, sites=rows(whole, (frames[0], ["malloc", "there"])), stacks=whole)))
    sites = {site["function"]: site for site in got["routes"][0]["sites"]}
    here, there = known["routes"][0]["sites"]
    low, high = sites["here"]["bytes_per_request_interval"]
    assert [low, high] == pytest.approx([here["bytes_per_request_interval"][0], 2 * here["bytes_per_request_interval"][1]])
    assert sites["(no room for its stack)"]["bytes_per_request_interval"] == there["bytes_per_request_interval"]
    assert got["sites"]["all"]["bytes_without_site"] == pytest.approx(100 * there["bytes_per_request"] * 2)
    assert got["sites"]["all"]["bytes_interval"] == known["sites"]["all"]["bytes_interval"]
    assert known["sites"]["all"]["bytes_without_site"] == 0
    assert "the samples' stacks weren't recorded" in run("report", "--sites", file(trace(requests, sites=rows(stacks, frames), stacks=stacks)))[0]


def test_how_many_are_shown(file):
    stacks = Stacks()
    rows = [Site(START, i + 1, route="/a", stack=stacks.number("malloc", f"f{i}"), bytes=100 * (i + 1), sample_bytes=100) for i in range(30)]
    path = file(trace(requests_at(5), sites=rows, stacks=stacks))
    assert len(sites_report(path)[0]["routes"][0]["sites"]) == 10
    assert len(sites_report(path, "--sites-top", "3")[0]["routes"][0]["sites"]) == 3
    assert "and 20 more sites" in run("report", "--sites", path)[0]
    for bad in ("0", "-1", "x", "3x", "1e3", "99999"):
        assert "--sites-top takes a number from 1 to 1000" in one_line(run("report", "--sites-top", bad, path, status=2)[1])


# ---- leaks ----


def growing(count, grows, size=1000):
    """Requests, and a site that keeps what `grows` says of each."""
    stacks = Stacks()
    at = stacks.number("malloc", {"function": "remember", "file": "/srv/cache.c", "line": 12})
    rows = [Site(START + i * MS, i + 1, route="/a", stack=at, bytes=size, sample_bytes=size, followed=True)
            for i in range(count) if grows(i)]  # fmt: skip
    return trace(requests_at(count), sites=rows, stacks=stacks)


def test_a_leak_is_said(file):
    path = file(growing(900, lambda i: i % 3 == 0))
    got, _ = sites_report(path)
    slope = got["routes"][0]["sites"][0]["retained_slope"]
    true = 1000 / -math.expm1(-1) / 3
    assert slope["leak"] and slope["interval"][0] <= true <= slope["interval"][1]
    assert slope["bytes_per_request"] == pytest.approx(true, rel=0.02)
    shown, _ = run("report", "--sites", path)
    assert "leak: GET /a keeps 52" in shown and "at remember (srv/cache.c:12)" in shown


@pytest.mark.parametrize("name, grows", [
    ("fills and stays", lambda i: i < 300),
    ("fills late", lambda i: i < 600 and i % 2),
    ("begins late", lambda i: 400 < i < 700),
    ("in the second half alone", lambda i: 500 < i),
])  # fmt: skip
def test_no_leak_is_said(file, name, grows):
    got, _ = sites_report(file(growing(900, grows)))
    assert not got["routes"][0]["sites"][0]["retained_slope"]["leak"]


def test_a_leak_needs_samples_and_time(file):
    got, _ = sites_report(file(growing(900, lambda i: i % 60 == 0)))
    assert got["routes"][0]["sites"][0]["retained_slope_why"] == "fewer than 20 samples were still live at the end"
    stacks = Stacks()
    at = stacks.number("keep")
    rows = [Site(START, i + 1, route="/a", stack=at, bytes=9, sample_bytes=9, followed=True) for i in range(30)]
    requests = [Request(START + (i > 2) * SECOND, route="/a") for i in range(30)]
    got, _ = sites_report(file(trace(requests, sites=rows, stacks=stacks)))
    assert "too little of the recording" in got["routes"][0]["sites"][0]["retained_slope_why"]


# ---- damage, and what no writer would write ----


def stacks_object(**more):
    return {"first_frame": 0, "frames": [{"function": "f", "kind": "native"}], "first_stack": 1, "stacks": [0, 0]} | more


ONE = [Site(START, 1, route="/a", stack=1, bytes=100, sample_bytes=100, followed=True)]


def with_stacks(*objects, sites=ONE):
    head = run_frame() + process_frame() + requests_frame(requests_at(3))
    return head + b"".join(json_frame(STACKS, o, START) for o in objects) + sites_frame(sites) + json_frame(END, totals(requests_at(3)), START)


@pytest.mark.parametrize("objects, stack", [
    ([stacks_object()], ["f"]),
    ([], []),
    ([stacks_object(stacks=[1, 0])], ["f"]),  # its own caller
    ([stacks_object(stacks=[2, 0, 1, 0])], ["f"]),  # a circle
    ([stacks_object(stacks=[10**15, 0])], ["f"]),
    ([stacks_object(stacks=[-1, 0])], ["f"]),
    ([stacks_object(stacks=[0, 77])], ["(not known)"]),
    ([stacks_object(stacks=["0", None])], ["(not known)"]),
    ([stacks_object(stacks=[0])], []),
    ([stacks_object(stacks=[0, 0, 5])], ["f"]),
    ([stacks_object(stacks={"a": 0, "b": 0})], ["f"]),
    ([stacks_object(stacks=7, frames=9)], []),
    ([stacks_object(first_stack=0)], []),
    ([stacks_object(first_stack=2**60)], []),
    ([stacks_object(first_frame=2**52, stacks=[0, 2**52])], ["f"]),
    ([stacks_object(frames=[7, None, "x"])], [""]),
    ([stacks_object(frames=[{"function": "a\x1b[31m\n\x85", "kind": 5, "line": 1e300, "file": "\x07x", "inlined": 3}])], ["a?[31m?? ?x"]),
    ([stacks_object(), stacks_object()], ["f"]),
    ([stacks_object(first_stack=5, stacks=[0, 0]), stacks_object(first_frame=9, first_stack=1, stacks=[5, 0])], ["f", "f"]),
])  # fmt: skip
def test_hostile_stacks(file, objects, stack):
    got, _ = sites_report(file(with_stacks(*objects)))
    (site,) = got["routes"][0]["sites"]
    assert site["stack"] == stack and site["samples"] == 1


def test_names_that_are_no_text(file):
    raw = json.dumps(stacks_object()).replace('"f"', '"\xff\xc3("').encode("latin-1")
    data = with_stacks().replace(sites_frame(ONE), frame(STACKS, raw, START) + sites_frame(ONE))
    assert sites_report(file(data))[0]["routes"][0]["sites"][0]["function"] == "??("


def test_a_stack_is_only_so_deep(file):
    deep = [n for i in range(5000) for n in (i, 0)]
    row = Site(START, 1, route="/a", stack=5000, bytes=100, sample_bytes=100)
    got, _ = sites_report(file(with_stacks(stacks_object(stacks=deep), sites=[row])))
    assert 1 <= len(got["routes"][0]["sites"][0]["stack"]) <= 1024


def test_endless_names_and_stacks_are_cut(file):
    """A thousand times a name of 1.2 MB, for each of a hundred sites."""
    frames = [{"function": "é" * 600_000, "kind": "native"}] + [{"function": f"f{i}", "kind": "native"} for i in range(100)]
    deep = [n for i in range(1000) for n in (i, 0)] + [n for i in range(100) for n in (1000, i + 1)]
    rows = [Site(START, i, route="/a", stack=1000 + i, bytes=100, sample_bytes=1) for i in range(1, 101)]
    path = file(with_stacks(stacks_object(frames=frames[:1]), stacks_object(first_frame=1, frames=frames[1:], stacks=deep), sites=rows))
    out, _ = run("report", "--sites", "--sites-top", "100", "--format", "json", path)
    assert len(out) < 150_000_000
    sites = json.loads(out)["traces"][0]["sites"]["all"]["sites"]
    assert len(sites) == 100 and 900 < len(sites[0]["stack"][1].encode()) < 1100


def test_a_damaged_stacks_frame_costs_names_alone(file):
    requests, rows, stacks = a_recording()
    names = bytearray(stacks.frame())
    names[60] ^= 1
    data = trace(requests, sites=rows)
    at = data.index(b"RQSF" + bytes([SITES]))
    got, err = sites_report(file(data[:at] + bytes(names) + data[at:]), status=2)
    assert "checksum" in err or "stacks" in err
    assert [site["function"] for site in got["routes"][0]["sites"]] == [None]
    whole, _ = sites_report(file(data))
    assert got["routes"][0]["sites"][0]["bytes_per_request"] == whole["routes"][0]["sites"][0]["bytes_per_request"]


def raw_sites(rows, **values):
    """A sites frame with columns as they are told."""
    cols = [column(name, v) for name, v in values.items()]
    return frame(SITES, columns(rows, cols, [(0, b"/a")]), START)


@pytest.mark.parametrize("values, says", [
    ({"event": [3]}, "out of range"), ({"owner": [3]}, "out of range"), ({"followed": [2]}, "out of range"),
    ({"site_route": [1]}, "out of range"), ({"process": [65536]}, "out of range"), ({"event": [2**64 - 1]}, "out of range"),
])  # fmt: skip
def test_values_out_of_range_are_damage(file, values, says):
    data = trace(requests_at(3), end=False) + raw_sites(1, **values)
    _, err = sites_report(file(data), status=2)
    assert f"sites frame: a value is {says}" in one_line(err)


@pytest.mark.parametrize("values", [
    {"bytes": [0], "sample_bytes": [0]}, {"bytes": [0], "sample_bytes": [5], "followed": [1]},
    {"bytes": [2**64 - 1], "sample_bytes": [1]}, {"bytes": [1], "sample_bytes": [2**64 - 1], "followed": [1]},
    {"bytes": [5], "sample_bytes": [0], "stack": [2**63]}, {"number": [2**63], "event": [1]}, {"number": [9], "event": [2]},
    {"bytes": [7], "sample_bytes": [7], "site_route": [None], "owner": [0]},
    {"bytes": [7, 7, 7], "sample_bytes": [7] * 3, "followed": [1] * 3, "number": [4, 4, 4]},
    {"bytes": [7, 0, 0, 0], "sample_bytes": [7] * 4, "followed": [1] * 4, "number": [4] * 4, "event": [0, 1, 2, 1]},
    {"bytes": [7, 0], "sample_bytes": [7, 7], "followed": [0, 0], "number": [4, 4], "event": [0, 1]},
])  # fmt: skip
def test_odd_rows_are_harmless(file, values):
    data = trace(requests_at(3), end=False) + raw_sites(len(next(iter(values.values()))), **values)
    data += json_frame(END, totals(requests_at(3)), START)
    out = run("report", "--sites", file(data))[0]
    assert "nan" not in out.lower().split("\n  not measured")[0] and "inf " not in out
    sites_report(file(data))


def test_very_many_rows_take_little_memory(file):
    """A frame of a million rows of which none is ever freed, and one of frees of what never was."""
    rows = 1 << 20
    number = make.DELTA
    ones = b"\x02" * rows  # one more each

    def of(event, followed):
        cols = [column("time", [0] * 2), column("event", [event]), column("bytes", [100]), column("sample_bytes", [100]),
                column("followed", [followed])]  # fmt: skip
        cols.append(bytes([49, number]) + len(ones).to_bytes(4, "little") + ones)
        return frame(SITES, columns(rows, cols), START)

    data = trace(requests_at(3), end=False) + of(0, 1) + of(1, 0) + of(0, 1)
    path = file(data)
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))  # noqa: E731
    done = subprocess.run([REQSCOPE, "report", "--sites", path], capture_output=True, preexec_fn=limit, timeout=60)
    assert done.returncode == 0, done.stderr


def test_requests_whose_memory_is_not_known_are_not_divided_by(file):
    """What they allocated is nobody's, and so none of the route's: of half the requests the same bytes are twice as many each."""
    requests, rows, stacks = a_recording()
    whole, _ = sites_report(file(trace(requests, sites=rows, stacks=stacks)))
    requests, rows, stacks = a_recording()
    for i, request in enumerate(requests):
        if i % 4 < 2:  # of each route every other one
            request.more = {"alloc_bytes": 100, "alloc_count": 1}
    path = file(trace(requests, sites=rows, stacks=stacks), "half.rqs")
    half, _ = sites_report(path)
    keys = ("bytes_per_request", "retained_bytes_per_request")
    for before, after in zip(whole["routes"], half["routes"], strict=True):
        for one, other in zip(before["sites"], after["sites"], strict=True):
            assert [other[key] for key in keys] == pytest.approx([2 * one[key] for key in keys])
    assert half["sites"]["unattributed"]["sites"] == whole["sites"]["unattributed"]["sites"]
    assert run("report", "--sites", path)[0].count("of the 150 of its 300 requests whose memory is known") == 2


# ---- what people see ----

GOLDEN = Path(__file__).parent / "golden"


def golden_trace():
    """A small shop: a page, a leak, a background task, the server itself."""
    dice, stacks, rows, number = random.Random(4), Stacks(), [], 0
    view = {"function": "view", "file": "/srv/shop/views.py", "line": 31, "kind": "python"}
    run_loop = {"function": "run", "file": "/srv/shop/server.py", "line": 7, "kind": "python"}
    page = stacks.number({"function": "PyObject_Malloc", "module": "python3"}, {"function": "render", "file": "/srv/shop/page.py", "line": 12, "kind": "python"}, view, run_loop)
    kept = stacks.number("malloc", {"function": "remember", "file": "/srv/shop/cache.py", "line": 5, "kind": "python"}, view, run_loop)
    mail = stacks.number("malloc", {"function": "send_mail", "file": "/srv/shop/mail.py", "line": 80, "kind": "python"})
    own = stacks.number("malloc", {"function": "SSL_new", "module": "libssl.so.3"}, {"function": "(truncated)", "kind": "note"})
    requests = [Request(START + i * MS, route="/cart" if i % 4 == 0 else "/items/{}", handler=MS // 2) for i in range(2000)]

    def allocate(time, size, stack, freed, **more):
        nonlocal number
        if dice.random() < -math.expm1(-size / 16384):
            number += 1
            rows.append(Site(time, number, stack=stack, bytes=size, sample_bytes=16384, followed=True, **more))
            if freed:
                rows.append(Site(time + MS // 4, number, FREED))

    for r in requests:
        allocate(r.time + 1000, 9000, page, True, route=r.route)
        if r.route == "/cart":
            allocate(r.time + 2000, 2048, kept, False, route=r.route)
            allocate(r.time + MS, 500, mail, True, owner=AFTER_RESPONSE)
    allocate(START, 30000, own, False)
    return trace(requests, sites=rows, stacks=stacks, runtime="python", label="shop")


@pytest.mark.parametrize("kind", ["text", "md", "json"])
def test_golden(file, kind):
    path = file(golden_trace())
    got = run("report", "--sites", "--format", kind, path)[0].replace(str(path.parent), "FOLDER")
    if kind == "json":  # sites alone, and numbers as far as machines agree on them
        one = json.loads(got, parse_float=lambda text: float(f"{float(text):.6g}"))["traces"][0]
        got = json.dumps({"sites": one["sites"], "routes": [r["sites"] for r in one["routes"]]}, indent=1) + "\n"
    golden = GOLDEN / f"sites.{kind}"
    if os.environ.get("RQS_RENEW_GOLDEN"):
        golden.write_text(got)
    assert got == golden.read_text()
