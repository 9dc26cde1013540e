"""Every CPython that can be had, with the one library that was built here: Debian's of four releases, whose interpreter is
linked statically, and those of pyenv, which have a shared libpython.

`make python-versions`, as root: Debian's come by debootstrap into build/chroots. RQS_PYTHONS names other interpreters, with
colons between.
"""

import glob
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import load
import pytest
import raw_client
import works
from go_servers import ask, median
from python_servers import assert_marks, assert_sums
from recording import ROOT, SETTLE, assert_balanced, ended_trace, report, route_counts, run_prefix
from serve import Server

CLIENTS, ROUNDS = 50, 100
SERVERS = ("threaded", "asyncio")
CHROOT = Path(__file__).with_name("chroot.sh")
SECONDS = 600
NEWEST = (3, 14)  # how later ones keep contexts isn't known: their requests have no numbers

# release -> its interpreters. bullseye's libc (2.31) is older than the one that the library was built with.
DEBIAN = {
    "bullseye": ("3.9",),
    "bookworm": ("3.11",),
    "trixie": ("3.13",),
    "sid": ("3.14", "3.15"),
}

# In a mount namespace of its own, so that nothing stays mounted whatever happens. The recorder stays outside.
ENTER = """
root=$1 python=$2 tree=$3; shift 4
mkdir -p "$root/$tree" && mount -t proc proc "$root/proc" && mount --bind "$tree" "$root/$tree" || exit
exec chroot "$root" "$python" "$@"
"""
REPLACE = 'python=$1; shift 2; exec "$python" "$@"'


@dataclass(frozen=True)
class Python:
    name: str
    version: str  # its beginning
    wrap: tuple  # what is put before a test server's command, whose first word it replaces

    @property
    def is_known(self) -> bool:
        return tuple(map(int, self.version.split(".")[:2])) <= NEWEST


def debian(release: str, version: str) -> Python:
    root = ROOT / "build/chroots" / release
    name = f"{release}-{version}"
    wrap = ("unshare", "--mount", "sh", "-c", ENTER, "sh", root, f"/usr/bin/python{version}", ROOT)
    return Python(name, version, wrap)


def others() -> list[Python]:
    """pyenv's, and those that the caller names."""
    found = glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3"))
    found += filter(None, os.environ.get("RQS_PYTHONS", "").split(":"))
    pythons = []
    for path in sorted(found):
        asked = subprocess.run([path, "-c", "import platform as p; print(p.python_version())"], capture_output=True, text=True)
        version = asked.stdout.strip()
        if asked.returncode == 0 and tuple(map(int, version.split(".")[:2])) >= (3, 8):
            pythons.append(Python(Path(path).parents[1].name, version, ("sh", "-c", REPLACE, "sh", path)))
    return pythons


PYTHONS = [debian(release, version) for release, versions in DEBIAN.items() for version in versions] + others()


@pytest.fixture(params=PYTHONS, ids=lambda python: python.name)
def python(request):
    release = request.param.name.partition("-")[0]
    if release in DEBIAN:
        if os.geteuid():
            pytest.skip("debootstrap needs root")
        packages = {f"python{version}" for version in DEBIAN[release]}
        subprocess.run([CHROOT, release, "python3", *packages], check=True, timeout=SECONDS)
    return request.param


def serving(python: Python, name: str, trace: Path, *options) -> Server:
    return Server(name, wrap=[*run_prefix(trace, *options), *python.wrap], env={"PYTHONDONTWRITEBYTECODE": "1"})


def stop(server: Server):
    time.sleep(SETTLE)
    server.stop()


@pytest.mark.parametrize("name", SERVERS)
def test_exactly_once(python, name, tmp_path):
    trace = tmp_path / "trace.rqs"
    with serving(python, name, trace) as server:
        gets = load.fixed([server.url + path for path in ("/json", "/users/7", "/users/0", "/big")], 800, CLIENTS)
        stop(server)
        assert "Error" not in server.output and "cannot be preloaded" not in server.output, server.output
    assert gets.errored == 0 and gets.statuses == {200: 600, 404: 200}
    seen = report(trace)
    assert route_counts(seen) == {("GET", "/json"): 200, ("GET", "/users/{}"): 400, ("GET", "/big"): 200}
    assert_balanced(seen["completeness"])
    assert seen["runtime"]["name"] == "python" and seen["runtime"]["version"].startswith(python.version)


@pytest.mark.parametrize("name", SERVERS)
def test_memory(python, name, tmp_path):
    """As in test_python_memory.py, for what the standard library serves."""
    trace = tmp_path / "trace.rqs"
    paths = ["/json", "/empty", "/small", "/big"]
    if name == "asyncio":
        paths += ["/gather", "/to_thread"] if python.version[:4] != "3.8." else ["/gather"]
    with serving(python, name, trace) as server:
        for path in paths:
            with raw_client.Connection(server.port) as client:
                client.exchange(raw_client.get(path))
        assert load.fixed([server.url + path for path in paths], ROUNDS * len(paths), CLIENTS).errored == 0
        stop(server)
    seen = ended_trace(trace)
    warm = sorted(seen.requests, key=lambda request: request.time)[len(paths) :]
    values = {path: [request.values["alloc_bytes"] for request in warm if request.route == path] for path in paths}
    assert all(len(column) == ROUNDS for column in values.values())
    if not python.is_known:
        assert {value for column in values.values() for value in column} == {None}
        return
    assert max(values["/small"]) < min(values["/big"])
    empty = median(values["/empty"])
    for path, size in (("/small", works.SMALL), ("/big", works.BIG)):
        assert median(values[path]) - empty == pytest.approx(size, abs=max(works.UNIT, size / 100)), path
    for path in paths[4:]:
        assert works.PART < min(values[path]) and median(values[path]) < 2 * works.PART, path
    assert_sums(seen, report(trace))


@pytest.mark.parametrize("name", SERVERS)
def test_sites(python, name, tmp_path):
    """The functions and lines of sampled allocations, as in test_sites_python.py."""
    trace = tmp_path / "trace.rqs"
    with serving(python, name, trace, "--sites", "--sample-bytes", "32768") as server:
        with raw_client.Connection(server.port) as client:
            told = json.loads(client.exchange(raw_client.get("/marks")).body)
        stop(server)
    if python.is_known:
        assert_marks(ended_trace(trace), told["made"])


def test_gil(python, tmp_path):
    """Against what the thread itself sees, as in test_python_times.py."""
    trace = tmp_path / "trace.rqs"
    with serving(python, "threaded", trace) as server:
        own = ask(server, "/contended?ms=400")
        stop(server)
    (request,) = ended_trace(trace).requests
    if not python.is_known:
        assert request.values["gil_wait"] is None
        return
    measured = request.values["gil_wait"] / 1e9
    assert own["gil_wait"] > 0.02
    assert 0.9 * own["gil_wait"] <= measured <= 1.1 * (own["gil_wait"] + own["run_delay"])
