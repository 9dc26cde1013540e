"""The README's tour, walked as a reader would: its commands work, and print what the README says, but for the numbers."""

import re

import pytest
from serve import free_port
from tour import README, Shell, tour

SECONDS = 2  # of each load and recording
# What a line says without its figures: a verdict or the better side may be another one next time.
FIGURES = re.compile(r"[<+-]?[\d,]*\.?\d+(?:e-?\d+)?( ?(%|pp|x|[nµm]?s|[kMGT]?i?B)|/s)?\b.*|[▁-█ ]{3,}.*|\[.*")


def shape(line: str) -> str:
    return " ".join(FIGURES.sub("", line).split())


@pytest.fixture
def shell(tmp_path):
    shell = Shell(tmp_path, str(free_port()))
    yield shell
    shell.close()


def test_the_tour_prints_what_the_readme_says(shell):
    told = [step for step in tour(README.read_text()) if step.is_run]
    assert len(told) > 5
    for step in told:
        printed = shell.run(step.command, SECONDS)
        missing = {shape(line) for line in step.output} - {shape(line) for line in printed}
        assert not missing, (step.command, printed)
