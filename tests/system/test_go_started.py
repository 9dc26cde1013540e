"""Go servers that another program starts: recorded from their first instruction, and in all else what they would be."""

import os
import re
import subprocess
import sys
from pathlib import Path

import catalog
import load
import procfs
import pytest
from recording import assert_balanced, ended_trace, preload_env, recorded, report, run_prefix
from serve import Server, wait_until

SERVERS = catalog.BUILD / "servers"
START = SERVERS / "start"
SERVER = SERVERS / "nethttp"
REQUESTS = 300

PYTHON = {
    "subprocess": "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode % 256)",
    "os.system": "import os, shlex, sys; sys.exit(os.waitstatus_to_exitcode(os.system(shlex.join(sys.argv[1:]))) % 256)",
    "os.execv": "import os, sys; os.execv(sys.argv[1], sys.argv[1:])",
    "multiprocessing": "import multiprocessing, os, sys\n"
    "child = multiprocessing.get_context('fork').Process(target=os.execv, args=(sys.argv[1], sys.argv[1:]))\n"
    "child.start(); child.join()",
}

STARTERS = {
    **{f"start {way}": [START, way] for way in ("exec", "fork", "vfork", "spawn", "system", "popen")},
    "musl": [SERVERS / "start-musl", "fork"],
    "env": ["env", "A=B"],
    "sh": ["sh", "-c", '"$@"; true', "sh"],
    "sh in the background": ["sh", "-c", '"$@" & wait', "sh"],
    "shells in shells": ["sh", "-c", 'sh -c "$0 $1; true"; true'],
    **{how: [sys.executable, "-c", script] for how, script in PYTHON.items()},
}


def assert_all_there(trace, requests: int):
    seen = ended_trace(trace) and report(trace)
    assert (seen["requests"], seen["runtime"]["name"]) == (requests, "go")
    assert_balanced(seen["completeness"])
    (route,) = seen["routes"]
    assert route["alloc_bytes"]["min"] > 0


@pytest.mark.parametrize("how", STARTERS)
def test_started_by(how, trace):
    if "musl" in how and not STARTERS[how][0].exists():
        pytest.skip("no musl-gcc when the servers were built")
    with Server("nethttp", wrap=[*run_prefix(trace), *STARTERS[how]]) as server:
        assert load.fixed(server.url + "/json", REQUESTS).succeeded == REQUESTS
        server.stop()
    assert_all_there(trace, REQUESTS)


@pytest.mark.parametrize("how", ("start spawn", "sh", "subprocess"))
def test_started_by_a_preloaded_program(how, trace):
    with Server("nethttp", wrap=STARTERS[how], env=preload_env(trace)) as server:
        assert load.fixed(server.url + "/json", REQUESTS).succeeded == REQUESTS
        server.stop()
    assert_all_there(trace, REQUESTS)


def test_started_by_make(trace, tmp_path):
    with Server("nethttp") as probe:
        port = probe.port  # free again in a moment
    (tmp_path / "Makefile").write_text(f"serve:\n\t@{SERVER} {port}\n")
    with subprocess.Popen([*run_prefix(trace), "make", "-s", "-C", tmp_path, "serve"], stderr=subprocess.DEVNULL) as make:
        wait_until(lambda: procfs.listener_inode(port), 20, "the server")
        assert load.fixed(f"http://127.0.0.1:{port}/json", REQUESTS).succeeded == REQUESTS
        (pid,) = [pid for pid in procfs.descendants(make.pid) if procfs.executable(pid) == str(SERVER)]
        os.kill(pid, 15)
        assert make.wait(20) == 2, "make's own status for a recipe that failed"
    assert_all_there(trace, REQUESTS)


def identity(server: Server) -> dict:
    """What a process can tell of itself, but for numbers that differ from run to run."""
    pid = server.pid
    folder = Path("/proc", str(pid))
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    return {
        "command": procfs.command_line(pid)[:-1],
        "executable": procfs.executable(pid),
        "name": (folder / "comm").read_text(),
        "directory": os.readlink(folder / "cwd"),
        "fds": sorted(
            (fd, os.readlink(folder / "fd" / fd).partition(":")[0].replace(str(server.folder), ""))
            for fd in os.listdir(folder / "fd")
        ),
        **{key: status[key] for key in ("TracerPid", "SigBlk", "SigIgn", "SigCgt", "CapEff", "NoNewPrivs", "Seccomp", "Umask")},
    }


@pytest.mark.parametrize("name", ("nethttp", "nethttp-static-pie"))
def test_it_is_still_the_same_process(name, trace):
    with Server(name) as alone:
        expected = identity(alone)
    with recorded(name, trace, "run") as server:
        found = identity(server)
        parent = procfs.stat_fields(server.pid)[1]
        assert int(parent) == server.process.pid
    assert found == expected


@pytest.mark.parametrize("starter", ([], ["sh", "-c", '"$@"; exit $?', "sh"]))
def test_its_own_status(starter, trace):
    """It can't listen and ends with 1."""
    done = subprocess.run(
        [*run_prefix(trace), *starter, SERVER, "not-a-port"], capture_output=True, text=True, timeout=20
    )  # fmt: skip
    assert done.returncode == 1
    assert "not-a-port" in done.stderr


def test_prefork(trace):
    """Fiber starts itself again, once a CPU; all listen on one port by SO_REUSEPORT."""
    with recorded("fiber-prefork", trace, "run", env={"GOMAXPROCS": "2"}) as server:
        wait_until(lambda: listeners(server.port) == 2, 20, "both children to listen")
        assert load.fixed(server.url + "/slices/b?k=100", 1000, clients=64).succeeded == 1000
    seen = ended_trace(trace)
    assert len(seen.requests) == 1000
    assert len({request.process for request in seen.requests}) == 2, "both serve"
    assert min(request.values["alloc_bytes"] for request in seen.requests) >= 100_000
    assert_balanced(seen.totals["completeness"])


def listeners(port: int) -> int:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1] == f"0100007F:{port:04X}" and line.split()[3] == "0A" for line in lines)


# Runs a command in which nobody may trace: the seccomp filter answers ptrace with EPERM.
NO_PTRACE = """
import ctypes, os, struct, sys
SYS_ptrace, ALLOW, EPERM = 101, 0x7FFF0000, 0x00050001
code = b"".join(struct.pack("HBBI", *line) for line in (
    (0x20, 0, 0, 0), (0x15, 0, 1, SYS_ptrace), (0x06, 0, 0, EPERM), (0x06, 0, 0, ALLOW)))
lines = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(lines)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("starter", ("none", "sh", "subprocess"))
def test_where_nobody_may_trace(starter, trace):
    """The server runs without hooks; the trace and `run` say so."""
    forbid = [sys.executable, "-c", NO_PTRACE]
    with Server("nethttp", wrap=[*forbid, *run_prefix(trace), *STARTERS.get(starter, [])]) as server:
        assert load.fixed(server.url + "/json", 100).succeeded == 100
        server.stop()
        output = server.output
    seen = ended_trace(trace)
    assert seen.requests == []
    assert seen.totals["unplaced"] == 1
    assert re.search("ran unhooked|ptrace is forbidden", output), output
