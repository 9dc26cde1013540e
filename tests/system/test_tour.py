"""The README's tour, walked as a reader would: its commands work, and print what the README says, but for the numbers."""

import re

import pytest
from serve import free_port
from tour import README, Shell, tour

HASTE = 5
VERDICT = re.compile(r"^(passed|failed), \w+ +")


def shape(line: str) -> str:
    """What a line says whatever was measured: without a figure all of it, else its name. Warnings come and go."""
    line = VERDICT.sub("", line.strip())
    if not re.search(r"[\d▁-█]", line):
        return " ".join(line.split())
    name = re.split(r"\d|  ", line)[0].strip(" +-(<")
    return "" if name.startswith("!") else name


@pytest.fixture
def shell(tmp_path):
    shell = Shell(tmp_path, str(free_port()))
    yield shell
    shell.close()


def test_the_tour_prints_what_the_readme_says(shell):
    told = [step for step in tour(README.read_text()) if step.is_run]
    assert len(told) > 5
    for step in told:
        # What warnings there are decides which lines are beyond the head.
        printed = shell.run(re.sub(r" \| head -\d+$", "", step.command), HASTE)
        missing = {shape(line) for line in step.output} - {shape(line) for line in printed}
        assert not missing, (step.command, printed)
