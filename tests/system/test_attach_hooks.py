"""The library's own part of attaching: hooks come into a server that runs, and go again, any number of times."""

import errno
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import load
import procfs
import pytest
from attaching import hooks, memory, shared_memory
from raw_client import Connection, get
from recording import BUILD, LIBRARY, REQSCOPE, ROOT, SETTLE, ended_trace, meanwhile
from serve import Server, wait_until
from test_attach_go import attacher, session

MUSL_LIBRARY = BUILD / "libreqscope-musl.so"
CYCLES = 8
FORKS = 100
GROWTH = 64  # KiB: of a process with hooks that come and go, from the first time on
ADDRESSES = re.compile(r"^([0-9a-f]{16})  \S+ R_X86_64_(JUMP_SLO|GLOB_DAT)", re.M)


class Attachable:
    """A server with a thread of the test's (attach_control.c) that does what an attacher makes one of its threads do."""

    def __init__(self, server: Server, folder: Path, library: Path):
        self.server, self.library = server, library
        self.control = folder / "control"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "asker"))
        self.socket.settimeout(30)

    def ask(self, *words) -> int:
        self.socket.sendto(" ".join(map(str, words)).encode(), str(self.control))
        return int(self.socket.recv(100))

    @contextmanager
    def attached(self, trace: Path, seconds=1.5):
        """Attached, with a collector of its own that stops after so long, as it does before a process is detached."""
        token = secrets.token_hex(16)
        collector = start_collector(token, self.server.pid, trace, seconds)
        try:
            assert self.ask("attach", self.library, token) == 0
            yield
            collector.wait(20)
            assert self.ask("detach") == 0
            time.sleep(SETTLE)  # in the place of looking at each thread
            assert self.ask("release") == 0
        finally:
            collector.kill()
            collector.wait(20)


def start_collector(token: str, pid: int, trace: Path, seconds: float) -> subprocess.Popen:
    ready, given = os.pipe()
    command = [REQSCOPE, "collect", "--token", token, "--pid", str(pid), "--mode", "preload", "--out", trace,
               "--ready-fd", str(given), "--duration", str(seconds)]  # fmt: skip
    collector = subprocess.Popen(command, pass_fds=[given])
    os.close(given)
    assert os.read(ready, 1) == b"\0"
    os.close(ready)
    return collector


def build_control(folder: Path, compiler: str) -> Path:
    to = folder / "control.so"
    source = Path(__file__).with_name("attach_control.c")
    kernel = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"]  # which musl-gcc leaves out
    words = ["-shared", "-fPIC", "-O1", f"-I{ROOT / 'include'}", *kernel, "-o", to, source, "-lpthread", "-ldl"]
    subprocess.run([compiler, *words], check=True)
    return to


@contextmanager
def attachable(name: str, folder: Path, library=LIBRARY, **options):
    control = build_control(folder, "musl-gcc" if library == MUSL_LIBRARY else "cc")
    env = {"LD_PRELOAD": str(control), "CONTROL": str(folder / "control"), **options.pop("env", {})}
    with Server(name, env=env, **options) as server:
        wait_until((folder / "control").exists, 10, "the control socket")
        yield Attachable(server, folder, library)


@contextmanager
def under_load(url: str, clients=4):
    """All the time, by short commands one after the other."""
    failed = []
    with meanwhile(lambda: failed.append(load.fixed(url, 300, clients).errored)):
        yield
    assert not any(failed) and failed


def objects(pid: int) -> dict[str, int]:
    """file -> where it is mapped, of what the process has loaded, but not ours."""
    found = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/") and words[2] == "00000000" and words[5] not in found:
            found[words[5]] = int(words[0].split("-")[0], 16)
    return {path: at for path, at in found.items() if "libreqscope" not in path and Path(path).exists()}


def slots(pid: int) -> dict[tuple[str, int], int]:
    """(object, offset) -> the address there, of all that objects call or refer to by name."""
    seen = {}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for path, base in objects(pid).items():
            listed = subprocess.run(["readelf", "-rW", path], capture_output=True, text=True).stdout
            fixed = "EXEC" in subprocess.run(["readelf", "-hW", path], capture_output=True, text=True).stdout
            for offset in {int(found[0], 16) for found in ADDRESSES.findall(listed)}:
                memory.seek(offset if fixed else base + offset)
                (seen[path, offset],) = struct.unpack("<Q", memory.read(8))
    return seen


