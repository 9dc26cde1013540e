"""Our code in static Go programs, placed at their exec: they are the processes that they would have been."""

import ctypes
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
import read_trace
from recording import BUILD, REQSCOPE, preload_env, run_prefix
from serve import wait_until

SERVERS = BUILD / "servers"
MIRROR, PIE, START = (SERVERS / name for name in ("mirror", "mirror-pie", "start"))
OURS = ("LD_PRELOAD=", "REQSCOPE_")

pytestmark = pytest.mark.skipif(not MIRROR.exists(), reason="no Go to build it with")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)


def seen_by(done) -> list[dict]:
    """What each mirror among what was run saw of itself."""
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def the_one(done) -> dict:
    (seen,) = seen_by(done)
    return seen


def comparable(seen: dict) -> dict:
    """Without what differs between any two runs, or is our own doing and known."""
    kept = {name: value for name, value in seen.items() if name not in ("pid", "ppid", "placed")}
    kept["environ"] = sorted(variable for variable in seen["environ"] if not variable.startswith(OURS))
    kept["descriptors"] = {fd: re.sub(r"\[\d+\]", "", link) for fd, link in seen["descriptors"].items()}
    return kept


def unplaced(trace) -> int:
    return read_trace.read(trace).totals["unplaced"]


# ---- the same process ----


def restrict_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    for ignored in (signal.SIGTRAP, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)


@pytest.mark.parametrize("program", (MIRROR, PIE), ids=lambda path: path.name)
@pytest.mark.parametrize("prepare", (None, restrict_signals))
def test_it_sees_itself_as_it_would(program, prepare, trace):
    command = [program, "an argument", "", "*"]
    plain = the_one(run(*command, preexec_fn=prepare))
    placed = the_one(run(*run_prefix(trace), *command, preexec_fn=prepare))
    assert placed["placed"] and not plain["placed"]
    assert comparable(placed) == comparable(plain)
    assert placed["tracer"] == "0"
    assert placed["children"] == ""
    assert placed["writable_code"] == []
    assert unplaced(trace) == 0


def test_it_has_the_pid_that_its_starter_knows(trace):
    done = run(*run_prefix(trace), "sh", "-c", f"echo $$; exec {MIRROR}")
    shell, seen = done.stdout.splitlines()[0], the_one(done)
    assert seen["placed"]
    assert str(seen["pid"]) == shell


@pytest.mark.parametrize("words, status", ((("exit", 0), 0), (("exit", 3), 3), (("kill", 9), 137), (("kill", 15), 143)))
def test_its_status(words, status, trace):
    done = run(*run_prefix(trace), MIRROR, *words)
    assert the_one(done)["placed"]
    assert done.returncode == status


def test_started_by_a_shell_it_has_the_same_status(trace):
    script = f"{MIRROR} exit 3; echo $?; {MIRROR} kill 15; echo $?; exec {MIRROR} exit 7"
    done = run(*run_prefix(trace), "sh", "-c", script)
    assert all(seen["placed"] for seen in seen_by(done))
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["3", "143"]
    assert done.returncode == 7


def test_nobody_keeps_its_output_open(trace):
    """A pipe's reader sees the end when the program ends."""
    done = run(*run_prefix(trace), "sh", "-c", f"{MIRROR} | cat; {MIRROR} & wait")
    assert [seen["placed"] for seen in seen_by(done)] == [True, True]


# ---- started in all ways ----


@pytest.mark.parametrize("libc", ("", "-musl"))
@pytest.mark.parametrize(
    "way", ("exec", "execvp", "execle", "fexecve", "itself", "fork", "vfork", "spawn", "spawnp", "system", "popen")
)
def test_started_by_c(way, libc, trace):
    start = START.with_name(START.name + libc)
    if not start.exists():
        pytest.skip("no musl-gcc to build it with")
    by_name = way in ("execvp", "spawnp")
    path = f"{SERVERS}:{os.environ['PATH']}"
    command = [start, way, MIRROR.name if by_name else MIRROR, "exit", 5]
    plain, placed = (run(*prefix, *command, env={**os.environ, "PATH": path}) for prefix in ((), run_prefix(trace)))
    assert the_one(placed)["placed"]
    # A name below /proc means nothing to another process: it is executed by its file's name, and is called so.
    lost = {"comm": None} if way == "itself" else {}
    assert {**comparable(the_one(placed)), **lost} == {**comparable(the_one(plain)), **lost}
    assert placed.returncode == plain.returncode != 0


def test_started_by_execveat(trace):
    """Of a descriptor that the exec closes."""
    command = [START, "execveat", MIRROR, "exit", 5]
    plain, placed = (run(*prefix, *command) for prefix in ((), run_prefix(trace)))
    assert the_one(placed)["placed"]
    assert comparable(the_one(placed)) == comparable(the_one(plain))
    assert placed.returncode == plain.returncode != 0


