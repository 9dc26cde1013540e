"""The questions of `make table`, one of them in small: figures are compare's, and every request is recorded, also at the database."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))

import questions  # noqa: E402
from slots import Contender  # noqa: E402

SCRIPT = ROOT / "tests/bench/questions.py"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder with the results."""
    out = tmp_path_factory.mktemp("questions")
    words = ["--quick", "--questions", "database", "--servers", "Gin,Express", "--times", "2", "--out", out]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return out


def test_every_request_is_recorded_where_it_was_sent(measured):
    (question,) = json.loads((measured / "questions.json").read_text())["questions"]
    assert [run["contender"] for run in question["runs"]] == ["Gin", "Express"]
    for run in question["runs"]:
        assert run["differences"] == []
        assert run["recorded"] == run["answered"] > 0
    for figures in question["figures"].values():
        for one in figures.values():
            assert one["requests"] == one["load_generator"]["requests"] == one["db"]["requests"] > 0
            assert 0.002 <= one["db"]["latency"] <= one["latency"]


def test_figures_are_those_of_compare(measured):
    (question,) = json.loads((measured / "questions.json").read_text())["questions"]
    page = (measured / "questions.md").read_text()
    for at, figures in enumerate(question["figures"].values()):
        sides = json.loads((measured / f"questions/database-{at + 1}.json").read_text())["sides"]
        assert [side["label"] for side in sides] == list(figures)
        for side, one in zip(sides, figures.values()):
            assert one["throughput"] == side["throughput"]
            assert one["latency"] == side["latency"]["mean"]
            assert f"{side['throughput']:,.0f}" in page


def test_the_page_is_short_and_answers(measured):
    page = (measured / "questions.md").read_text()
    assert len(page.splitlines()) <= 45
    assert "With 64 connections the database is the larger part of a request" in page


def test_a_server_that_fails_is_said(tmp_path):
    question = questions.lead_question(None)
    question.contenders = [Contender("Nobody", "no-such-server"), Contender("Lost", "express", env=(("NODE_PATH", "/nowhere"),))]
    (tmp_path / "questions").mkdir()
    questions.run_rounds([question], SimpleNamespace(rounds=1, minutes=1, out=tmp_path))
    result = questions.result_of(question, tmp_path)
    assert sorted(result["failed"]) == ["Lost", "Nobody"]
    page = questions.page([result], 0)
    assert "Too little was measured" in page
    assert "Not measured: Nobody (no server 'no-such-server'" in page
