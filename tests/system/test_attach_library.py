"""Dynamic programs are attached to at hard moments: it succeeds, or says why not, and the program never minds."""

import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from attaching import hooks
from catalog import VENV_PYTHON
from recording import BUILD, LIBRARY, REQSCOPE, ROOT
from serve import wait_until
from test_attach_go import session

ATTACHER = BUILD / "attach" / "attacher"
MUSL_LIBRARY = BUILD / "libreqscope-musl.so"
KINDS = {"glibc": BUILD / "servers/moments", "musl": BUILD / "servers/moments-musl"}
CYCLES = 10
LIMIT = 300  # ms, moments.c: of each call

TIMED_OUT, BUSY, NOT_PERMITTED, NOT_EXECUTABLE, NONE_SUCH = -110, -16, -1, -8, -3


def skip_without(kind):
    if kind == "musl" and not shutil.which("musl-gcc"):
        pytest.skip("needs musl-tools: make deps")


@contextmanager
def process(command, **options):
    target = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        assert target.stdout.readline() == "ready\n"
        yield target
    finally:
        if target.poll() is None:
            target.kill()
        target.wait()
        target.stdout.close()


def moment(name, kind="glibc", **options):
    skip_without(kind)
    return process([KINDS[kind], name], **options)


def end(target) -> str:
    """What it says of itself."""
    os.kill(target.pid, signal.SIGTERM)
    said = target.stdout.read()
    assert target.wait(20) == 0, said
    return said


def run_attacher(*words) -> list[tuple[int, str]]:
    done = subprocess.run([ATTACHER, *map(str, words)], capture_output=True, text=True, timeout=60)
    return [(int(line.split()[0]), line.partition(" ")[2]) for line in done.stdout.splitlines()]


def cycles(pid: int, trace, count=CYCLES) -> list[tuple[int, str]]:
    with session(pid, trace) as token:
        return run_attacher("cycles", pid, token, LIBRARY, MUSL_LIBRARY, count)


def remaining_hooks(pid) -> list[str]:
    """One that loads and unloads all the time may have unmapped what is just being read."""
    for _ in range(20):
        try:
            return hooks(pid)
        except OSError:
            pass
    return hooks(pid)


def assert_cycled(pid, trace, count=CYCLES):
    said = cycles(pid, trace, count)
    assert [error for error, _ in said] == [0] * 2 * count, said[-1]
    assert not remaining_hooks(pid)
    assert "memfd:reqscope" not in Path(f"/proc/{pid}/maps").read_text()


def assert_refused(pid, trace, error, why):
    ((got, said),) = cycles(pid, trace)
    assert got == error and why in said, (got, said)


# ---- where it succeeds ----

DONE = ("malloc", "dlopen", "condition", "epoll", "read", "signals", "signals-elsewhere", "pending", "threads",
        "small-stack", "filter", "made-code", "call-select", "call-poll")  # fmt: skip
# Of musl's own functions nothing tells how to unwind: threads that only wait for others aren't taken.
NOT_MUSL = ("condition",)


@pytest.mark.parametrize("name, kind", [*((name, kind) for name in DONE for kind in KINDS), ("semaphore", "glibc")])
def test_attached_and_left(name, kind, trace):
    if kind == "musl" and name in NOT_MUSL:
        with moment(name, kind) as target:
            assert_refused(target.pid, trace, TIMED_OUT, "no thread")
            assert end(target).endswith("good\n")
        return
    with moment(name, kind) as target:
        assert_cycled(target.pid, trace)
        assert end(target).endswith("good\n")


def test_many_threads(trace):
    with moment("many") as target:
        assert len(os.listdir(f"/proc/{target.pid}/task")) == 2001
        assert_cycled(target.pid, trace, 2)
        assert end(target) == "good\n"


def test_children_of_a_process_that_forks_all_the_time(trace):
    with moment("fork") as target:
        said = cycles(target.pid, trace)
        assert all(error in (0, TIMED_OUT) for error, _ in said), said
        assert end(target) == "good\n"


def test_a_process_that_executes_all_the_time(trace):
    """Each program is another: it may be left before its end, or may have ended before."""
    with moment("exec") as target:
        with session(target.pid, trace) as token:
            for _ in range(CYCLES):
                ((error, why),) = run_attacher("attach", target.pid, token, LIBRARY, MUSL_LIBRARY)
                assert error in (0, TIMED_OUT, NONE_SUCH, NOT_EXECUTABLE), why
                ((error, why),) = run_attacher("detach", target.pid)
                assert error in (0, TIMED_OUT, NONE_SUCH), why
        assert target.poll() is None
        os.kill(target.pid, signal.SIGKILL)


CONTENDING = """
import select, signal, threading
ending = False
def work():
    while not ending:
        sum(range(3000))
        select.select([], [], [], 0)
def end(*_):
    global ending
    ending = True
signal.signal(signal.SIGTERM, end)
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads: thread.start()
print("ready", flush=True)
for thread in threads: thread.join()
print("good")
"""