def count_recorded(trace: Path) -> int:
    return sum((request.route, request.status) == ("/json", 200) for request in ended_trace(trace).requests)


KINDS = [
    pytest.param("httpd", LIBRARY, id="glibc"),
    pytest.param("httpd-musl", MUSL_LIBRARY, id="musl",
                 marks=pytest.mark.skipif(not shutil.which("musl-gcc"), reason="needs musl-tools: make deps")),
]  # fmt: skip
# With everything resolved at the start; where it isn't, a call that is made for the first time changes its slot itself.
NOW = {"LD_BIND_NOW": "1"}


@pytest.mark.parametrize(("name", "library"), KINDS)
def test_recorded_while_attached_alone(name, library, tmp_path):
    with attachable(name, tmp_path, library) as target:
        url = target.server.url + "/json"
        load.fixed(url, 100)
        with target.attached(tmp_path / "1.rqs"):
            assert load.fixed(url, 500).errored == 0
        load.fixed(url, 100)
        with target.attached(tmp_path / "2.rqs"):
            assert load.fixed(url, 300).errored == 0
        target.server.stop()
    assert len(ended_trace(tmp_path / "1.rqs").requests) == 500
    assert len(ended_trace(tmp_path / "2.rqs").requests) == 300


@pytest.mark.parametrize(("name", "library"), KINDS)
def test_allocations_of_new_threads(name, library, tmp_path):
    """Each connection has a thread of its own here, which began under our eyes."""
    with attachable(name, tmp_path, library) as target:
        with target.attached(tmp_path / "a.rqs"):
            load.fixed(target.server.url + "/alloc?kb=8", 100, clients=2)
        target.server.stop()
    seen = ended_trace(tmp_path / "a.rqs").requests
    allocated = {(request.values["alloc_count"], request.values["alloc_bytes"]) for request in seen}
    assert len(seen) == 100 and allocated == {(2, 2 * 8192)}


@pytest.mark.parametrize(("name", "library"), KINDS)
def test_lazy_slots_are_as_before(name, library, tmp_path):
    """What hadn't been called yet leads to the linker again, or was resolved by a call meanwhile."""
    with attachable(name, tmp_path, library) as target:
        load.fixed(target.server.url + "/json", 10)
        before = slots(target.server.pid)
        with target.attached(tmp_path / "a.rqs"):
            during = slots(target.server.pid)
        after = slots(target.server.pid)
        target.server.stop()
    assert [slot for slot in before if before[slot] != during[slot]]
    # What the test does meanwhile, it does by calls of its own.
    before = {slot: value for slot, value in before.items() if not slot[0].endswith("/control.so")}
    assert {slot: after[slot] for slot in before} == before


@pytest.mark.parametrize(
    ("name", "library"), [*KINDS, *(pytest.param(name, LIBRARY, id=name) for name in ("fastapi-asyncio", "fastapi-uvloop", "flask-waitress"))]
)
def test_many_times_under_load(name, library, tmp_path):
    path = "/json"
    with attachable(name, tmp_path, library, env=NOW, workers=1) as target:
        pid = target.server.pid
        load.fixed(target.server.url + path, 500)
        before, sizes, seen = slots(pid), [], 0
        for cycle in range(CYCLES):
            trace = tmp_path / f"{cycle}.rqs"
            with under_load(target.server.url + path), target.attached(trace, 0.4):
                assert cycle or {slot: value for slot, value in slots(pid).items() if before.get(slot) != value}
                time.sleep(0.2)
            seen += count_recorded(trace)
            trace.unlink()
            sizes.append(memory(pid))
        load.fixed(target.server.url + path, 500)
        after = slots(pid)
        assert procfs.alive(pid) and hooks(pid) == []
        target.server.stop()
    print(f"{name}: KiB in memory and mapped after each cycle: {sizes}")
    assert {slot: after[slot] for slot in before} == before
    assert seen > CYCLES  # on a busy machine one of them may be over before it has begun
    # A server's own memory goes up and down by more than that.
    early, late = zip(*sizes[:3]), zip(*sizes[-3:])
    assert all(min(last) - max(first) <= GROWTH for last, first in zip(late, early)), sizes


