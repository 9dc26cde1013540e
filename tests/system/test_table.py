"""`make table`, in small: two servers, loaded once each; every request that the load generator counts is in the table as recorded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))

import runs  # noqa: E402
import table as table_script  # noqa: E402
import table_pages  # noqa: E402

BEFORE, AFTER = "# A page\n\nBefore.\n\n", "\n\nAfter.\n"


def table(*words, status=0) -> str:
    command = [sys.executable, ROOT / "tests/bench/table.py", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder with the results, and what was printed."""
    out = tmp_path_factory.mktemp("table")
    printed = table("--servers", "gin,express", "--setups", "one", "--connections", "8", "--rounds", "1", "--seconds", "0.4", "--out", out)
    return out, printed


def rows(out: Path) -> list[dict]:
    (cell,) = json.loads((out / "table.json").read_text())["cells"]
    return cell["rows"]


def test_every_request_of_the_load_is_in_the_table(measured):
    out, _ = measured
    assert [row["framework"] for row in rows(out)] == ["Gin", "Express"]
    for row in rows(out):
        assert row["differences"] == []
        assert row["counts"]["recorded"] == row["counts"]["load_generator"] > 0


def test_figures_are_those_of_compare(measured):
    out, printed = measured
    compared = json.loads((out / "one-8.json").read_text())
    whole = {row["metric"]: row["values"] for row in compared["rows"] if row["route"] is None}
    for side, row in enumerate(rows(out)):
        assert row["figures"]["throughput"]["value"] == whole["throughput"][side]
        assert row["figures"]["rss_peak"]["value"] == whole["rss_peak"][side]
        assert f"{whole['throughput'][side]:,.0f}" in printed
    assert rows(out)[0]["figures"]["alloc_bytes"]["value"] > 0
    for suffix in ("txt", "md", "html"):
        assert (out / f"one-8.{suffix}").stat().st_size > 0
        assert suffix == "html" or "Gin" in (out / f"table.{suffix}").read_text()


def test_readme_gets_the_tables_between_its_markers(measured, tmp_path):
    out, _ = measured
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEFORE}{table_pages.BEGIN}\nwhat was there\n{table_pages.END}{AFTER}")
    for _ in range(2):  # the second time it replaces its own
        table("--readme", readme, "--out", out)
        text = readme.read_text()
        assert text.startswith(BEFORE + table_pages.BEGIN) and text.endswith(table_pages.END + AFTER)
        assert "what was there" not in text
        assert text.count("| Express |") == 1


def test_readme_without_markers_is_left_alone(measured, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(BEFORE)
    table("--readme", readme, "--out", measured[0], status=2)
    assert readme.read_text() == BEFORE


def test_counts_that_differ_fail_and_are_seen(measured, capsys):
    out, _ = measured
    result = json.loads((out / "table.json").read_text())
    assert table_script.status_of(result) == 0
    result["cells"][0]["rows"][1]["differences"] = ["status 200: 5 by the load generator's count, 4 recorded"]
    assert table_script.status_of(result) == 1
    assert "COUNTS DIFFER: one-8, Express: status 200" in capsys.readouterr().err
    assert "COUNTS DIFFER" in table_pages.markdown(result, out) and "COUNTS DIFFER" in table_pages.text(result, out)


def test_a_request_too_few_is_told():
    counts = runs.Counts(sent=5, answered={"200": 5}, recorded={"200": 4}, measured=3, measured_recorded=3)
    assert counts.differences == ["status 200: 5 by the load generator's count, 4 recorded"]
    counts = runs.Counts(sent=5, answered={"200": 5}, recorded={"200": 5}, measured=3, measured_recorded=4, lost={"unfinished": 1})
    assert len(counts.differences) == 2
