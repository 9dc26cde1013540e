"""What a trace tells of Python's requests, and of allocations that are no request's."""

import json
import random
import re

import pytest
from reqscope_cli import assert_metrics, report, run
from test_report import some_requests

from make_trace import END, SECOND, START, TOTALS, Request, json_frame, process_frame, requests_frame, run_frame, totals

ALLOCS = ("process_alloc", "unattributed", "after_response")
MB = 1_000_000
TOP = (1 << 64) - 2


def alloc(size, count):
    return {"alloc_bytes": size, "alloc_count": count}


def python_trace(requests, *outside, notes=(), runtime="python", kind=END):
    """outside: of each process its (unattributed, after_response), as (bytes, count) or None."""
    processes = range(max(len(outside), 1))
    value = totals(requests, processes, reason="exited", notes=list(notes))
    for i, (rest, after) in enumerate(outside):
        mine = [r.more for r in requests if r.process == i]
        whole = [sum(m.get(k) or 0 for m in mine) + (rest or (0, 0))[n] + (after or (0, 0))[n]
                 for n, k in enumerate(("alloc_bytes", "alloc_count"))]  # fmt: skip
        value["processes"][i] |= {
            "process_alloc": rest and alloc(*whole),
            "unattributed": rest and alloc(*rest),
            "after_response": after and alloc(*after),
        }
    frames = [process_frame(i, runtime, "3.11.2") for i in processes]
    return b"".join([run_frame(), *frames, requests_frame(requests), json_frame(kind, value, START + 11 * SECOND)])


@pytest.fixture
def write(tmp_path):
    def write_trace(*args, name="t", **more):
        path = tmp_path / f"{name}.rqs"
        path.write_bytes(python_trace(*args, **more))
        return path

    return write_trace


def steady(n=1000, **more):
    return [Request(START + SECOND + i * 1_000_000, queue=2 * MB, handler=1024, send=0, more=more) for i in range(n)]


def shown(text, name):
    return re.findall(rf"^ *{name} +(\S.*)$", text, re.M)


def outside(got, what):
    return sum(got[part][what] for part in ALLOCS[1:] if got[part])


def test_parts_add_up(write):
    dice = random.Random(5)
    requests = some_requests(2000, alloc_bytes=lambda d: d.randrange(1 << 20), alloc_count=lambda d: d.randrange(900),
                             gil_wait=lambda d: d.choice([0, 700, 1 << 20]), loop_delay=lambda d: d.choice([None, 511]),
                             recv_buffer_bytes=lambda d: dice.choice([0, 65536, 262144]))  # fmt: skip
    path = write(requests, ((1 << 40, 777), (12345, 6)), ((3, 1), (0, 0)))
    (got,) = report(path)
    assert_metrics(got, requests)
    assert got["unattributed"] == alloc((1 << 40) + 3, 778) and got["after_response"] == alloc(12345, 6)
    for what in ("alloc_bytes", "alloc_count"):
        of_requests = sum(r.more[what] for r in requests)
        assert of_requests + outside(got, what) == got["process_alloc"][what]


def test_a_process_without_hooks_adds_nothing(write):
    notes = [{"what": "alloc_bytes, alloc_count, process_alloc", "why": "couldn't be hooked"}]
    requests = steady(10, alloc_bytes=100, alloc_count=1)
    (got,) = report(write(requests, ((50, 5), (7, 2)), (None, None)))
    assert [got[a] for a in ALLOCS] == [alloc(1057, 17), alloc(50, 5), alloc(7, 2)]
    path = write(steady(10), (None, None), notes=notes)
    (got,) = report(path)
    assert [got[a] for a in ALLOCS] == [None] * 3
    # The agent's reason stands alone.
    assert [n for n in got["not_measured"] if "alloc_bytes" in n["what"]] == notes
    assert not shown(run("report", path)[0], "in all")


def test_text_tells_what_there_is(write):
    requests = steady(gil_wait=3 * MB, loop_delay=1 * MB, recv_buffer_bytes=65536, alloc_bytes=2000, alloc_count=9)
    path = write(requests, ((500_000, 5), (1500, 2)))
    out, _ = run("report", path)
    (gil,), (loop,), (buffers,) = (shown(out, name) for name in ("for the GIL", "loop delay", "recv buffers"))
    assert gil.startswith("p50 3.0") and "ms" in gil and "GIL/REQ" in out
    assert loop.startswith("p50 1.00 ms") and loop.endswith("(a part of queue)")
    assert "p50 65.5 kB" in buffers and buffers.endswith("(not in allocated)")
    assert shown(out, "in all") == ["2.50 MB allocated, of that 1.50 kB after responses, 500 kB unattributed"]
    for form in ("md", "html"):
        text, _ = run("report", "--format", form, path)
        assert all(word in text for word in ("for the GIL", "a part of queue", "recv buffers", "after responses"))
    out, _ = run("report", "--skip", "0.5", path)
    (line,) = shown(out, "in all")
    assert line.startswith("2.50 MB allocated in the whole recording, of that")


@pytest.mark.parametrize("more, outside", [
    ({}, (None, None)),
    ({"gil_wait": 0, "loop_delay": 0, "recv_buffer_bytes": 0}, ((0, 0), (0, 0))),
])  # fmt: skip
def test_text_leaves_out_what_says_nothing(write, more, outside):
    path = write(steady(**more), outside)
    out, _ = run("report", path)
    assert not any(word in out for word in ("GIL", "loop delay", "recv", "in all", "unattributed"))
    (got,) = report(path)
    assert [got[name] and got[name]["max"] for name in ("gil_wait", "loop_delay")] == [more.get("gil_wait")] * 2