def test_loaded_later(tmp_path):
    """A library that comes while its process is attached has its slots changed, and gets them back."""
    source, plugin = tmp_path / "plugin.c", tmp_path / "plugin.so"
    source.write_text("#include <unistd.h>\nint use(int fd) { char c; return read(fd, &c, 1); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wl,-z,now", "-o", plugin, source], check=True)

    def own(pid) -> dict:
        return {slot: value for slot, value in slots(pid).items() if slot[0] == str(plugin)}

    with attachable("httpd", tmp_path) as target:
        with target.attached(tmp_path / "a.rqs"):
            assert target.ask("load", plugin) == 0
            loaded = own(target.server.pid)
            # Nobody asks the linker for anything of it: it is found by those that wait for requests.
            load.fixed(target.server.url + "/json", 20)
            wait_until(lambda: own(target.server.pid) != loaded, 5, "its slots to be changed")
        after = own(target.server.pid)
        target.server.stop()
    assert after == loaded


def test_loaded_while_it_is_looked_for(tmp_path):
    """What the linker is still working at isn't touched: it seals pages when it has done with them, not before."""
    source, plugin = tmp_path / "big.c", tmp_path / "big.so"
    pairs = ", ".join(["(void *)read, (void *)write"] * 10_000)
    source.write_text(f"#include <unistd.h>\nvoid *const table[] = {{ {pairs} }};\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-z,relro,-z,now", "-o", plugin, source], check=True)
    with attachable("httpd", tmp_path) as target:
        with target.attached(tmp_path / "a.rqs", 2):
            assert target.ask("churn", plugin, 300) == 0
        assert load.fixed(target.server.url + "/json", 100).errored == 0
        target.server.stop()


# ---- what another recording has left ----


def test_a_recording_whose_keeper_was_killed(tmp_path):
    """Between the detaching's halves, or before both: whoever attaches next takes out what is left."""
    with attachable("httpd", tmp_path, env=NOW) as target:
        pid, url = target.server.pid, target.server.url + "/json"
        before = slots(pid)
        collector = start_collector(token := secrets.token_hex(16), pid, tmp_path / "0.rqs", 1)
        assert target.ask("attach", LIBRARY, token) == 0
        collector.wait(20)
        assert target.ask("detach") == 0
        assert target.ask("attach", LIBRARY, token) == -errno.EALREADY
        assert_recorded_again(target, tmp_path / "1.rqs", 100)

        collector = start_collector(token := secrets.token_hex(16), pid, tmp_path / "2.rqs", 20)
        assert target.ask("attach", LIBRARY, token) == 0
        assert target.ask("attach", LIBRARY, token) == -errno.EBUSY
        collector.kill()
        collector.wait(20)
        time.sleep(3)  # a collector that is only slow is known by then
        assert_recorded_again(target, tmp_path / "3.rqs", 200)
        assert load.fixed(url, 100).errored == 0
        after = slots(pid)
        target.server.stop()
    before = {slot: value for slot, value in before.items() if not slot[0].endswith("/control.so")}
    assert {slot: after[slot] for slot in before} == before


def assert_recorded_again(target: Attachable, trace: Path, count: int):
    """Attached to from outside."""
    with session(target.server.pid, trace) as token:
        assert attacher("attach", target.server.pid, token, LIBRARY, MUSL_LIBRARY)[0] == 0
        assert load.fixed(target.server.url + "/json", count).errored == 0
        time.sleep(SETTLE)
    assert attacher("detach", target.server.pid)[0] == 0
    assert len(ended_trace(trace).requests) == count


# ---- forks, filters ----


def children(pid: int) -> list[int]:
    return [child for child in procfs.descendants(pid) if child != pid]


def is_hooked(pid: int) -> bool:
    """As hooks(), of the program and the test's own library alone, which is quick."""
    return bool(hooks(pid, r"/(httpd|control\.so)$"))


def assert_attached_again(child: int, trace: Path):
    with session(child, trace) as token:
        assert attacher("attach", child, token, LIBRARY, MUSL_LIBRARY)[0] == 0
        assert is_hooked(child)
    assert attacher("detach", child)[0] == 0
    assert not is_hooked(child) and shared_memory(child) == []


