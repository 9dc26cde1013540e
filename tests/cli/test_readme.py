"""What the README files name is there: files, headings, targets of make; and the folders that the layout lists."""

import re
import subprocess

import pytest
from test_source import MAY_INCLUDE, ROOT

READMES = sorted(path.relative_to(ROOT) for folder in (".", "agent", "analyzer", "tests", "tests/many_hosts")
                 for path in (ROOT / folder).glob("README.md"))  # fmt: skip


def anchors(path) -> set:
    """GitHub's names of a file's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", READMES, ids=str)
def test_links_lead_somewhere(name):
    path = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


@pytest.mark.parametrize("name", READMES, ids=str)
def test_targets_of_make_exist(name):
    told = set(re.findall(r"(?:`|^|\$ )make ([a-z][a-z-]*)\b", (ROOT / name).read_text(), re.M))
    known = subprocess.run(["make", "-pRrq", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert told <= set(re.findall(r"^([a-z][a-z-]*):", known, re.M))


def test_files_that_are_named_exist():
    """Paths in quotes that begin with a folder of ours."""
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`((?:agent|analyzer|include|tests)/[\w./-]+)`", text))
    assert len(named) > 20
    assert [one for one in sorted(named) if not (ROOT / one).exists() and "NAME" not in one] == []


def test_the_layout_lists_every_folder():
    listed = set(re.findall(r"^\| `([\w/]+?)/` \|", (ROOT / "README.md").read_text(), re.M))
    assert listed - {"analyzer/package", "tests"} == set(MAY_INCLUDE)
