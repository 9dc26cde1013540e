"""
What a comparison looks like as a whole, in every format but HTML, whose drawings have tests of their own.

The files in tests/cli/golden are what was shown when they were last renewed, paths left out. After a change that is
meant, renew them and look at their difference:

    RQS_RENEW_GOLDEN=1 build/venv/bin/python -m pytest tests/cli/test_golden.py; git diff tests/cli/golden
"""

import os
from pathlib import Path

import pytest
from reqscope_cli import run

from make_trace import SECOND, START, Request, trace

GOLDEN = Path(__file__).parent / "golden"
GATES = ("p50<=+5%", "GET /fast:p50<=+5%", "errors<=+5pp", "throughput>=-5%", "GET /users/{}:p50<=+5%", "rss_peak<=100MB")


def recording(run_, slower, failing=0):
    """20 s of two routes and few different times, one of them `slower`. Nothing in it is random."""
    made = []
    for i in range(400):
        slow = i % 4 == 3
        handler = (2_000_000 + i % 5 * 100_000) * (slower if slow else 1) + run_ * 4096 + i % 3 * 50_000
        made.append(Request(
            START + i * SECOND // 20, route="/users/{}" if slow else "/fast", handler=int(handler), queue=20_000 + i % 2 * 1000,
            send=4_000, status=500 if failing and i % failing == 0 else 200, response_bytes=500 + i % 7,
            more={"cpu_time": 800_000 + i % 3 * 1000, "alloc_bytes": 4_000 + i % 2 * 96, "alloc_count": 40 + i % 2},
        ))  # fmt: skip
    samples = [{"time": START + i * SECOND // 10, "rss": 50_000_000 + i * 1000, "cpu_user": i * 2000, "cpu_system": i * 500}
               for i in range(200)]  # fmt: skip
    return trace(made, samples, label="new" if slower > 1 else "old", rows=100,
                 start_realtime_ns=str(1_767_225_600 * SECOND + run_ * 60 * SECOND))  # fmt: skip


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    for name, slower, failing in (("old", 1, 0), ("new", 1.5, 40)):
        for i in range(5):
            (folder / f"{name}-{i}.rqs").write_bytes(recording(i, slower, failing))
    return folder, [f"old={folder}/old-*.rqs", f"new={folder}/new-*.rqs"]


@pytest.mark.parametrize("form", ["text", "json", "md", "junit", "github"])
@pytest.mark.parametrize("kind", ["runs", "single"])
def test_as_it_was(sides, form, kind):
    folder, both = sides
    if kind == "single":
        both = [f"{name}={folder}/{name}-0.rqs" for name in ("old", "new")]
    gates = [word for gate in GATES for word in ("--gate", gate)]
    status = 1 if kind == "runs" else 3
    out, err = run("compare", "--format", form, *gates, *both, status=status, env={"COLUMNS": "120"})
    assert not err
    shown, kept = out.replace(str(folder), "FOLDER"), GOLDEN / f"compare-{kind}.{form}"
    if os.environ.get("RQS_RENEW_GOLDEN"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(shown)
    assert shown == kept.read_text(), f"if this is meant, renew {kept.name}: see {Path(__file__).name}"
