"""Text on terminals of some widths: wrapped where it can be, and nothing of it lost."""

import fcntl
import os
import re
import struct
import subprocess
import termios

import pytest
from html_pages import LABEL, ROUTES, side
from reqscope_cli import REQSCOPE, run


def on_terminal(width, *args, **environment):
    """What a terminal of this width is sent."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    env = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"NO_COLOR": "1"} | environment
    process = subprocess.Popen([REQSCOPE, *map(str, args)], stdout=theirs, stderr=subprocess.PIPE, env=env)
    os.close(theirs)
    sent = b""
    try:
        while more := os.read(ours, 1 << 16):
            sent += more
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) in (0, 1), process.stderr.read()
    process.stderr.close()
    return sent.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sides")
    paths = [folder / "old.rqs", folder / "new.rqs"]
    for i, path in enumerate(paths):
        path.write_bytes(side(i, 1 + i, label=LABEL if i else None))
    return ["compare", "--gate", "p50<=+5%", "--gate", "mean<=9ms", "--allow-single-run", *paths]


def numbers(text):
    return sorted(re.findall(r"[-+]?\d[\d.,]*(?: ?[mµn]?s\b| ?[kM]?B\b| ?%|/s)?", text))


def flat(text):
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("width", [50, 80, 110, 200])
def test_nothing_is_lost(sides, width):
    plain, _ = run(*sides, status=1)
    out = on_terminal(width, *sides)
    # Routes alone may lose their middle.
    with_routes = re.compile(r"^  (GET .*?)  .*$", re.M)
    assert len(with_routes.findall(out)) == len(with_routes.findall(plain)) == 2 * len(ROUTES)
    before = [text[: text.index("\nRoutes")] for text in (plain, out)]
    assert flat(before[0]) == flat(before[1])
    assert numbers(before[0]) == numbers(before[1])


def test_texts_fit(sides):
    for width in (60, 80, 110):
        texts = on_terminal(width, *sides)
        for line in texts[: texts.index("REQUESTS/S")].splitlines()[:-1]:
            assert len(line) <= width
        assert not any(line != line.rstrip() for line in texts.splitlines())
    assert max(len(line) for line in on_terminal(80, *sides, COLUMNS="60").split("REQUESTS/S")[0].splitlines()[:-1]) <= 60


def test_gates_tell_all(sides):
    out = on_terminal(80, *sides)
    block = out[out.index("\nGates") : out.index("\nFigures")]
    assert max(map(len, block.splitlines())) <= 80
    assert re.search(r"\+\d+\.\d %\s+\[\+\d+\.\d \.\. \+\d+\.\d\]", block)  # an interval stays together


def test_one_line_a_fact_in_a_pipe(sides):
    out, _ = run("report", sides[-1])
    (latency,) = re.findall(r"^  latency .*$", out, re.M)
    assert "p50" in latency and "mean" in latency
