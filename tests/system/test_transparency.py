"""What a host finds out about being recorded: nothing.

Each program of transparency/ does what an agent could spoil, serving requests to itself, and prints what it observes. It
is run without the agent and with it: output and exit status are the same, and the requests that it says it served are
in the trace.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import raw_client
import read_trace
from recording import BUILD, LIBRARY, assert_balanced, ended_trace, preload_env, run_prefix
from serve import free_port, wait_until

SOURCES = Path(__file__).parent / "transparency"
PROGRAMS = BUILD / "transparency"
# The last three are about calls that are wrong on purpose.
FLAGS = "-O2 -g -Wall -Wextra -Wno-stringop-overflow -Wno-stringop-overread -Wno-nonnull -D_GNU_SOURCE -pthread".split()
SECONDS = 60
HEAD = b"GET /host HTTP/1.1\r\nHost: x\r\n\r\n"  # the one that host.h serves
ALLOCATORS = [Path("/usr/lib/x86_64-linux-gnu") / name for name in ("libjemalloc.so.2", "libmimalloc.so.2")]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@dataclass
class Seen:
    status: int
    out: str

    @property
    def requests(self) -> int:
        return sum(int(n) for n in re.findall(r"^requests: (\d+)", self.out, re.M))

    @property
    def aborted(self) -> int:
        return sum(int(n) for n in re.findall(r"^requests: \d+, aborted: (\d+)", self.out, re.M))


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Compiled where they are older than their sources."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    jobs = []
    for source in SOURCES.glob("*.c"):
        is_library = source.name == "deepbind.c"
        target = PROGRAMS / (source.stem + (".so" if is_library else ""))
        newest = max(path.stat().st_mtime for path in (source, SOURCES / "host.h"))
        if not target.exists() or target.stat().st_mtime < newest:
            kind = ["-shared", "-fPIC"] if is_library else ["-rdynamic"] if source.name == "linking.c" else []
            jobs.append(["gcc", *FLAGS, *kind, "-o", target, source, "-ldl"])
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda job: subprocess.run(job, capture_output=True, text=True), jobs):
            assert done.returncode == 0, done.stderr


def run(command, env=None, cwd=None) -> Seen:
    whole = {**os.environ, "LC_ALL": "C", **(env or {})}
    done = subprocess.run(
        command, env=whole, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=SECONDS,
    )  # fmt: skip
    return Seen(done.returncode, done.stdout.decode(errors="replace"))


def compare(command, trace: Path, cwd: Path, how="preload", options=(), env=None, ours=None) -> Seen:
    """Runs the program twice, and finds no difference; `ours` is changed in the environment of the second time."""
    command = [PROGRAMS / command[0], *command[1:]]
    plain = run(command, env, cwd)
    if how == "run":
        seen = run([*run_prefix(trace, *options), *command], env, cwd)
        # The launcher says one thing, and ends by no signal itself.
        seen.out = re.sub(r"^reqscope: .*\n", "", seen.out, flags=re.M)
        plain.status = plain.status if plain.status >= 0 else 128 - plain.status
    else:
        seen = run(command, {**(env or {}), **preload_env(trace), **(ours or {})}, cwd)
    assert seen.out.splitlines() == plain.out.splitlines()
    assert seen.status == plain.status
    assert set(cwd.iterdir()) <= {trace}, "nothing else is left behind"
    return seen


def assert_recorded(seen: Seen, path: Path) -> read_trace.Trace | None:
    """All of what the program served, and no more."""
    if not seen.requests and not path.exists():
        return None
    trace = ended_trace(path)
    completeness = trace.totals["completeness"]
    assert_balanced(completeness)
    assert completeness["finished"] == len(trace.requests) == seen.requests, completeness
    assert completeness["given_up"] == 0 and completeness["unfinished"] == 0
    assert sum(request.aborted for request in trace.requests) == seen.aborted
    assert {request.status for request in trace.requests if not request.aborted} <= {200}
    return trace


@pytest.mark.parametrize("program", (
    "reads inet", "reads inet6", "reads unix",
    "writes inet", "writes inet6", "writes unix",
    "faults", "stamps", "descriptors", "fortified",
    "passing messages", "passing activate",
    "signals profiled", "signals serving", "signals jumps", "signals interrupted",
    "threads storm", "threads cancel", "threads share", "threads both", "threads small",
    "environment", "loaded",
))  # fmt: skip
def test_calls(program, trace, tmp_path):
    assert_recorded(compare(program.split(), trace, tmp_path), trace)


@pytest.mark.parametrize("way", (
    "by_fork", "by_vfork", "by_spawn", "by_clone", "serving_children", "workers", "daemons", "storm", "under_load",
    "exec_itself",
))  # fmt: skip
def test_children(way, trace, tmp_path):
    """50 open connections, and a request that is read and unanswered, are none the worse for it."""
    assert_recorded(compare(["processes", way], trace, tmp_path), trace)


@pytest.mark.parametrize("how", ("preload", "run"))
@pytest.mark.parametrize("what", (
    "worker", "worker-seccomp", "worker-threads", "asking", "filter-first", "inherited", "inherited-harmless", "strict",
    "no-counter", "no-counter-first", "address-space", "data", "descriptors",
    pytest.param("locked", marks=as_root),
))  # fmt: skip
def test_restrictions(what, how, trace, tmp_path):
    """Nothing is killed by a filter, and what can be recorded is."""
    assert_recorded(compare(["restricted", what], trace, tmp_path, how), trace)


@pytest.mark.parametrize("how", ("exit", "_exit", "quick_exit", "abort", "kill", "segv", "main-thread"))
def test_ends(how, trace, tmp_path):
    """With eight threads in the middle of it."""
    compare(["threads", how], trace, tmp_path)
    seen = ended_trace(trace)
    assert_balanced(seen.totals["completeness"])
    assert len(seen.requests) > 8
    assert seen.totals["completeness"]["unfinished"] <= 8
    assert seen.totals["completeness"]["given_up"] == 0


def test_a_handler_in_the_middle_of_a_hook(trace, tmp_path):
    """What it does there may go unseen, but is never miscounted or in the way."""
    compare(["signals", "interrupting"], trace, tmp_path)
    assert_balanced(ended_trace(trace).totals["completeness"])


def test_as_inetd_starts_it(trace, tmp_path):
    """Read by one descriptor and answered by another that nobody saw made: the answers are missed, and the sums hold."""
    compare(["passing", "inetd"], trace, tmp_path)
    assert_balanced(ended_trace(trace).totals["completeness"])


def test_other_protocols(trace, tmp_path):
    compare(["stamps", "other"], trace, tmp_path)
    completeness = ended_trace(trace).totals["completeness"]
    assert_balanced(completeness)
    assert completeness["unfinished"] == 0


def test_recording_ends_before_the_server(trace, tmp_path):
    """No stamp shows on connections that come when nobody is there to take it out."""
    seen = compare(["stamps", "late"], trace, tmp_path, "run", ["--duration", "1"])
    assert_recorded(seen, trace)


def test_allocators_edges(trace, tmp_path):
    """Also called from a library that is bound to libc's own symbols first."""
    assert_recorded(compare(["memory", PROGRAMS / "deepbind.so"], trace, tmp_path), trace)