def test_threads_that_wait_for_pythons_global_lock(trace):
    """They aren't taken: it couldn't be given to the thread that is to take it for us."""
    with process([VENV_PYTHON, "-c", CONTENDING]) as target:
        assert_cycled(target.pid, trace)
        assert end(target) == "good\n"


# ---- where it doesn't ----


NOT_DONE = [("mutex", "glibc"), ("loop", "glibc"), ("handler", "glibc"), ("handler", "musl"),
            ("made-code-in-handler", "glibc")]  # fmt: skip


@pytest.mark.parametrize("name, kind", NOT_DONE)
def test_no_safe_moment(name, kind, trace):
    with moment(name, kind) as target:
        assert_refused(target.pid, trace, TIMED_OUT, "no thread of it was seen where a library can be loaded")
        assert end(target) == "good\n"


WAITING = """
#include <poll.h>
#include <stdio.h>
static __attribute__((constructor)) void wait(void) { puts("ready"); fflush(stdout); poll(0, 0, -1); }
"""


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_constructor(kind, tmp_path, trace):
    """The loader's locks are held."""
    skip_without(kind)
    library = tmp_path / "waiting.so"
    compiler = "musl-gcc" if kind == "musl" else "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-xc", "-o", library, "-"], input=WAITING, text=True, check=True)
    with moment("constructor", kind, env={**os.environ, "WAITING": str(library)}) as target:
        assert_refused(target.pid, trace, TIMED_OUT, "no thread of it was seen where a library can be loaded")
        assert end(target) == "good\n"


@pytest.mark.parametrize("kind", KINDS)
def test_in_malloc_only(kind, trace):
    """Whether one of its threads is ever somewhere else, is chance."""
    with moment("malloc-only", kind) as target:
        said = cycles(target.pid, trace, 1)
        assert said[-1][0] in (0, TIMED_OUT), said
        assert end(target) == "good\n"


@pytest.mark.parametrize("name", ("kill-mmap", "kill-openat", "kill-socket", "errno-openat"))
def test_behind_a_filter(name, trace):
    with moment(name) as target:
        assert_refused(target.pid, trace, NOT_PERMITTED, "seccomp filter")
        assert end(target) == "good\n"


