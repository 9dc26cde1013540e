"""`make bench-peers` without its peers: the tables from made-up figures, the sink, and a peer that isn't there."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("bench", "servers", "load")]

import others  # noqa: E402
import peers_tables as tables  # noqa: E402
import procfs  # noqa: E402
import sink  # noqa: E402
from serve import free_port, wait_until  # noqa: E402

SCRIPT = ROOT / "tests/bench/peers.py"


def side(cpu_us, per_second=1000.0, rss=50 * 2**20, written=0, recorded=None):
    loads = [
        {"turn": turn, "requests": 100, "cpu_us": cpu_us * noise, "beside_us": 0.5, "per_second": per_second}
        for turn, noise in enumerate((1, 1.1, 0.9))
    ]
    return {"loads": loads, "later_us": 0, "beside_us": 0.5, "rss": rss, "pss": rss, "sent": 1000, "written": written, "recorded": recorded}


def made_up(ratios, name="fastapi-uvloop"):
    """A server's figures: everything costs these ratios, a round each; memray 2.5 times as much; ddtrace isn't there."""
    rounds = [
        {
            "none": side(100),
            others.FULL: side(100 * one, rss=51 * 2**20, written=8000, recorded=1000),
            others.MEMORY: side(100 * one, recorded=1000),
            "memray": side(250, per_second=400, written=5_000_000),
        }
        for one in ratios
    ]
    tells = {"none": "", others.MEMORY: "more", others.FULL: "most", "memray": "nothing", "ddtrace-run": "some"}
    start = {"memray": {"written": 1_000_000, "sent": 0}}
    failed = {"ddtrace-run": "ERROR: No matching distribution found"}
    return {
        "machine": {"cpu": "A CPU", "cores": 2, "kernel": "6", "system": "Debian"}, "versions": {"memray": "1"}, "seconds": 60,
        "turns": 3, "toggled": None,
        "servers": {name: {"tells": tells, "at_end": [], "defers": [], "start": start, "failed": failed, "rounds": rounds}},
    }  # fmt: skip


def row(text, label):
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_of_the_same_turn_and_rounds_their_range():
    text = tables.markdown(made_up([1.01, 1.02, 1.03, 1.04, 1.05, 1.06]))
    ours = row(text, others.FULL)
    assert ours[1] == "+3.5 % (+1.0 .. +6.0)" and ours[2] == "+0.0 % (+0.0 .. +0.0)"
    assert ours[3:5] == ["+1.0 MiB", "8.0 B"] and ours[6] == "6,000 of 6,000"
    memray = row(text, "memray")
    assert memray[1] == "2.5 × (2.5 .. 2.5)" and memray[2].startswith("-60.0 %") and memray[4] == "4.0 KB" and memray[6] == ""


def test_a_peer_that_failed_is_in_the_table_with_its_reason():
    assert row(tables.markdown(made_up([1] * 6)), "ddtrace-run")[1] == "not measured: ERROR: No matching distribution found"


def test_a_server_that_failed_takes_no_other_out():
    result = made_up([1.01] * 6)
    result["servers"]["express"] = {"tells": {"none": ""}, "at_end": [], "defers": [], "start": {}, "failed": {"none": "no node"}, "rounds": []}
    text = tables.markdown(result)
    assert "Express: not measured. no node" in text and row(text, "memray")


@pytest.mark.parametrize("ratios, verdict", [
    ([1.00, 1.01, 1.01, 1.02, 1.02, 1.025], "met"),
    ([1.04, 1.05, 1.05, 1.06, 1.07, 1.08], "missed"),
    ([1.01, 1.02, 1.03, 1.04, 1.05, 1.06], "can't be told"),
    ([1.01, 1.01, 1.01], "can't be told"),  # too few rounds for an interval
])  # fmt: skip
def test_a_goal_is_met_or_missed_by_its_whole_interval(ratios, verdict):
    (one,) = (one for one in tables.goals(made_up(ratios)) if one["what"].startswith("CPU"))
    assert one["goal"] == 3 and one["verdict"] == verdict


def test_goals_have_the_units_of_their_figures():
    goals = {one["what"].split(",")[0]: one for one in tables.goals(made_up([1.01] * 6))}
    assert goals["memory added"]["figure"]["median"] == pytest.approx(1) and goals["memory added"]["verdict"] == "met"
    assert goals["trace"]["figure"]["median"] == pytest.approx(8) and goals["trace"]["verdict"] == "met"


def test_readme_gets_the_last_runs_tables_without_measuring(tmp_path):
    build = tmp_path / "build"
    (build / "bench").mkdir(parents=True)
    (build / "bench/peers.json").write_text(json.dumps(made_up([1.01] * 6)))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    subprocess.run([sys.executable, SCRIPT, "--readme", readme], env={"BUILD": str(build), "PATH": "/usr/bin:/bin"}, check=True, timeout=60)
    text = readme.read_text()
    assert text.startswith(f"before\n{tables.BEGIN}\n| FastAPI") and text.endswith(f"\n{tables.END}\nafter\n") and "old" not in text


def test_a_tool_that_is_not_installed_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(others, "PEERS", tmp_path)
    tool = others.Tool(tmp_path / "absent", package="absent")
    assert "deps.sh peers" in tool.missing()
    (tmp_path / "absent.failed").write_text("E: no such package\n")
    assert tool.missing() == "E: no such package"


@pytest.fixture
def running_sink(tmp_path):
    port, file = free_port(), tmp_path / "sent"
    process = subprocess.Popen([sys.executable, sink.__file__, str(port), file])
    try:
        wait_until(lambda: procfs.listener_inode(port), 10, "the sink to listen")
        yield f"http://127.0.0.1:{port}", file
    finally:
        process.kill()
        process.wait()


def post(url, body, **headers):
    asked = urllib.request.Request(url, data=body, headers={name.replace("_", "-"): str(value) for name, value in headers.items()})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.status, answer.read()


def exported(*kinds) -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    for kind in kinds:
        request.resource_spans.add().scope_spans.add().spans.add(name="a", kind=kind)
    return request.SerializeToString()


def test_sink_counts_requests_of_both_kinds_of_tracer(running_sink):
    url, file = running_sink
    server_kind, internal = 2, 1
    body = exported(server_kind, internal, internal, server_kind)
    assert post(f"{url}/v1/traces", body)[0] == 200
    # A body without a known length, as some exporters send it.
    assert post(f"{url}/v0.4/traces", iter([b"abc", b"\n{}"]), X_Datadog_Trace_Count=3, Transfer_Encoding="chunked") == (200, b"{}")
    got = sink.received(file)
    assert (got.requests, got.spans, got.bytes) == (2 + 3, 4, len(body) + 6)
