"""Go programs that are attached to and left at hard moments: what they do goes on, whatever the attacher says."""

import contextlib
import errno
import fcntl
import os
import random
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time

import catalog
import load
import pytest
import raw_client
from attaching import Attached
from procfs import alive, descendants
from raw_client import Connection
from recording import BUILD, SETTLE, assert_balanced, ended_trace, recorded, report
from serve import Server, wait_until
from test_attach_go import ATTACHER, attacher, session, text_of

HOSTILE = catalog.BUILD / "servers/hostile"
BESIDE_C = catalog.BUILD / "servers/beside-c"
EBUSY, EPERM = -errno.EBUSY, -errno.EPERM


class Hostile:
    """A case of the hostile program that serves, or another one like it; it ends with its standard input."""

    def __init__(self, case, wrap=(), program=HOSTILE, **env):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([*wrap, program, case], env={**os.environ, **env}, **pipes)
        self.port = int(self.process.stdout.readline())
        self.pid = self.process.pid
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def __exit__(self, *_):
        self.said = self.process.communicate(timeout=20)[0]
        assert self.process.returncode == 0


@contextlib.contextmanager
def loaded(server, count=60000):
    """Requests all the time, none of which may fail."""
    command = ["h2load", "--h1", "-n", str(count), "-c", "8", "-t", "1", server.url + "/json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process
    output = process.communicate(timeout=240)[0]
    assert f"{count} succeeded, 0 failed, 0 errored" in output, output


def threads_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def in_and_out(server, token, times=3):
    for _ in range(times):
        for words in (("attach", server.pid, token), ("detach", server.pid)):
            error, why = attacher(*words)
            assert error == 0, why


def exchange(client, count=1):
    for _ in range(count):
        assert client.exchange(raw_client.get("/x")).status == 200


def test_threads_that_wait_in_reads_of_ours(trace):
    """What was made a recvmsg is made a read again, by a call that has brought nothing yet."""
    with Hostile("blocking") as server:
        before = text_of(server.pid)
        with contextlib.ExitStack() as stack:
            with session(server.pid, trace) as token:
                assert attacher("attach", server.pid, token)[0] == 0
                clients = [stack.enter_context(Connection(server.port)) for _ in range(8)]
                for client in clients:
                    exchange(client, 3)
                wait_until(lambda: reads_of(server.pid).count(47) == len(clients), 20, "all to wait in recvmsg")
                error, why = attacher("detach", server.pid)
                assert error == 0, why
                wait_until(lambda: reads_of(server.pid).count(0) >= len(clients), 20, "all to wait in read")
                assert text_of(server.pid) == before
                for client in clients:
                    exchange(client, 3)
    assert "interrupted" not in server.said
    seen = ended_trace(trace) and report(trace)
    assert seen["requests"] == 3 * len(clients)
    assert_balanced(seen["completeness"])


def reads_of(pid: int) -> list[int]:
    """The numbers of the system calls that threads are in."""
    numbers = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/syscall") as file:
            word = file.read().split()[0]
            if word.isdigit():
                numbers.append(int(word))
    return numbers


def kill_at_some_moment(word, server, token, seconds):
    process = subprocess.Popen([ATTACHER, word, str(server.pid), *([token] if word == "attach" else [])],
                               stdout=subprocess.DEVNULL)  # fmt: skip
    time.sleep(seconds)
    process.kill()
    process.wait()


def test_attachers_that_are_killed(trace):
    """At any moment: the threads go on, and what is there is taken out by the next one."""
    chance = random.Random(8)
    with Server("nethttp") as server, session(server.pid, trace) as token:
        before = text_of(server.pid)
        with loaded(server, 100000):
            for i in range(40):
                kill_at_some_moment("attach" if i % 2 else "detach", server, token, chance.uniform(0, 0.03))
                if i % 8 == 7:
                    error, why = attacher("detach", server.pid)
                    assert error == 0, why
                    assert text_of(server.pid) == before
        in_and_out(server, token)
        assert text_of(server.pid) == before
        wait_until(lambda: not blocked_signals(server.pid), 10, "all signals to be let in again")


def blocked_signals(pid: int) -> list[str]:
    """Threads that block what Go never blocks for longer than a moment: SIGURG."""
    threads = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/status") as file:
            mask = int(next(line for line in file if line.startswith("SigBlk")).split()[1], 16)
            if mask >> (signal.SIGURG - 1) & 1:
                threads.append(task)
    return threads


@pytest.fixture
def other_build(tmp_path):
    """The attacher with another payload: one constant differs."""
    path = tmp_path / "attacher"
    program = bytearray(ATTACHER.read_bytes())
    payload = (BUILD / "payload.so").read_bytes()
    filler = b"\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"  # nothing is done with the address
    at = program.index(payload) + payload.index(filler) + len(filler) - 1
    program[at] = 1
    path.write_bytes(program)
    path.chmod(0o755)
    return path


def test_what_another_build_has_left(trace, other_build):
    def other(*words):
        done = subprocess.run([other_build, *map(str, words)], capture_output=True, text=True, timeout=30)
        error, _, rest = done.stdout.strip().partition(" ")
        return int(error), rest

    with Server("nethttp") as server, session(server.pid, trace) as token:
        before = text_of(server.pid)
        assert other("attach", server.pid, token)[0] == 0
        for word in (("attach", server.pid, token), ("detach", server.pid)):
            error, why = attacher(*word)
            assert error == EBUSY and "another build" in why
        assert load.fixed([server.url + "/json"], 100, 4).answered == 100
        assert other("detach", server.pid)[0] == 0
        assert text_of(server.pid) == before
        for _ in range(2):
            in_and_out(server, token, 2)
            assert load.fixed([server.url + "/json"], 100, 4).answered == 100
            assert other("attach", server.pid, token)[0] == 0
            assert other("detach", server.pid)[0] == 0
        assert text_of(server.pid) == before


def test_threads_that_begin_and_end_all_the_time(trace):
    with Hostile("churn") as server, session(server.pid, trace) as token, loaded(server, 20000):
        in_and_out(server, token, 8)


def test_children_that_are_started_all_the_time(trace):
    with Hostile("spawns") as server, session(server.pid, trace) as token, loaded(server, 20000):
        in_and_out(server, token, 8)


def test_children_that_end_while_they_are_looked_at(trace):
    """They aren't any more, so that nothing of ours is in them."""
    with Hostile("spawns") as server:
        for _ in range(8):
            attached = Attached(server.pid, trace, "-f")
            assert attached.end() == 0, attached.said


@pytest.fixture
def slow_program(tmp_path):
    """A program, and what is called to let its exec go on; the kernel has it wait for the lease of its file to end."""
    path = tmp_path / "slow"
    shutil.copy("/bin/true", path)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    file = os.open(path, os.O_RDONLY)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    yield path, lambda: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(file)
    signal.signal(signal.SIGIO, before)


def test_a_child_that_is_long_in_its_parents_memory(slow_program, trace):
    """Until it executes something it is no process of its own to attach to, or to detach from."""
    path, go_on = slow_program
    with Hostile("runs", PROGRAM=str(path)) as server:
        before = text_of(server.pid)
        with Attached(server.pid, trace, "--children") as attached:
            server.tell()
            wait_until(lambda: len(list(descendants(server.pid))) > 1, 5, "the child")
            (child,) = (pid for pid in descendants(server.pid) if pid != server.pid)
            time.sleep(1)
            assert load.fixed([server.url + "/"], 200, 2).answered == 200
            assert text_of(server.pid) != before
            time.sleep(SETTLE)
            error, why = attacher("attach", child, secrets.token_hex(16))
            assert error < 0 and "parent's memory" in why
            assert attacher("detach", child)[0] == 0
            assert text_of(server.pid) != before
            go_on()
            assert server.process.stdout.readline() == "ran\n"
            assert attached.end() == 0, attached.said
        assert text_of(server.pid) == before
        assert load.fixed([server.url + "/"], 100, 2).answered == 100
    seen = report(trace)
    assert seen["requests"] == 200
    assert_balanced(seen["completeness"])


def test_a_program_that_becomes_itself_all_the_time(trace):
    """Then it may be too late; but it is never in the way of the program."""
    process = subprocess.Popen([HOSTILE, "becomes-itself"], stdout=subprocess.PIPE, text=True, env={"TIMES": "30"})
    chance = random.Random(8)
    with session(process.pid, trace) as token:
        errors = []
        while process.poll() is None:
            errors.append(attacher("attach", process.pid, token))
            time.sleep(chance.uniform(0, 0.02))
            errors.append(attacher("detach", process.pid))
    assert process.communicate(timeout=20)[0] == "done\n" and process.returncode == 0
    assert any(error == 0 for error, _ in errors)
    assert all(why for error, why in errors if error)


def test_threads_of_c(trace):
    """They know nothing of Go's ways: their waits end when they would."""
    with Hostile("", program=BESIDE_C) as server, session(server.pid, trace) as token, loaded(server, 10000):
        in_and_out(server, token, 8)
    assert server.said == "interrupted 0\n"


def test_memory_may_not_become_executable(trace):
    """As services are told by MemoryDenyWriteExecute."""
    forbid = ("import ctypes, os, sys; assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0;"
              "os.execv(sys.argv[1], sys.argv[1:])")  # fmt: skip
    if subprocess.run([sys.executable, "-c", forbid, "/bin/true"], capture_output=True).returncode:
        pytest.skip("the kernel has no such thing")
    with Hostile("hello", wrap=(sys.executable, "-c", forbid)) as server, session(server.pid, trace) as token:
        before = text_of(server.pid)
        assert attacher("attach", server.pid, token) == (-errno.ENOEXEC, "it may make no memory executable")
        assert text_of(server.pid) == before
        assert load.fixed([server.url + "/"], 100, 2).answered == 100


def test_two_thousand_threads(trace):
    with Hostile("threads", COUNT="2000") as server, session(server.pid, trace) as token:
        wait_until(lambda: threads_of(server.pid) > 2000, 20, "threads")
        with loaded(server, 20000):
            in_and_out(server, token)


def state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_a_process_that_is_stopped_stays_so(trace):
    with Hostile("hello") as server, session(server.pid, trace) as token:
        before = text_of(server.pid)
        os.kill(server.pid, signal.SIGSTOP)
        wait_until(lambda: state(server.pid) == "T", 20, "it to stop")
        assert attacher("attach", server.pid, token)[0] == 0
        wait_until(lambda: state(server.pid) == "T", 20, "it to stay stopped")
        os.kill(server.pid, signal.SIGCONT)
        assert load.fixed([server.url + "/"], 100, 2).answered == 100
        os.kill(server.pid, signal.SIGSTOP)
        wait_until(lambda: state(server.pid) == "T", 20, "it to stop")
        assert attacher("detach", server.pid)[0] == 0
        wait_until(lambda: state(server.pid) == "T", 20, "it to stay stopped")
        assert text_of(server.pid) == before
        os.kill(server.pid, signal.SIGCONT)
        assert load.fixed([server.url + "/"], 100, 2).answered == 100


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root")
def test_somebody_elses_process():
    nobody = ["setpriv", "--reuid=65534", "--clear-groups"]
    with Hostile("hello") as server:
        done = subprocess.run([*nobody, ATTACHER, "attach", str(server.pid), secrets.token_hex(16)],
                              capture_output=True, text=True)  # fmt: skip
        assert done.stdout.startswith(f"{EPERM} it belongs to somebody else")
        assert alive(server.pid)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
def test_the_collector_is_in_another_network(trace):
    with Hostile("hello", wrap=("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "-")) as server:
        before = text_of(server.pid)
        with session(server.pid, trace) as token:
            error, why = attacher("attach", server.pid, token)
            assert error < 0 and "collector" in why
        assert text_of(server.pid) == before


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
def test_its_processes_have_other_numbers_for_itself(trace):
    """As in a container, seen from outside."""
    with Hostile("hello", wrap=("unshare", "--pid", "--fork", "--kill-child")) as server:
        (pid,) = (pid for pid in descendants(server.pid) if pid != server.pid)
        before = text_of(pid)
        for i in range(2):
            with Attached(pid, trace, "-f"):
                assert load.fixed([server.url + "/"], 100, 2).answered == 100
                time.sleep(SETTLE)
            assert text_of(pid) == before
            seen = report(trace)
            assert seen["requests"] == 100
            assert_balanced(seen["completeness"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_threads_of_other_networks_are_not_asked(trace):
    with Hostile("networks") as server, session(server.pid, trace) as token:
        in_and_out(server, token, 5)
        assert load.fixed([server.url + "/"], 100, 2).answered == 100


# What comes before that child is told by the filter itself.
FORBIDDEN = {"getppid": (110, "its system calls are filtered"),
             "mprotect": (10, "its seccomp filter forbids what placing code takes"),
             "wait4": (61, "its seccomp filter forbids what placing code takes")}  # fmt: skip


@pytest.mark.parametrize("call", FORBIDDEN)
def test_a_filter_of_system_calls(call, trace):
    """It kills for a call of ours: that is tried in a child."""
    number, why = FORBIDDEN[call]
    with Hostile("filtered", FORBIDDEN=str(number)) as server, session(server.pid, trace) as token:
        before = text_of(server.pid)
        assert attacher("attach", server.pid, token) == (-errno.ENOEXEC, why)
        assert text_of(server.pid) == before
        assert load.fixed([server.url + "/"], 100, 2).answered == 100


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv")
def test_no_new_privileges(trace):
    with Hostile("hello", wrap=("setpriv", "--no-new-privs")) as server, session(server.pid, trace) as token:
        in_and_out(server, token)
        assert load.fixed([server.url + "/"], 100, 2).answered == 100


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root")
def test_no_thread_may_be_started(trace):
    """Then it isn't attached to; and if it is, at least the hooks are taken out."""
    with Hostile("limited", wrap=("setpriv", "--reuid=65534", "--clear-groups")) as server:
        before = text_of(server.pid)
        with session(server.pid, trace) as token:
            assert attacher("attach", server.pid, token)[0] == 0
            server.tell()
            assert server.process.stdout.readline() == "limited\n"
            error, why = attacher("detach", server.pid)
            assert error == -errno.EAGAIN and "hooks are out" in why
            assert text_of(server.pid) == before
            error, why = attacher("attach", server.pid, token)
            assert error == -errno.EAGAIN and "no more threads" in why
        assert text_of(server.pid) == before
        assert load.fixed([server.url + "/"], 100, 2).answered == 100


def test_no_more_files_may_be_opened(trace):
    with Hostile("hello") as server, session(server.pid, trace) as token:
        load.fixed([server.url + "/"], 100, 2)
        wait_until(lambda: not clients_of(server.pid), 5, "its connections to be closed")
        files = files_of(server.pid)
        for more in (0, 1):
            free = min(set(range(4096)) - files)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (free + more, 4096))
            error, why = attacher("attach", server.pid, token)
            assert error == -errno.EMFILE and "Too many open files" in why
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (1000, 4096))
        in_and_out(server, token)
        assert files_of(server.pid) == files


def files_of(pid: int) -> set[int]:
    return set(map(int, os.listdir(f"/proc/{pid}/fd")))


def clients_of(pid: int) -> list[int]:
    """Its sockets but the one that listens, which is its first."""
    with contextlib.suppress(OSError):
        return [fd for fd in files_of(pid) if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")][1:]
    return [0]


def test_what_was_recorded_from_its_start(trace, tmp_path):
    for how in ("run", "preload"):
        with recorded("nethttp-cgo", tmp_path / f"{how}.rqs", how) as server, session(server.pid, trace) as token:
            wait_until(lambda: server.pids(), 20, "it to be there")
            assert attacher("attach", server.pids()[-1], token) == (EBUSY, "it is recorded already")
    with recorded("nethttp", tmp_path / "static.rqs", "run") as server, session(server.pid, trace) as token:
        assert attacher("attach", server.pids()[-1], token) == (EBUSY, "it is recorded already")


def test_programs_that_it_executes(trace):
    with Hostile("starts") as server:
        with Attached(server.pid, trace, "--children"):
            server.tell()
            port = int(server.process.stdout.readline())
            assert load.fixed([f"http://127.0.0.1:{port}/"], 100, 2).answered == 100
            time.sleep(SETTLE)
        (child,) = (pid for pid in descendants(server.pid) if pid != server.pid)
        assert text_of(child) == text_of(server.pid)
        assert load.fixed([f"http://127.0.0.1:{port}/"], 100, 2).answered == 100
    assert report(trace)["requests"] == 100


def test_without_times(trace):
    with Hostile("hello") as server:
        with Attached(server.pid, trace, "--no-sched"):
            assert load.fixed([server.url + "/"], 100, 2).answered == 100
            time.sleep(SETTLE)
    seen = report(trace)
    assert seen["requests"] == 100
    assert_balanced(seen["completeness"])
