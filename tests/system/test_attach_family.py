"""Programs that an attached process starts: recorded from their first request on while it is, and strangers afterwards."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import load
import pytest
from attaching import Attached, hooks, shared_memory
from procfs import alive
from recording import BUILD, LIBRARY, ROOT, report
from serve import free_port, wait_until
from test_attach_library import assert_cycled, end, moment

HTTPD = BUILD / "servers/httpd"
# Each line says how a server is to be started, and on which port; what is printed is its number.
STARTER = """
import os, select, subprocess, sys
print("ready", flush=True)
while True:
    select.select([0], [], [])
    how, *command = sys.stdin.readline().split()
    if how == "vfork":
        subprocess._USE_VFORK = True
        pid = subprocess.Popen(command).pid
    elif how == "spawn":
        pid = os.posix_spawn(command[0], command, os.environ)
    elif how == "shell":
        pid = subprocess.Popen(["/bin/sh", "-c", " ".join(command) + " & echo; wait"], stdout=subprocess.DEVNULL).pid
    else:
        pid = os.fork()
        if pid == 0:
            os.execv(command[0], command)
    print(pid, flush=True)
"""
HOW = ("fork", "vfork", "spawn", "shell")


# Starts programs in several threads until a line comes; then tells how many there were, and how many failed.
RESTLESS = """
import os, select, subprocess, threading
done, failed, on = [], [], [True]
def fork():
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/true", ["true"])
    return os.waitpid(pid, 0)[1]
def spawn():
    return os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)[1]
def vfork():
    return subprocess.call(["/bin/true"])
def run(how):
    while on[0]:
        (failed if how() else done).append(1)
threads = [threading.Thread(target=run, args=[how]) for how in (fork, spawn, vfork, vfork)]
for thread in threads:
    thread.start()
print("ready", flush=True)
select.select([0], [], [])
on[0] = False
for thread in threads:
    thread.join()
print(len(done), len(failed), flush=True)
"""


class Starter:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, start_new_session=True)  # fmt: skip
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n"

    @contextmanager
    def started(self, how):
        """A server's address and number."""
        port = free_port()
        self.process.stdin.write(f"{how} {HTTPD} {port}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        wait_until(lambda: is_listening(port), 20, "the server")
        yield f"http://127.0.0.1:{port}", pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


def is_listening(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_marked(pid) -> bool:
    """Is anything of ours in its memory, or given to it? The folder of our files may have any name."""
    said = "".join(Path(f"/proc/{pid}/{name}").read_text(errors="replace") for name in ("maps", "environ"))
    return "reqscope" in said.replace(str(ROOT), "").lower()


@pytest.mark.parametrize("how", HOW)
def test_programs_started_while_attached(how, trace):
    with Starter() as starter:
        with Attached(starter.pid, trace, "--children") as attached:
            with starter.started(how) as (url, _):
                assert load.fixed(url + "/json", 300).succeeded == 300
            with starter.started(how) as (url, _):
                assert load.fixed(url + "/json", 200).succeeded == 200
            time.sleep(0.2)
            assert attached.end() == 0, attached.said
        seen = report(trace)
        assert seen["requests"] == 500
        assert hooks(starter.pid) == [] and shared_memory(starter.pid) == []
        with starter.started(how) as (url, pid):
            assert not is_marked(pid)
            assert load.fixed(url + "/json", 100).succeeded == 100


@pytest.mark.parametrize("how", HOW)
def test_programs_of_one_that_is_recorded_alone(how, trace):
    with Starter() as starter, Attached(starter.pid, trace) as attached:
        with starter.started(how) as (_, pid):
            assert not is_marked(pid)
        assert attached.end() == 0, attached.said


def test_programs_started_all_the_time(trace):
    """Whatever is under way when hooks come and go, each program runs to its end."""
    target = subprocess.Popen([sys.executable, "-c", RESTLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert target.stdout.readline() == "ready\n"
        assert_cycled(target.pid, trace, 40)
        for _ in range(3):
            with Attached(target.pid, trace, "-f", "--children"):
                time.sleep(0.2)
        assert hooks(target.pid) == [] and shared_memory(target.pid) == []
        said = target.communicate("\n", timeout=30)[0]
    finally:
        target.kill()
        target.wait()
    done, failed = map(int, said.split())
    assert done > 100 and not failed


# ---- killed between the halves of the detaching ----


def probe_of(pid: int):
    """Reads reqscope_probe.attached in the process: 1 attached, 2 detached and not released, 0 neither."""
    symbols = subprocess.run(["readelf", "-sW", "--dyn-syms", LIBRARY], capture_output=True, text=True).stdout
    offset = int(re.search(r"([0-9a-f]{16}) .* reqscope_probe$", symbols, re.M)[1], 16)
    (base,) = [int(line.split("-")[0], 16) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
               if str(LIBRARY) in line and " 00000000 " in line]  # fmt: skip

    def read() -> int:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(base + offset + 4)
            return struct.unpack("<I", memory.read(4))[0]

    return read


@pytest.mark.parametrize("victims", [("attach-keeper",), ("attach-keeper", "attach", "collect")], ids=["keeper", "all"])
def test_killed_between_the_halves(victims, trace):
    """Many threads are looked at between them, one after the other."""
    with moment("many") as target:
        attached = Attached(target.pid, trace)
        probe = probe_of(target.pid)
        assert probe() == 1
        attached.process.send_signal(signal.SIGINT)
        while probe() == 1:
            pass
        between = probe()
        if "attach" in victims:
            attached.process.kill()
        for name in victims:
            if name in attached.family:
                os.kill(attached.family[name], signal.SIGKILL)
        attached.wait()
        wait_until(lambda: not any(map(alive, attached.family.values())), 20, "the end of the others")
        assert between == 2 and hooks(target.pid) == []
        assert probe() == (2 if "attach" in victims else 0)
        with Attached(target.pid, trace, "-f") as again:
            assert probe() == 1
            assert again.end() == 0, again.said
        assert probe() == 0 and hooks(target.pid) == [] and shared_memory(target.pid) == []
        assert end(target) == "good\n"