def test_a_tracer_of_its_own_sees_the_programs_exec_and_no_other(trace):
    """It stops once, and in the program, as it does alone; what then runs unhooked is counted."""
    plain, whole = (run(*prefix, START, "traced", MIRROR, "exit", 5) for prefix in ((), run_prefix(trace)))
    assert f"stopped in {MIRROR}" in plain.stdout.splitlines()
    assert f"stopped in {MIRROR}" in whole.stdout.splitlines()
    assert not the_one(whole)["placed"]
    assert whole.returncode == plain.returncode
    assert unplaced(trace) == 1


LOST = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.unlink(sys.argv[1])
os.execv(f"/proc/self/fd/{file}", sys.argv[1:])
"""


def test_a_name_that_its_file_has_lost(trace, tmp_path):
    """Only this process can execute it: unhooked, and counted."""
    with copied(tmp_path) as program:
        command = [sys.executable, "-c", LOST, program, "exit", 5]
        done = run(*run_prefix(trace), *command)
    assert done.returncode == 5
    assert not the_one(done)["placed"]
    assert unplaced(trace) == 1


IN_PYTHON = {
    "subprocess": "subprocess.run(command)",
    "other name": "subprocess.run(['another name', *command[1:]], executable=command[0])",
    "spawned": "subprocess.run(command, close_fds=False)",
    "no environment": "subprocess.run(command, env={})",
    "new session": "subprocess.run(command, start_new_session=True, cwd='/')",
    "descriptor": "os.set_inheritable(3, True), os.execve(3, command, os.environ)",
}


@pytest.mark.parametrize("way", IN_PYTHON)
def test_started_by_python(way, trace):
    script = f"import os, subprocess\ncommand = {[str(MIRROR), 'x']!r}\nos.dup2(os.open(command[0], os.O_RDONLY), 3)\n"
    command = [sys.executable, "-c", script + IN_PYTHON[way]]
    plain, placed = the_one(run(*command)), the_one(run(*run_prefix(trace), *command))
    assert placed["placed"]
    assert comparable(placed) == comparable(plain)


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_started_by_make(tmp_path, trace):
    (tmp_path / "Makefile").write_text(f"all: one two\none two:\n\t@{MIRROR} $@\n")
    done = run(*run_prefix(trace), "make", "-s", "-j2", "-C", tmp_path)
    assert [seen["placed"] for seen in seen_by(done)] == [True, True]


def test_started_under_plain_preloading(tmp_path):
    """What serves nobody leaves no trace."""
    done = run("sh", "-c", f"{MIRROR}; {MIRROR}", env={**os.environ, **preload_env(tmp_path / "out.rqs")})
    assert [seen["placed"] for seen in seen_by(done)] == [True, True]
    wait_until(lambda: not list(tmp_path.glob("*.rqs")), 10, "the collector's end")


def test_one_that_adopts_orphans_adopts_none_of_ours(trace):
    """But it still adopts others."""
    prctl = "import ctypes, os; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)"  # PR_SET_CHILD_SUBREAPER
    seen = the_one(run(*run_prefix(trace), sys.executable, "-c", f"{prctl}; os.execv({str(MIRROR)!r}, ['x'])"))
    assert seen["placed"]
    assert seen["children"] == ""
    assert seen["adopts"]


def test_200_in_a_row_leave_nothing_behind(trace):
    done = run(*run_prefix(trace), "sh", "-c", f"for i in $(seq 200); do {MIRROR}; done; exec {MIRROR}")
    seen = seen_by(done)
    assert len(seen) == 201 and all(one["placed"] for one in seen)
    assert seen[-1]["children"] == ""
    assert unplaced(trace) == 0
    wait_until(lambda: not tracers(), 5, "the tracers' end")


def tracers(above: int = 0) -> list[int]:
    """Living processes that are tracers of this build, with a pid above one."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            if (
                pid > above
                and "trace-exec" in open(f"/proc/{pid}/cmdline").read()
                and os.readlink(f"/proc/{pid}/exe") == str(REQSCOPE)
            ):
                found.append(pid)
    return found


# ---- disturbed ----

PLACER = BUILD / "reqscope-place"