# A filter that allows everything (BPF_RET | BPF_K, SECCOMP_RET_ALLOW), for the command that follows.
FILTERED = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.readlink("/proc/self/ns/pid") != "pid:[4026531836]", reason="a container's filters are shared")
def test_behind_as_many_filters_as_we_are(trace):
    """Who has a filter himself may not look at others', and outside a container as many needn't be the same."""
    with moment("filter") as target:
        done = subprocess.run([VENV_PYTHON, "-c", FILTERED, REQSCOPE, "attach", str(target.pid), "-o", trace],
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        assert done.returncode == 125 and "it has a seccomp filter" in done.stderr, done.stderr
        assert end(target).endswith("good\n")


@pytest.mark.parametrize("limit", (resource.RLIMIT_AS, resource.RLIMIT_DATA))
def test_little_is_left_of_limited_memory(limit, trace):
    """The program needs that itself."""
    with moment("pending") as target:
        pages = [int(word) for word in Path(f"/proc/{target.pid}/statm").read_text().split()]
        used = pages[0 if limit == resource.RLIMIT_AS else 5] * resource.getpagesize()
        resource.prlimit(target.pid, limit, (used + used // 8,) * 2)
        assert_refused(target.pid, trace, NOT_EXECUTABLE, "too little is left of what its memory is limited to")
        assert end(target) == "good\n"


def blocked(pid: int) -> int:
    return int(re.search(r"^SigBlk:\s+(\S+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1], 16)


def state(pid: int) -> str:
    return re.search(r"^State:\s+(\S)", Path(f"/proc/{pid}/status").read_text(), re.M)[1]


def test_stopped(trace):
    with moment("pending") as target:
        os.kill(target.pid, signal.SIGSTOP)
        wait_until(lambda: state(target.pid) == "T", 10, "the stop")
        assert_refused(target.pid, trace, TIMED_OUT, "stopped by a signal")
        assert state(target.pid) == "T"
        os.kill(target.pid, signal.SIGCONT)
        assert_cycled(target.pid, trace, 1)
        assert end(target) == "good\n"


@pytest.mark.parametrize("name", ("pending", "threads", "condition"))
def test_stopped_while_attached_to(name, trace):
    """It is left all the same, and stays stopped."""
    with moment(name) as target, session(target.pid, trace) as token:
        assert run_attacher("attach", target.pid, token, LIBRARY, MUSL_LIBRARY)[0][0] == 0
        os.kill(target.pid, signal.SIGSTOP)
        wait_until(lambda: state(target.pid) == "T", 10, "the stop")
        assert run_attacher("detach", target.pid)[0][0] == 0
        wait_until(lambda: state(target.pid) == "T", 10, "the stop again")
        assert not hooks(target.pid)
        os.kill(target.pid, signal.SIGCONT)
        assert end(target).endswith("good\n")


def test_ended(trace):
    with moment("epoll") as target:
        os.kill(target.pid, signal.SIGKILL)
        os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
        assert_refused(target.pid, trace, NONE_SUCH, "it has ended")


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_traced(trace):
    with moment("pending") as target:
        tracer = subprocess.Popen(["strace", "-o", "/dev/null", "-p", str(target.pid)], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{target.pid}/status").read_text(), 10, "strace")
            assert_refused(target.pid, trace, BUSY, f"it is traced by process {tracer.pid}")
        finally:
            tracer.terminate()
            tracer.wait()
        assert end(target) == "good\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_of_another_user(trace):
    with moment("epoll") as target, session(target.pid, trace) as token:
        words = [ATTACHER, "attach", str(target.pid), token, LIBRARY, MUSL_LIBRARY]
        done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "--", *words], capture_output=True, text=True)
        assert done.stdout.startswith(f"{NOT_PERMITTED} ") and "somebody else" in done.stdout, done.stdout
        assert end(target) == "good\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a root directory of its own")
def test_without_the_library_in_its_view(tmp_path, trace):
    """A static shell isn't needed: the program and its two libraries are."""
    root = tmp_path / "root"
    for path in (KINDS["glibc"], Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/x86_64-linux-gnu/libc.so.6")):
        to = root / (str(path).lstrip("/") if path != KINDS["glibc"] else "moments")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    (root / "dev").mkdir()
    with process(["chroot", root, "/moments", "epoll"]) as target:
        assert_refused(target.pid, trace, NOT_EXECUTABLE, "libreqscope.so")
        assert end(target) == "good\n"


def test_without_a_dynamic_library(tmp_path, trace):
    program = tmp_path / "static"
    source = ROOT / "tests/servers/c/moments.c"
    subprocess.run(["cc", "-static", "-D_GNU_SOURCE", "-w", "-O1", "-o", program, source], check=True, stderr=subprocess.DEVNULL)
    with process([program, "epoll"]) as target:
        assert_refused(target.pid, trace, NOT_EXECUTABLE, "no C library")
        assert end(target) == "good\n"


FAULTY = """
struct { unsigned version, attached; long offset; unsigned long module; } reqscope_probe;
long reqscope_attach(void *words) { return *(volatile long *)8; }
long reqscope_detach(void) { return 0; }
long reqscope_release(void) { return 0; }
"""


def test_a_fault_of_ours_is_not_the_programs(tmp_path, trace):
    """Its handler isn't called, and stays what it is; the thread goes on."""
    library = tmp_path / "libreqscope.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-o", library, "-"], input=FAULTY, text=True, check=True)
    with moment("faults") as target:
        ((error, why),) = run_attacher("attach", target.pid, "0" * 32, library, MUSL_LIBRARY)
        assert error and "failed" in why, (error, why)
        assert not blocked(target.pid)
        assert end(target) == "good\n"


# ---- calls that are interrupted ----

RESULTS = {"poll": (0, 0), "select": (0, 0), "nanosleep": (0, 0), "epoll": (0, 0), "sigtimedwait": (-1, 11),
           "recv": (-1, 11)}  # fmt: skip
# Interrupted, the kernel tells nobody how much of their time was left.
MADE_AGAIN = ("epoll", "sigtimedwait", "recv")


def calls_of(target) -> list[tuple[int, int, int]]:
    """How long each took in ms, its result and its error."""
    *calls, last = end(target).splitlines()
    assert last == "good"
    return [tuple(int(word) for word in line.split()) for line in calls]


@pytest.mark.parametrize("name, kind", [*((name, "glibc") for name in RESULTS), ("poll", "musl"), ("epoll", "musl")])
def test_interrupted_calls(name, kind, trace):
    with moment(f"call-{name}", kind) as target, moment(f"call-{name}", kind) as alone:
        assert_cycled(target.pid, trace, 12)
        time.sleep(2.5 * LIMIT / 1000)
        seen, undisturbed = calls_of(target), calls_of(alone)
    assert {(result, error) for _, result, error in seen} == {RESULTS[name]}
    took = [duration for duration, _, _ in seen]
    assert min(took) >= LIMIT - 1, took
    if name not in MADE_AGAIN:
        usual = statistics.median(duration for duration, _, _ in undisturbed)
        assert statistics.median(took) < usual + LIMIT / 2, (took, undisturbed)


# ---- we are killed ----


def test_killed_at_any_moment(trace):
    """The target goes on, whatever it was made to do; a later detach leaves nothing."""
    with moment("call-poll") as target, session(target.pid, trace) as token:
        for i in range(60):
            attacher = subprocess.Popen(
                [ATTACHER, "cycles", str(target.pid), token, LIBRARY, MUSL_LIBRARY, "5"], stdout=subprocess.DEVNULL
            )
            time.sleep(0.001 + 0.0007 * i)
            attacher.kill()
            attacher.wait()
            assert target.poll() is None
        wait_until(lambda: run_attacher("detach", target.pid)[0][0] == 0, 10, "the detaching")
        wait_until(lambda: not blocked(target.pid), 10, "the end of what was called last")
        calls = end(target).splitlines()
    assert calls[-1] == "good"
    assert {tuple(line.split()[1:]) for line in calls[:-1]} <= {("0", "0"), ("-1", "4")}
