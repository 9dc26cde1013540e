"""`reqscope info`, and the fixtures of released format versions."""

import json
import re
import sys

import pytest
from reqscope_cli import ROOT, TRACES, report, run
from test_report import some_requests

from make_trace import SECOND, START, Site, Stacks, trace


def test_frames_are_counted(tmp_path):
    requests = some_requests(2500)
    samples = [{"time": START + i * SECOND // 10, "rss": 1 << 20, "cpu_user": i, "cpu_system": i} for i in range(30)]
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(requests, samples))
    value = json.loads(run("info", "--format", "json", path)[0])
    assert value["schema"] == "reqscope.info/1"
    assert (value["integrity"], value["truncated"], value["damage"]) == ("whole", False, [])
    counts = {name: f["count"] for name, f in value["frames"].items()}
    assert counts == {"run": 1, "process": 2, "requests": 3, "samples": 1, "end": 1}
    assert (value["requests"], value["samples"], value["bytes"]) == (2500, 30, path.stat().st_size)
    assert value["bytes_per_request"] == pytest.approx(path.stat().st_size / 2500)
    stored = sum(f["stored_bytes"] + 40 * f["count"] for f in value["frames"].values())
    assert stored == path.stat().st_size
    assert value["run"]["command"] == ["./server"] and len(value["processes"]) == 2
    assert value["totals"]["completeness"]["finished"] == 2500
    out, err = run("info", path)
    assert re.search(r"integrity +whole", out) and "bytes a request" in out and not err


def test_sampled_allocations_are_counted(tmp_path):
    stacks = Stacks()
    number = stacks.number("malloc", "f", "main")
    sites = [Site(START + 1000 * i, i + 1, stack=number, bytes=9) for i in range(1200)]
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(some_requests(10), sites=sites, stacks=stacks))
    value = json.loads(run("info", "--format", "json", path)[0])
    assert (value["integrity"], value["damage"], value["sites"], value["stacks"]) == ("whole", [], 1200, 3)
    assert value["frames"]["sites"]["count"] == 2 and value["frames"]["stacks"]["count"] == 1
    out, _ = run("info", path)
    assert re.search(r"sites +2 .* 1,200$", out, re.M) and re.search(r"stacks +1 .* 3$", out, re.M)


def test_without_an_end_frame(tmp_path):
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(some_requests(10), end=False))
    out, err = run("info", path)
    assert "truncated" in out and "no end frame" in err


def assert_says(got, want):
    """All that was said is said, to the letter; what has been thought of since then is not measured."""
    if isinstance(want, dict):
        assert [key for key in got if key not in want and got[key] is not None] == []
        for key, value in want.items():
            assert_says(got[key], value)
    elif isinstance(want, list):
        assert len(got) == len(want)
        for one, other in zip(got, want):
            assert_says(one, other)
    else:
        assert got == want


@pytest.mark.parametrize("fixture", sorted(TRACES.glob("v*.rqs")), ids=lambda p: p.name)
def test_old_traces_stay_readable(fixture, monkeypatch):
    """A trace of each released format version gives the report that was written down when it was new."""
    monkeypatch.chdir(ROOT)
    expected = json.loads(fixture.with_suffix(".json").read_text())
    assert_says(report(fixture.relative_to(ROOT)), expected["traces"])


def test_there_is_a_fixture():
    assert (TRACES / "v1-small.rqs").exists()


if __name__ == "__main__":  # makes the fixture of the present version anew
    sys.path.insert(0, str(ROOT / "tests/tools"))
    made = some_requests(200, seed=42, alloc_count=lambda d: d.randrange(40), alloc_bytes=lambda d: d.randrange(9000))
    sampled = [
        {"time": START + i * SECOND // 10, "process": p, "rss": (30 + p) << 20, "cpu_user": i * 40_000,
         "cpu_system": i * 9000, "threads": 4, "fds": 9}
        for i in range(1, 30) for p in (0, 1)
    ]  # fmt: skip
    TRACES.mkdir(exist_ok=True)
    (TRACES / "v1-small.rqs").write_bytes(trace(made, sampled, rows=64, runtime="python", label="small"))
    out, _ = run("report", "--format", "json", "tests/traces/v1-small.rqs")
    (TRACES / "v1-small.json").write_text(out)