def test_forked_all_the_time(tmp_path):
    """Children of any moment, of an attach or a detach under way, too, can be detached from, and are as before."""
    with attachable("httpd", tmp_path) as target:
        try:
            with target.attached(tmp_path / "warm.rqs", 0.5):
                pass
            assert target.ask("fork", FORKS) == 0
            with target.attached(tmp_path / "a.rqs", 0.3):
                pass
            wait_until(lambda: len(children(target.server.pid)) == FORKS, 20, "all children")
            family = children(target.server.pid)
            hooked = [child for child in family if is_hooked(child)]
            # One that its parent's recording left behind, and one that was detached from.
            time.sleep(3)  # a collector that is only slow is known by then
            assert_attached_again(hooked[0], tmp_path / "left.rqs")
            for child in hooked:
                assert attacher("detach", child)[0] == 0, child
            assert hooked and not any(map(is_hooked, family))
            assert [child for child in hooked if shared_memory(child)] == []
            assert_attached_again(hooked[0], tmp_path / "again.rqs")
            assert all(map(procfs.alive, family))
        finally:
            for child in children(target.server.pid):
                os.kill(child, signal.SIGKILL)
        target.server.stop()


@pytest.mark.parametrize(("name", "library"), KINDS)
def test_a_vfork_under_way(name, library, tmp_path):
    """Its child has our memory, and hooks that it didn't begin with: what it does isn't taken for its parent's."""
    with attachable(name, tmp_path, library) as target, Connection(target.server.port) as client:
        client.exchange(get("/json"))
        assert target.ask("vfork", 600) == 0
        time.sleep(0.1)
        with target.attached(tmp_path / "a.rqs", 2.5):
            client.exchange(get("/json"))  # was waited for before
            client.exchange(get("/json"))
            client.exchange(get("/json"), cuts=[10], pause=0.8)
            assert load.fixed(target.server.url + "/json", 100).errored == 0
        client.exchange(get("/json"))
        target.server.stop()
    seen = ended_trace(tmp_path / "a.rqs")
    assert len(seen.requests) == 102
    assert max(request.latency for request in seen.requests) > 0.7e9
    assert seen.samples[-1]["time"] - seen.samples[0]["time"] > 1.5e9  # not of a process that was replaced


# x86-64's numbers of what joining, patching and looking around ask for.
CALLS = {"mprotect": 10, "rt_sigprocmask": 14, "sched_yield": 24, "mremap": 25, "madvise": 28, "socket": 41, "connect": 42,
         "sendto": 44, "recvmsg": 47, "getsockname": 51, "getsockopt": 55, "clone": 56, "wait4": 61, "futex": 202,
         "munlock": 150, "prctl": 157, "gettid": 186, "getdents64": 217, "openat": 257, "prlimit64": 302}  # fmt: skip


def test_calls_that_are_forbidden(tmp_path):
    """It fails with nothing changed, or it doesn't need that call."""
    with attachable("httpd", tmp_path) as target:
        collector = start_collector(token := secrets.token_hex(16), target.server.pid, tmp_path / "a.rqs", 15)
        try:
            results = {}
            for name, number in CALLS.items():
                child, error = divmod(target.ask("forbid", number, LIBRARY, token), 1 << 16)
                results[name] = error
                assert procfs.alive(child), name
                if error:
                    assert hooks(child) == [] and shared_memory(child) == [], name
                os.kill(child, signal.SIGKILL)
        finally:
            collector.kill()
            collector.wait(20)
        target.server.stop()
    print(results)
    assert {"mprotect", "mremap", "socket", "recvmsg", "clone"} <= {name for name, error in results.items() if error}


def test_every_export_is_hooked():
    """What is interposed by a preload is what is patched; free only where samples are taken."""
    exported = set(re.findall(r"^\t(\w+);$", (ROOT / "agent/hook/exports.map").read_text(), re.M))
    source = (ROOT / "agent/hook/got_table.c").read_text()
    listed = set(re.findall(r"\bX\((\w+)\)", source))
    assert {name for name in exported if not name.startswith("reqscope_")} - {"free"} == listed - {"name"}