def test_no_part_after_responses(write):
    """Go and C have none; and where nothing is attributed, malloc's sum alone tells nothing."""
    path = write(steady(alloc_bytes=1000, alloc_count=1), ((2000, 2), None), runtime="go")
    assert report(path)[0]["after_response"] is None
    assert shown(run("report", path)[0], "in all") == ["1.00 MB allocated, of that 2.00 kB unattributed"]
    path = write(steady(), ((2000, 2), None), runtime="node")
    assert report(path)[0]["process_alloc"] == alloc(2000, 2)
    assert not shown(run("report", path)[0], "in all")
    # Python behind a server that can't be followed: all is unattributed, and that is the news.
    path = write(steady(), ((2 * MB, 2), (0, 0)))
    assert shown(run("report", path)[0], "in all") == ["2.00 MB allocated, of that 2.00 MB unattributed"]


def rows(*args):
    value = json.loads(run("compare", "--format", "json", *args)[0])
    return {r["metric"]: r for r in value["rows"] if r["route"] is None}


def test_sides_are_compared(write):
    more = {"alloc_bytes": 2000, "alloc_count": 9, "recv_buffer_bytes": 65536}
    one = write(steady(gil_wait=MB, loop_delay=MB, **more), ((500_000, 5), (10_000, 2)), name="one")
    two = write(steady(gil_wait=2 * MB, loop_delay=MB, **more), ((1_000_000, 5), (5_000, 2)), name="two")
    found = rows(one, two)
    assert found["gil_wait_mean"]["values"] == pytest.approx([1e-3, 2e-3], rel=2e-3)
    assert found["loop_delay_mean"]["values"] == pytest.approx([1e-3] * 2, rel=2e-3)
    assert found["recv_buffer_bytes_mean"]["values"] == [65536] * 2
    assert found["after_response_per_request"]["values"] == [10, 5]
    assert found["after_response_per_request"]["better"] == "lower"
    assert found["unattributed_per_request"]["values"] == [500, 1000]
    assert found["unattributed_per_request"]["better"] == "neither"
    # A window leaves these as they are: of the whole recording, by all of its requests.
    assert rows("--skip", "0.5", one, two)["unattributed_per_request"]["values"] == [500, 1000]
    # Of several runs: all their bytes by all their requests.
    assert rows(one, f"{one},{two}")["after_response_per_request"]["values"] == [10, 7.5]
    out, _ = run("compare", one, two)
    assert re.search(r"waiting for the GIL +1\.00 ms +2\.00 ms +\+\S+ % +\S+ more", out)
    assert re.search(r"waiting for the loop +1\.00 ms +1\.00 ms", out)
    assert re.search(r"allocated afterwards +10 B +5 B", out)


def test_a_run_that_lacks_it_takes_it_from_its_side(write):
    one = write(steady(alloc_bytes=1, alloc_count=1), ((500, 5), (10, 2)), name="one")
    two = write(steady(), (None, None), name="two")
    for side in (f"{one},{two}", f"{two},{one}"):
        value = json.loads(run("compare", "--format", "json", one, side)[0])
        assert [value["sides"][1][a] for a in ALLOCS] == [None] * 3
        assert rows(one, side)["unattributed_per_request"]["values"] == [0.5, None]


def test_hostile_values(write, tmp_path):
    """The greatest that columns and totals can hold; sums stop there."""
    more = {"alloc_bytes": TOP, "alloc_count": TOP, "recv_buffer_bytes": TOP, "gil_wait": TOP, "loop_delay": TOP}
    path = write(steady(50, **more), ((TOP, TOP), (TOP, TOP)), ((TOP, TOP), (TOP, TOP)))
    (got,) = report(path)
    assert got["recv_buffer_bytes"]["max"] == pytest.approx(TOP)
    value = totals([], (0, 1, 2), reason="exited")
    for process in value["processes"]:
        process |= {a: {"alloc_bytes": str(1 << 64), "alloc_count": str((1 << 64) - 1)} for a in ALLOCS}
    value["processes"][1] |= {"after_response": [], "unattributed": {"alloc_bytes": -5, "alloc_count": None}}
    value["processes"][2] |= {"after_response": 7, "unattributed": {"alloc_bytes": 1e300}, "process_alloc": "all"}
    path = tmp_path / "hostile.rqs"
    head = run_frame() + process_frame(0, "python") + requests_frame(steady(5, **more))
    path.write_bytes(head + json_frame(END, value, START + 11 * SECOND))
    (got,) = report(path)
    for part in ALLOCS:
        assert got[part]["alloc_count"] == pytest.approx(2.0**64)
    for form in ("text", "json", "md", "html"):
        run("report", "--format", form, path)
        run("compare", "--format", form, path, path)
    run("info", path)


def test_the_last_totals_count_when_there_is_no_end(write):
    path = write(steady(5, alloc_bytes=10, alloc_count=1), ((50, 5), (7, 2)), kind=TOTALS)
    (got,) = report(path)
    assert got["truncated"] and got["after_response"] == alloc(7, 2) and got["process_alloc"] == alloc(107, 12)
