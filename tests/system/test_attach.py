"""`reqscope attach`: servers that run are recorded, and afterwards they are as they were."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import pytest
import raw_client
from attaching import BEGUN, Attached, code, hooks, left_by, mappings, resident, shared_memory
from catalog import SERVERS as SERVER_RECIPES
from procfs import alive, command_line
from raw_client import Connection
from recording import GO, REQSCOPE, SETTLE, assert_balanced, if_ended, recorded, report
from serve import Server, wait_until

# What is attached to, and by which options. A parent of workers serves nothing itself.
SERVERS = {
    "nethttp": (),
    "gin": (),
    "fastapi-uvloop": (),
    "flask-sync": ("--children",),
    "express": (),
    "nginx": ("--children",),
}
CYCLE_SERVERS = {name: SERVERS.get(name, ()) for name in
                 ("gin", "fiber", "fastapi-asyncio", "fastapi-uvloop", "flask-sync", "express", "nginx")}  # fmt: skip
CYCLES = 12  # `make soak` has 200
ROUND = 2_000  # requests of one piece of load
LONGEST = 20_000_000  # µs of a request


@pytest.mark.parametrize("name", SERVERS)
def test_every_request_after_the_attach_is_counted(name, trace):
    with Server(name) as server:
        before = load.fixed(server.url + "/json", 100)
        assert before.succeeded == 100
        with Attached(server.pid, trace, *SERVERS[name]) as attached:
            done = load.fixed(server.url + "/json", ROUND)
            time.sleep(SETTLE)
            assert attached.end() == 0, attached.said
        after = load.fixed(server.url + "/json", 100)
    assert (done.succeeded, done.failed, after.succeeded) == (ROUND, 0, 100)
    seen = report(trace)
    assert seen["requests"] == ROUND
    assert_balanced(seen["completeness"])
    attach = seen["attach"]
    assert attach["pid"] == server.pid and (attach["processes"] > 1) == bool(SERVERS[name])
    assert 0 < attach["stopped"] < 20 and 0 < attach["detach_stopped"] < 20
    assert "start-up" in [note["what"] for note in seen["not_measured"]]
    assert f"{ROUND} requests recorded in {trace}" in attached.said
    assert "threads were stopped for at most" in attached.said


@pytest.mark.skipif(bool(SERVER_RECIPES["httpd-musl"].missing()), reason="needs musl-tools: make deps")
def test_what_a_stack_held_before_is_no_hindrance(trace):
    """Of musl nothing tells how to unwind; below accept lies what is left of the making of threads."""
    with Server("httpd-musl") as server:
        for _ in range(3):
            with Attached(server.pid, trace, "-f") as attached:
                assert load.fixed(server.url + "/json", 200).succeeded == 200
                assert attached.end() == 0, attached.said
            assert_clean(server)


@pytest.mark.parametrize("name", SERVERS)
def test_connections_from_before_are_recorded(name, trace):
    if name == "flask-sync":
        pytest.skip("it ends a connection with each response")
    with Server(name) as server, Connection(server.port) as client:
        assert client.exchange(raw_client.get("/json")).status == 200
        with Attached(server.pid, trace, *SERVERS[name]) as attached:
            for _ in range(10):
                assert client.exchange(raw_client.get("/json")).status == 200
            time.sleep(SETTLE)
            assert attached.end() == 0, attached.said
        assert client.exchange(raw_client.get("/json")).status == 200
    seen = report(trace)
    assert seen["requests"] == 10
    assert_balanced(seen["completeness"])


class Background:
    """Load in pieces, until it is ended; all that its clients saw."""

    def __init__(self, server):
        self.rows, self.sent, self.succeeded = [], 0, 0
        self.url = server.url + "/json"
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.ending.is_set():
            done = load.fixed(self.url, ROUND)
            self.sent += ROUND
            self.succeeded += done.succeeded
            self.rows += sorted(done.rows, key=lambda row: row.start)

    def end(self):
        self.ending.set()
        self.thread.join(60)
        assert self.sent and self.succeeded == self.sent


@contextmanager
def loaded(server):
    background = Background(server)
    try:
        yield background
    finally:
        background.end()


def now() -> int:
    """As the client's rows have it."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Recording:
    trace: Path
    asked: int  # µs, as the client's rows have it; nothing was recorded before,
    begun: int  # all from here on,
    ended: int  # until here,
    over: int  # and nothing later