def test_an_object_without_hash_buckets(trace, tmp_path):
    assert_recorded(compare(["linking", "unhashed", PROGRAMS / "deepbind.so"], trace, tmp_path), trace)


def test_a_fork_while_another_thread_walks_the_loaded_objects(trace, tmp_path):
    """The child has the linker's lock taken for ever, and is served by nobody who would give it back."""
    assert_recorded(compare(["linking", "forked"], trace, tmp_path), trace)


def test_a_python_of_which_only_the_requests_can_be_recorded(trace, tmp_path):
    """It is looked at once."""
    assert_recorded(compare(["linking", "unknown"], trace, tmp_path), trace)


@pytest.mark.parametrize("allocator", ALLOCATORS, ids=lambda path: path.name.split(".")[0])
@pytest.mark.parametrize("order", ("{0}:{1}", "{1}:{0}"), ids=("before", "after"))
def test_other_allocators(allocator, order, trace, tmp_path):
    if not allocator.exists():
        pytest.skip(f"{allocator.name} is not installed")
    preload = order.format(allocator, LIBRARY)
    seen = compare(["memory"], trace, tmp_path, env={"LD_PRELOAD": str(allocator)}, ours={"LD_PRELOAD": preload})
    assert_recorded(seen, trace)


@as_root
def test_a_privileged_program(tmp_path):
    """ld.so drops us, and nothing of ours is in its environment."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o777)
        program = place / "privileged"
        shutil.copy(PROGRAMS / "environment", program)
        program.chmod(0o4755)
        nobody = pwd.getpwnam("nobody")
        become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        library = place / LIBRARY.name  # where nobody may read it
        shutil.copy(LIBRARY, library)
        shutil.copy(BUILD / "reqscope", place / "reqscope")
        plain = run([*become, program, "privileged"], cwd=place)
        if "effective user 0" not in plain.out:
            pytest.skip("the folder for temporary files is mounted nosuid")
        before = set(place.iterdir())
        seen = run([*become, "env", f"LD_PRELOAD={library}", f"REQSCOPE_OUT={place}/t.rqs", program, "privileged"], cwd=place)
        assert (seen.status, seen.out) == (plain.status, plain.out)
        assert set(place.iterdir()) == before
        # The same program without privileges is recorded.
        program.chmod(0o755)
        run([*become, "env", f"LD_PRELOAD={library}", f"REQSCOPE_OUT={place}/t.rqs", program, "privileged"], cwd=place)
        assert len(ended_trace(place / "t.rqs").requests) == 1


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd is not installed")
def test_socket_activation(trace, tmp_path):
    port = free_port()
    env = {**os.environ, "LC_ALL": "C"}
    ours = preload_env(trace)
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *(f"--setenv={k}={v}" for k, v in ours.items())]
    server = subprocess.Popen(
        [*command, PROGRAMS / "passing", "serve", "3"], env=env, cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: listens(port), 10, "systemd-socket-activate")
        for _ in range(3):
            with raw_client.Connection(port) as client:
                for _ in range(4):
                    assert client.exchange(HEAD).status == 200
        out = server.communicate(timeout=20)[0]
    finally:
        if server.poll() is None:
            server.kill()
    assert (server.returncode, out) == (0, "requests: 12, aborted: 0\n")
    assert_recorded(Seen(0, out), trace)


def listens(port: int) -> bool:
    with open("/proc/net/tcp") as table:
        return any(f":{port:04X} 00000000:0000 0A" in line for line in table)


def test_memory_of_the_agent(trace, tmp_path):
    """800 connections' ends in one process: at most 4 MiB, and 1 KiB a connection."""
    sizes = []
    for recorded in (False, True):
        told = tmp_path / "memory"
        env = {"MEMORY_FILE": str(told), **(preload_env(trace) if recorded else {})}
        assert run([PROGRAMS / "environment", "many"], env, tmp_path).status == 0
        sizes.append(int(re.search(r"VmRSS:\s*(\d+) kB", told.read_text())[1]))
    assert sizes[1] - sizes[0] < 4096 + 400