@contextmanager
def session(trace):
    """The environment of a session that lasts."""
    command = [*run_prefix(trace), "sh", "-c", "env; echo; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        lines = iter(keeper.stdout.readline, "\n")
        yield dict(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)
        keeper.stdin.close()


def place(environment, disturb) -> tuple[int, dict | None]:
    """Becomes a mirror while disturb(pid) does what it does: the status, and what it saw."""
    command = [PLACER, "place", "--path", MIRROR, "--", MIRROR, "exit", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        disturb(process.pid)
        out, _ = process.communicate(timeout=30)
    return process.returncode, json.loads(out) if out else None


def stop_and_continue(pid):
    for _ in range(random.choice((1, 20))):
        time.sleep(random.random() * 0.02 if _ == 0 else 0.0005)
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)


def send_what_is_ignored(pid):
    for _ in range(20):
        os.kill(pid, signal.SIGWINCH)
        os.kill(pid, signal.SIGURG)
        time.sleep(0.0005)


@pytest.mark.parametrize("disturb", (stop_and_continue, send_what_is_ignored))
def test_signals_while_it_is_placed(disturb, trace):
    with session(trace) as environment:
        for _ in range(60):
            status, seen = place(environment, disturb)
            assert status == 5
            assert seen["placed"]


def test_ended_while_it_is_placed(trace):
    def end(pid):
        time.sleep(random.random() * 0.02)
        os.kill(pid, signal.SIGTERM)

    with session(trace) as environment:
        assert {place(environment, end)[0] for _ in range(60)} <= {-signal.SIGTERM, 5}
    wait_until(lambda: not tracers(), 5, "the tracers' end")


def test_whoever_kills_the_tracer_doesnt_kill_the_program(trace):
    def kill_tracer(pid):
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            for tracer in tracers(pid):
                time.sleep(random.random() * 0.012)
                with suppress(ProcessLookupError):
                    os.kill(tracer, signal.SIGKILL)
                return

    with session(trace) as environment:
        results = [place(environment, kill_tracer) for _ in range(100)]
    assert {status for status, _ in results} == {5}
    assert len({seen["placed"] for _, seen in results}) == 2, "killed too early or too late each time"
    for _, seen in results:
        assert seen["blocked"] == "0" * 16 and seen["tracer"] == "0"


# ---- what is in its memory ----


@contextmanager
def waiting(program, *prefix):
    """A mirror that goes on living, and what it said."""
    with subprocess.Popen([*prefix, program, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def bytes_at(pid: int, address: int, count: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(count)


@pytest.mark.parametrize("options", ((), ("--no-sched",)))
def test_every_site_is_a_jump_to_code_of_ours(options, trace):
    plan = json.loads(run(REQSCOPE, "plan", "--json", MIRROR).stdout)
    left_out = {"EXECUTE", "READY", "PARK", "PREEMPTED"} if options else set()
    with waiting(MIRROR, *run_prefix(trace, *options)) as seen:
        assert seen["placed"]
        assert ("REQSCOPE_NO_SCHED=1" in seen["environ"]) == bool(options)
        maps = [line.split() for line in open(f"/proc/{seen['pid']}/maps")]
        for site in plan["sites"]:
            address, code = int(site["address"], 16), bytes.fromhex(site["code"])
            found = bytes_at(seen["pid"], address, len(code))
            if site["kind"] in left_out:
                assert found == code, site
                continue
            assert found[0] == 0xE9, site
            target = address + 5 + struct.unpack("<i", found[1:5])[0]
            (place,) = [at for at in maps if within(at[0], target)]
            assert place[1] == "r-xp" and len(place) == 5, place  # of no file
        assert not [at for at in maps if "w" in at[1] and "x" in at[1]]


def within(bounds: str, address: int) -> bool:
    low, high = (int(end, 16) for end in bounds.split("-"))
    return low <= address < high


# ---- where it can't be ----


@contextmanager
def copied(tmp_path, **changes):
    path = tmp_path / "mirror"
    shutil.copy(MIRROR, path)
    path.chmod(changes.get("mode", 0o755))
    for name, value in changes.get("attributes", {}).items():
        os.setxattr(path, name, value)
    yield path


def as_nobody():
    os.setgid(65534)
    os.setuid(65534)


def reqscope_for_all(folder):
    """What another user may execute; the tree may be below /root, which is closed."""
    for name in ("reqscope", "reqscope-place", "libreqscope.so"):
        shutil.copy(BUILD / name, folder)
    return folder / "reqscope"


# CAP_NET_BIND_SERVICE, effective (linux/capability.h, struct vfs_ns_cap_data)
CAPABILITY = {"security.capability": struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)}


@as_root
@pytest.mark.parametrize("changes", ({"mode": 0o4755}, {"mode": 0o2755}, {"attributes": CAPABILITY}), ids=repr)
def test_privileges_are_kept(changes, trace):
    folder = trace.parent
    folder.chmod(0o777)
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o755)
    with copied(folder, **changes) as program:
        plain, whole = (
            run(*prefix, program, preexec_fn=as_nobody)
            for prefix in ((), (reqscope_for_all(folder), *run_prefix(trace)[1:], "sh", "-c", '"$0"'))
        )
    assert not the_one(whole)["placed"]
    assert comparable(the_one(whole)) == comparable(the_one(plain))
    assert (the_one(plain)["uids"].split()[1] == "0") == (changes.get("mode") == 0o4755)
    assert (int(the_one(plain)["capabilities"], 16) != 0) == (changes.get("mode") == 0o4755 or "attributes" in changes)
    assert unplaced(trace) == 1
    assert "1 Go program that it started ran unhooked" in whole.stderr


# capset: no capability is permitted any more. What root executes has them all again.
LAY_DOWN = """
import ctypes, os, struct, sys
head = struct.pack("<Ii", 0x20080522, 0)
assert ctypes.CDLL(None).syscall(126, head, struct.pack("<6I", *[0] * 6)) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@as_root
def test_capabilities_that_an_exec_brings_back_are_kept(trace):
    plain = the_one(run(sys.executable, "-c", LAY_DOWN, MIRROR))
    launched = the_one(run(sys.executable, "-c", LAY_DOWN, *run_prefix(trace), MIRROR))
    whole = the_one(run(*run_prefix(trace, "-f"), sys.executable, "-c", LAY_DOWN, MIRROR))
    assert plain["capabilities"] == launched["capabilities"] == whole["capabilities"]


def refuse_ptrace():
    """A filter of system calls that most containers had: EPERM for ptrace."""
    code = ((0x20, 0, 0, 0), (0x15, 0, 1, 101), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000))
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *words) for words in code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    program = Program(len(code), ctypes.addressof(instructions))
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def test_without_ptrace_it_runs_unhooked(trace):
    done = run(*run_prefix(trace), MIRROR, "exit", "3", preexec_fn=refuse_ptrace)
    assert done.returncode == 3
    assert not the_one(done)["placed"]
    assert the_one(done)["descriptors"].keys() == {"0", "1", "2"}
    assert re.search(r"^reqscope: .*mirror isn't recorded: .*ptrace is forbidden", done.stderr, re.M)
    assert unplaced(trace) == 1


@pytest.mark.parametrize("kilobytes", (800_000, 1_000_000, 4_000_000))
def test_with_little_room_it_has_it_for_itself(kilobytes, trace):
    plain, whole = (
        run(*prefix, "sh", "-c", f"ulimit -v {kilobytes}; exec {MIRROR}") for prefix in ((), run_prefix(trace))
    )
    assert whole.returncode == plain.returncode
    assert [seen["placed"] for seen in seen_by(whole)] == [kilobytes > 2_097_152] * len(seen_by(plain))


def test_a_library_that_is_in_our_way_is_in_nobody_elses(tmp_path, trace):
    (tmp_path / "libelf.so.1").write_text("no library at all")
    done = run(*run_prefix(trace), "env", f"LD_LIBRARY_PATH={tmp_path}", MIRROR, "exit", 4)
    assert done.returncode == 4
    assert not the_one(done)["placed"]
    assert unplaced(trace) == 1


def test_one_that_is_traced_already(trace):
    if not shutil.which("strace"):
        pytest.skip("no strace")
    done = run(*run_prefix(trace), "strace", "-f", "-o", "/dev/null", "sh", "-c", f"{MIRROR}; exit 6")
    assert done.returncode == 6
    assert not the_one(done)["placed"]
    assert unplaced(trace) == 1


# ---- an exec that fails ----

FAILS = """
import os, sys
try:
    os.execv(sys.argv[1], ["x"])
except OSError as error:
    print(error.errno)
"""


def test_a_failing_exec_fails_as_it_would(tmp_path, trace):
    files = {"not executable": 0o644, "a folder": None, "missing": 0}
    (tmp_path / "a folder").mkdir()
    shutil.copy(MIRROR, tmp_path / "not executable")
    (tmp_path / "not executable").chmod(0o644)
    for name in files:
        command = [sys.executable, "-c", FAILS, tmp_path / name]
        plain, whole = run(*command), run(*run_prefix(trace, "-f"), *command)
        assert whole.stdout == plain.stdout != "", name


def test_a_program_that_is_still_being_written(tmp_path, trace):
    """ETXTBSY: waited for, for a while, as the one who asked is no longer there to try again."""
    with copied(tmp_path) as program:
        writer = open(program, "r+b")
        process = subprocess.Popen(
            [*run_prefix(trace), "sh", "-c", str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(0.3)
        writer.close()
        out, _ = process.communicate(timeout=20)
    assert json.loads(out)["placed"]