def attach_once(server, trace, options, seconds=0.3) -> Recording:
    asked = now()
    with Attached(server.pid, trace, *options) as attached:
        begun = now()
        time.sleep(seconds)
        ended = now()
        assert attached.end() == 0, attached.said
    return Recording(trace, asked, begun, ended, now())


def assert_count(recording, rows) -> dict:
    """All requests that lie within the recording are in the trace, and none that lies without. Returns its report.

    Rows are in the order of their starts.
    """
    seen = report(recording.trace)
    assert_balanced(seen["completeness"])
    first = bisect_left(rows, recording.asked - LONGEST, key=lambda row: row.start)
    rows = rows[first : bisect_left(rows, recording.over, key=lambda row: row.start)]
    within = sum(row.start >= recording.begun and row.end <= recording.ended for row in rows)
    touched = sum(row.end >= recording.asked and row.start <= recording.over for row in rows)
    assert within <= seen["requests"] <= touched
    assert seen["completeness"]["given_up"] == 0
    return seen


def count_mappings(name, pids) -> int:
    """V8 maps and unmaps all the time: of Node only what has a file."""
    return sum(bool(m.path) or name != "express" for pid in pids for m in mappings(pid))


@pytest.mark.parametrize("name", CYCLE_SERVERS)
def test_cycles_under_load(name, tmp_path):
    """No request fails, counts are the client's, and in the end all code and all addresses are as they were."""
    recordings = []
    with Server(name) as server:
        load.fixed(server.url + "/json", ROUND)
        pids = server.pids()
        before = {pid: code(pid) for pid in pids}
        sizes = []
        with loaded(server) as background:
            for i in range(CYCLES):
                trace = tmp_path / f"{i}.rqs"
                recordings.append(attach_once(server, trace, CYCLE_SERVERS[name], 0.12))
                sizes.append(count_mappings(name, pids))
        assert server.pids() == pids
        for pid in pids:
            now_there = code(pid)
            assert {place: now_there.get(place) for place in before[pid]} == before[pid]
            assert hooks(pid) == [] and shared_memory(pid) == []
        assert max(sizes[CYCLES // 2 :]) <= max(sizes[: CYCLES // 2]) + 4 * len(pids), sizes
    # The client pauses between two pieces of load: not each has some.
    assert sum(assert_count(recording, background.rows)["requests"] for recording in recordings) > CYCLES


@pytest.mark.parametrize("victim", ("attach", "collect", "attach-keeper"))
@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop", "flask-sync"))
def test_killed_itself_it_leaves_nothing(name, victim, trace):
    dice = random.Random(f"{name} {victim}")
    with Server(name) as server:
        pids = server.pids()
        before = {pid: code(pid) for pid in pids}
        with loaded(server):
            attached = Attached(server.pid, trace, *SERVERS[name])
            time.sleep(dice.random() * 0.3)
            attached.kill(victim)
            assert attached.process.returncode == (-signal.SIGKILL if victim == "attach" else 125)
        for pid in pids:
            now_there = code(pid)
            assert {place: now_there.get(place) for place in before[pid]} == before[pid]
            assert hooks(pid) == [] and shared_memory(pid) == []
        # And it can be attached to again.
        attach_once(server, trace, (*SERVERS[name], "-f"))
    assert if_ended(trace)


@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop"))
def test_all_killed_the_next_one_takes_over(name, trace):
    """Hooks stay, and do nothing; who attaches then finds that nobody records any more."""
    with Server(name) as server:
        attached = Attached(server.pid, trace)
        for pid in attached.family.values():
            os.kill(pid, signal.SIGSTOP)
        attached.process.kill()
        for pid in attached.family.values():
            os.kill(pid, signal.SIGKILL)
        attached.wait()
        wait_until(lambda: not any(map(alive, attached.family.values())), 10, "their end")
        assert load.fixed(server.url + "/json", 100).succeeded == 100
        with Attached(server.pid, trace, "-f"):
            assert load.fixed(server.url + "/json", 100).succeeded == 100
            time.sleep(SETTLE)
        assert report(trace)["requests"] == 100
        assert_clean(server)


@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop"))
def test_the_target_ends(name, trace):
    with Server(name) as server:
        attached = Attached(server.pid, trace)
        load.fixed(server.url + "/json", 100)
        time.sleep(SETTLE)
        server.stop()
        assert attached.wait() == 0, attached.said
    assert report(trace)["requests"] == 100


def test_the_duration_ends_it(trace):
    with Server("nethttp") as server:
        attached = Attached(server.pid, trace, "--duration", "2")
        begun = time.monotonic_ns()  # or some time before that: it is looked for now and then
        assert attached.wait() == 0, attached.said
        assert not hooks(server.pid) and not shared_memory(server.pid)
    assert int(if_ended(trace).totals["end_monotonic_ns"]) - begun > 10**9


@pytest.mark.parametrize("name", ("nethttp", "httpd", "fastapi-asyncio"))
def test_what_remains_is_what_is_documented(name, trace):
    """As agent/README.md has it, "A server that runs already"; and once there it is used again."""
    with Server(name) as server, Connection(server.port) as client:
        remains = []
        for _ in range(10):
            client.exchange(raw_client.get("/json"))
        before = {m.start for m in mappings(server.pid)}
        for _ in range(3):
            with Attached(server.pid, trace, "-f"):
                assert client.exchange(raw_client.get("/json")).status == 200
            remains.append(left_by(name, [m for m in mappings(server.pid) if m.start not in before]))
        sizes = resident(server.pid)
    assert remains[0] == remains[1] == remains[2] != []
    assert not any("w" in m.access and "x" in m.access for m in remains[0])
    if name == "nethttp":  # one piece: the hooks' code and its data
        assert all(one.end == two.start for one, two in zip(remains[0], remains[0][1:]))
        assert not any(m.path for m in remains[0])
        assert remains[0][-1].end - remains[0][0].start <= 192 << 10
    else:  # the library, and empty memory where the agent's was
        assert {Path(m.path).name for m in remains[0]} == {"libreqscope.so", ""}
        assert {m.access for m in remains[0] if not m.path} == {"rw-p"}
    # Memory without a file is next to the server's own, and told together with that.
    assert sum(sizes[m.start] for m in remains[0] if m.path or name == "nethttp") <= 1 << 20


# However it ends


def assert_clean(server):
    wait_until(lambda: not shared_memory(server.pid), 10, "the detaching")
    assert not hooks(server.pid)


@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop"))
def test_interrupted_before_it_has_begun(name, tmp_path):
    dice = random.Random(name)
    with Server(name) as server:
        for i in range(6):
            trace = tmp_path / f"{i}.rqs"
            process = subprocess.Popen([REQSCOPE, "attach", str(server.pid), "-o", trace], stderr=subprocess.PIPE)
            time.sleep(dice.random() * 0.05)
            process.send_signal((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[i % 3])
            said = process.communicate(timeout=20)[1]
            assert process.returncode in (0, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP), said
            assert_clean(server)
            assert not trace.exists() or if_ended(trace)
        assert load.fixed(server.url + "/json", 100).succeeded == 100


def interrupt_again(process) -> bool:
    """Two that come at once are one; on a busy machine the first may have been late."""
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    return process.poll() is not None


def test_a_second_interrupt_does_not_wait(trace):
    with Server("nethttp") as server:
        attached = Attached(server.pid, trace)
        keeper = attached.family["attach-keeper"]
        os.kill(keeper, signal.SIGSTOP)
        try:
            attached.process.send_signal(signal.SIGINT)
            time.sleep(0.6)
            assert attached.process.poll() is None
            wait_until(lambda: interrupt_again(attached.process), 20, "its end")
            assert attached.process.returncode == 125 and "goes on without us" in attached.said
        finally:
            os.kill(keeper, signal.SIGCONT)
        assert_clean(server)
    wait_until(lambda: if_ended(trace), 10, "the end")


def test_nobody_listens(trace):
    """Its terminal is closed."""
    with Server("nethttp") as server:
        command = [REQSCOPE, "attach", str(server.pid), "-o", trace]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert BEGUN in process.stderr.readline()
        process.stderr.close()
        assert load.fixed(server.url + "/json", 50).succeeded == 50
        time.sleep(SETTLE)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
        assert_clean(server)
        assert report(trace)["requests"] == 50
        closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command, "-f", "--duration", "0.5"]
        assert subprocess.run(closed, timeout=20).returncode == 0
        assert_clean(server)
    assert if_ended(trace) and report(trace)["requests"] == 0


def test_a_trace_to_be_replaced_is_kept_until_then(trace):
    trace.write_bytes(b"precious")
    done = attach(os.getpid(), "-o", trace)
    assert done.returncode == 125 and "exists already" in done.stderr and trace.read_bytes() == b"precious"
    with Server("nethttp") as server, Attached(server.pid, trace.with_name("other")):
        assert attach(server.pid, "-o", trace, "-f").returncode == 125
        assert trace.read_bytes() == b"precious"
    with Server("nethttp") as server, Attached(server.pid, trace, "-f"):
        pass
    assert if_ended(trace) and not list(trace.parent.glob("*~"))


def test_a_child_that_comes_later_is_recorded(trace):
    """A worker that is killed is replaced; the new one is found, or has joined as its parent's fork."""
    with Server("flask-sync") as server, Attached(server.pid, trace, "--children") as attached:
        old = server.pids()[1:]
        os.kill(old[0], signal.SIGKILL)
        wait_until(lambda: len(server.pids()) == 3 and server.pids()[1:] != old, 20, "another worker")
        wait_until(lambda: all(map(shared_memory, server.pids())), 20, "it to be recorded")
        time.sleep(1)  # a worker may have been made and not be at its work yet
        done = load.fixed(server.url + "/json", 500)
        time.sleep(SETTLE)
        assert attached.end() == 0, attached.said
    assert done.succeeded == 500
    assert report(trace)["requests"] == 500


BUSY = "import os\nprint(1, flush=True)\nwhile True: os.stat('/')"


def test_a_process_that_never_waits(trace):
    """Where there is no good moment that is said, and it is let go."""
    target = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    try:
        target.stdout.readline()
        done = attach(target.pid, "-o", trace)
        assert done.returncode == 125 and "another try may find it at a better moment" in done.stderr, done.stderr
        assert "TracerPid:\t0" in Path(f"/proc/{target.pid}/status").read_text() and not trace.exists()
    finally:
        target.kill()
        target.wait()


# What can't be


def attach(pid, *options, wrap=()):
    return subprocess.run([*wrap, REQSCOPE, "attach", str(pid), *options], capture_output=True, text=True, timeout=30)


def test_usage():
    for words in ((), ("x",), ("-1",), ("0",), ("1", "2"), ("--bad", "1"), ("1", "--duration", "0"), ("1", "-o")):
        done = subprocess.run([REQSCOPE, "attach", *words], capture_output=True, text=True, timeout=10)
        assert done.returncode == 2 and done.stderr.startswith("reqscope: attach: "), words
    assert "usage: reqscope attach PID" in attach("--help").stdout


def test_no_such_process(trace):
    done = attach(2**22 + 1, "-o", trace)
    assert done.returncode == 125 and "no process" in done.stderr and not trace.exists()


def test_what_is_no_server(trace):
    with Server("nethttp") as server, Attached(server.pid, trace) as attached:
        for pid in attached.family.values():
            assert "a process of reqscope itself" in attach(pid).stderr
    threads = [pid for pid in os.listdir("/proc") if pid.isdigit() and not Path(f"/proc/{pid}/cmdline").read_bytes()]
    if kernels := [pid for pid in threads if not os.path.lexists(f"/proc/{pid}/exe") or not mapped(pid)]:
        assert "a thread of the kernel" in attach(kernels[0]).stderr


def mapped(pid) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/maps").read_bytes())
    except OSError:
        return True


def test_a_process_that_has_ended(trace):
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    done = attach(dead.pid, "-o", trace)
    dead.wait()
    assert done.returncode == 125 and "has ended" in done.stderr and not trace.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_process_of_another_user():
    """That one may not write where the test may."""
    target = subprocess.Popen(["sleep", "60"])
    try:
        done = attach(target.pid, "-o", "/dev/null", "-f", wrap=("setpriv", "--reuid=65534", "--clear-groups", "--"))
    finally:
        target.kill()
        target.wait()
    assert done.returncode == 125 and "belongs to user 0" in done.stderr, done.stderr


@contextmanager
def public_folder():
    """One that other users may look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make programs that become root")
def test_a_setuid_process():
    """Who has started it may not attach to it, and root may."""
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", "--")
    with public_folder() as folder:
        program = folder / "sleep"
        shutil.copy(shutil.which("sleep"), program)
        program.chmod(0o4755)
        target = subprocess.Popen([*nobody, program, "60"])
        try:
            wait_until(lambda: command_line(target.pid)[:1] == [str(program)], 10, "the program")
            uids = re.search(r"^Uid:\s+(\d+)\s+(\d+)", Path(f"/proc/{target.pid}/status").read_text(), re.M)
            assert uids.groups() == ("65534", "0"), "its file system ignores setuid"
            refused = attach(target.pid, "-o", "/dev/null", "-f", wrap=nobody)
            done = attach(target.pid, "-o", folder / "trace.rqs", "--duration", "0.2")
        finally:
            target.kill()
            target.wait()
    assert refused.returncode == 125 and "more rights than the user" in refused.stderr, refused.stderr
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_meant_for_terminals(tmp_path):
    program = tmp_path / "\x1b[31mred"
    program.symlink_to(shutil.which("sleep"))
    target = subprocess.Popen([program, "60"])
    try:
        done = attach(target.pid, "-o", "/dev/null", "-f", "--duration", "0.2")
    finally:
        target.kill()
        target.wait()
    assert done.returncode == 0 and "(?[31mred)" in done.stderr and "\x1b" not in done.stderr, done.stderr


@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop"))
def test_a_process_that_is_recorded_already(name, trace, tmp_path):
    other = tmp_path / "other.rqs"
    with Server(name) as server, Attached(server.pid, trace):
        done = attach(server.pid, "-o", other)
        assert done.returncode == 125 and "end the other recording first" in done.stderr, done.stderr
        assert not other.exists()
        assert load.fixed(server.url + "/json", 100).succeeded == 100
        time.sleep(SETTLE)
    assert report(trace)["requests"] == 100  # the first goes on


@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop"))
def test_two_at_once(name, tmp_path):
    """One of them records, and counts right; the other leaves it alone, whenever it comes."""
    with Server(name) as server:
        for i in range(20 if name == "nethttp" else 8):
            traces = [tmp_path / f"{i}{side}.rqs" for side in "ab"]
            commands = [[REQSCOPE, "attach", str(server.pid), "-o", trace] for trace in traces]
            both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
            first = [process.stderr.readline() for process in both]
            (winner,) = [n for n in (0, 1) if BEGUN in first[n]]
            assert "isn't recorded: " in first[1 - winner], first
            assert both[1 - winner].wait(30) == 125 and not traces[1 - winner].exists()
            assert load.fixed(server.url + "/json", 50).succeeded == 50
            time.sleep(SETTLE)
            both[winner].send_signal(signal.SIGINT)
            said = both[winner].communicate(timeout=30)[1]
            assert both[winner].returncode == 0 and "50 requests recorded" in said, (first, said)
        assert hooks(server.pid) == [] and shared_memory(server.pid) == []


def test_a_child_that_another_one_records_stays_recorded(trace, tmp_path):
    with Server("flask-sync") as server:
        child = server.pids()[1]
        with Attached(child, trace):
            with Attached(server.pid, tmp_path / "all.rqs", "--children"):
                pass
            time.sleep(SETTLE)
            assert shared_memory(child)
            done = load.fixed(server.url + "/json", 200)
            time.sleep(SETTLE)
        assert done.succeeded == 200 and not shared_memory(child)
    assert report(trace)["requests"] > 0


@pytest.mark.parametrize("name", ("nethttp", "fastapi-uvloop"))
def test_a_process_that_was_started_by_run(name, trace, tmp_path):
    other = tmp_path / "other.rqs"
    with recorded(name, trace, "run" if name in GO else "preload") as server:
        done = attach(server.pid, "-o", other)
        assert done.returncode == 125 and "end the other recording first" in done.stderr, done.stderr
        assert not other.exists()
        assert load.fixed(server.url + "/json", 100).succeeded == 100
    wait_until(lambda: if_ended(trace), 10, "the end")
    assert report(trace)["requests"] == 100


def test_a_process_whose_recording_by_run_has_ended(trace, tmp_path):
    """There is none to be ended; its hooks were chosen by the linker, and stay."""
    with recorded("httpd", trace, "preload") as server:
        (collector,) = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                        if "collect" in (words := command_line(pid)) and str(trace) in words]  # fmt: skip
        os.kill(collector, signal.SIGKILL)

        def said() -> str:
            done = attach(server.pid, "-o", tmp_path / "other.rqs")
            assert done.returncode == 125
            return done.stderr

        wait_until(lambda: "it was started to be recorded" in said(), 20, "the silence to be noticed")
        assert "end the other recording" not in said()
        assert load.fixed(server.url + "/json", 100).succeeded == 100
