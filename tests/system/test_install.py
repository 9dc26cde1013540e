"""`make install` and `make uninstall`: what is installed records by itself, from wherever it stands."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import load
import pytest
import read_trace
from recording import BUILD, ROOT, SETTLE, ended_trace
from serve import Server

MIRROR = BUILD / "servers/mirror"


def make(target, *words, umask=0o022):
    subprocess.run(["make", "-s", target, f"BUILD={BUILD.relative_to(ROOT)}", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
                   umask=umask, timeout=120)  # fmt: skip


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def prefix(tmp_path):
    make("install", f"PREFIX={tmp_path}/prefix")
    return tmp_path / "prefix"


def mapped(pid: int) -> set[str]:
    """The libraries of ours in a process."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if "libreqscope" in line}


def exchange(server) -> set[str]:
    load.fixed(server.url + "/json", 50)
    seen = mapped(server.pid)
    time.sleep(SETTLE)
    server.stop()
    return seen


def test_staged(tmp_path):
    """Everything goes below DESTDIR, can be read by all whatever the umask, and is removed again."""
    stage = tmp_path / "stage"
    make("install", f"DESTDIR={stage}", "PREFIX=/opt/reqscope", umask=0o077)
    assert {path.parts[0] for path in map(Path, files(stage))} == {"opt"}
    installed = files(stage / "opt/reqscope")
    wanted = {"bin/reqscope", "lib/reqscope/reqscope-place", "lib/reqscope/libreqscope.so", "share/man/man1/reqscope.1",
              "share/man/man1/reqscope-run.1", "share/man/man5/reqscope-trace.5", "share/bash-completion/completions/reqscope",
              "share/zsh/site-functions/_reqscope", "share/fish/vendor_completions.d/reqscope.fish"}  # fmt: skip
    assert wanted <= installed
    assert ("lib/reqscope/libreqscope-musl.so" in installed) == (BUILD / "libreqscope-musl.so").exists()
    for path in (stage / "opt").rglob("*"):
        runs = path.is_dir() or path.parent.name in ("bin", "reqscope")
        assert path.stat().st_mode & 0o777 == (0o755 if runs else 0o644), path
    make("uninstall", f"DESTDIR={stage}", "PREFIX=/opt/reqscope")
    assert files(stage) == set() and not (stage / "opt/reqscope/lib/reqscope").exists()


def test_installed_program_records(prefix, trace):
    """A server that its own library goes into, also after the folder has moved."""
    moved = prefix.with_name("moved")
    prefix.rename(moved)
    with Server("threaded", wrap=[moved / "bin/reqscope", "run", "-o", trace, "--"]) as server:
        assert exchange(server) == {str(moved / "lib/reqscope/libreqscope.so")}
    assert len(ended_trace(trace).requests) == 50


def test_installed_library_records(prefix, trace):
    """By itself: it finds the program that collects."""
    library = prefix / "lib/reqscope/libreqscope.so"
    with Server("threaded", env={"LD_PRELOAD": str(library), "REQSCOPE_OUT": str(trace)}) as server:
        assert exchange(server) == {str(library)}
    assert len(ended_trace(trace).requests) == 50


@pytest.mark.skipif(not MIRROR.exists(), reason="no Go to build it with")
def test_installed_program_places(prefix, trace):
    """In a Go program that a shell starts: by reqscope-place, from its folder."""
    command = [prefix / "bin/reqscope", "run", "-o", trace, "--", "sh", "-c", f"{MIRROR}; true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert '"placed":true' in done.stdout.replace(" ", ""), (done.stdout, done.stderr)
    assert read_trace.read(trace).totals["unplaced"] == 0


def test_uninstalled(prefix):
    (prefix / "bin/other").touch()
    make("uninstall", f"PREFIX={prefix}")
    assert files(prefix) == {"bin/other"}
    assert os.listdir(prefix / "lib") == []


def test_another_folder_makes_the_same_bytes(tmp_path):
    """And another umask and locale. Of all that is built `make package-check` tells it."""
    built = []
    for folder, umask, locale in (("a", 0o022, "C"), ("another/place", 0o077, "C.UTF-8")):
        for part in ("agent", "analyzer", "include"):
            shutil.copytree(ROOT / part, tmp_path / folder / part)
        shutil.copy(ROOT / "Makefile", tmp_path / folder)
        names = ("build/payload.so", "build/reqscope-place")
        environment = {**os.environ, "LC_ALL": locale}
        subprocess.run(["make", "-s", "-j2", "SAN=", "COVERAGE=", "BUILD=build", *names], cwd=tmp_path / folder, check=True, umask=umask,
                       env=environment, stdout=subprocess.DEVNULL, timeout=300)  # fmt: skip
        built.append([(tmp_path / folder / name).read_bytes() for name in names])
    assert built[0] == built[1]
