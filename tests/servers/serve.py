#!/usr/bin/env python3
"""Starts one of the test servers, waits until it is ready, and stops it.

    serve.py NAME [--port P] [--workers N] [--wrap "CMD PREFIX"] [--env K=V]... [--upstream]

prints one line of JSON {"pid", "port", "name"} once the server listens, stays in the foreground, and ends the server when
it gets TERM or INT. Tests and benches use the class Server.

Being ready is read from /proc/net/tcp: no request and no connection is made that a profiler could count.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import procfs
from catalog import SERVERS, Place

START_DEADLINE = 60.0  # seconds; a cold Python on a busy machine takes several
STOP_DEADLINE = 20.0


class NotAvailable(Exception):
    """The server is not installed here."""


def wait_until(condition, seconds: float, what: str):
    """Polls condition until it is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on, below those the kernel gives to clients: a client can't take it meanwhile."""
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError("no free port")


class Server:
    """A running server; also a context manager.

    wrap is a command to put before the server's, such as ["build/reqscope", "run", "-o", FILE, "--"]; env is added to
    the environment of that, and cwd is where it runs. python is what comes behind the name of a Python server's
    interpreter, such as ["-m", "memray", "run"]. upstream=True starts the little server that /db asks, outside of all that;
    another Server, not yet started, takes its place. seconds is how long its start may take.
    """

    def __init__(self, name, *, port=0, workers=None, wrap=(), env=None, cwd=None, upstream=False, python=(),
                 seconds=START_DEADLINE):  # fmt: skip
        if name not in SERVERS:
            raise NotAvailable(f"no server '{name}': {', '.join(SERVERS)}")
        self.name = name
        self.recipe = SERVERS[name]
        if self.recipe.missing():
            raise NotAvailable(f"{name} needs {self.recipe.missing()}: make deps")
        self.port = port or free_port()
        self.workers = workers or self.recipe.workers
        self.wrap = [str(word) for word in wrap]
        self.python = [str(word) for word in python]
        self.env = env or {}
        self.cwd = cwd
        self.seconds = seconds
        self.upstream = Server("asyncio") if upstream is True else upstream or None
        self.folder = None
        self.process = None
        self.pid = None
        self.last_words = ""  # what it printed, where it didn't start

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What the server and its wrapper printed."""
        return (self.folder / "output").read_text(errors="replace")

    def start(self) -> "Server":
        self.folder = Path(tempfile.mkdtemp(prefix=f"reqscope-{self.name}-"))
        try:
            if self.upstream:
                self.upstream.start()
            self._spawn()
            wait_until(self._is_ready, self.seconds, f"{self.name} to listen")
        except BaseException:
            self.last_words = self._tail()
            print(self.last_words, file=sys.stderr)
            self.close()
            raise
        return self

    def _spawn(self):
        upstream = self.upstream.port if self.upstream else 0
        place = Place(self.port, self.workers, upstream, self.folder)
        program, *words = [str(word) for word in self.recipe.command(place)]
        command = [*self.wrap, program, *self.python, *words]
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **dict(self.recipe.env)}
        if upstream:
            env["UPSTREAM"] = str(upstream)
        env.update(self.env)
        with open(self.folder / "output", "wb") as output:
            self.process = subprocess.Popen(
                command, cwd=self.cwd, env=env,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode} before it listened")
        inode = procfs.listener_inode(self.port)
        if inode:
            holders = (pid for pid in procfs.descendants(self.process.pid) if procfs.holds_socket(pid, inode))
            self.pid = next(holders, None)
        return self.pid is not None and self._serving() >= self.workers

    def _serving(self) -> int:
        """Serving processes. A parent of several listens before its workers are there."""
        return len(self.pids()) - (1 if self.has_parent else 0)

    @property
    def has_parent(self) -> bool:
        """Whether the first process only looks after the others: gunicorn, nginx, and uvicorn and Node with workers."""
        words = " ".join(procfs.command_line(self.pid))
        return "gunicorn" in words or "nginx" in words or self.workers > 1

    def pids(self) -> list[int]:
        """The server's processes, the wrapper's and a profiler's own left out; the first is the parent of the rest."""
        return [pid for pid in procfs.descendants(self.pid) if Path(procfs.executable(pid)).name != "reqscope"]

    def cpu_seconds(self) -> float:
        return procfs.cpu_seconds(self.pids())

    def memory(self) -> dict[str, int]:
        return procfs.memory(self.pids())

    def stop(self, number=signal.SIGTERM) -> int:
        """Sends the signal to the server and returns the status of what was started: the wrapper's when there is one."""
        if procfs.alive(self.pid):
            os.kill(self.pid, number)
        return self.wait()

    def kill(self) -> int:
        """kill -9 of all the server's processes at once, the parent first so that it starts no new one."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return self.wait()

    def wait(self, seconds: float = STOP_DEADLINE) -> int:
        return self.process.wait(timeout=seconds)

    def close(self):
        """Ends whatever still runs of what start() started, and removes the folder."""
        if self.process and self.process.poll() is None:
            for pid in procfs.descendants(self.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
        if self.upstream:
            self.upstream.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _tail(self) -> str:
        return "\n".join(self.output.splitlines()[-20:]) if (self.folder / "output").exists() else ""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SERVERS, metavar="NAME", help=", ".join(SERVERS))
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--workers", type=int, help="serving processes, where the server has such a choice")
    parser.add_argument("--wrap", default="", metavar="CMD", help="a command to put before the server's")
    parser.add_argument("--env", action="append", default=[], metavar="K=V", help="for the server alone")
    parser.add_argument("--upstream", action="store_true", help="start the server that /db asks, too")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        server = Server(
            arguments.name, port=arguments.port, workers=arguments.workers, wrap=shlex.split(arguments.wrap),
            env=dict(pair.split("=", 1) for pair in arguments.env), upstream=arguments.upstream,
        )  # fmt: skip
        server.start()
    except (NotAvailable, RuntimeError, TimeoutError) as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    try:
        print(json.dumps({"pid": server.pid, "port": server.port, "name": server.name}), flush=True)
        while not stopping.wait(0.1) and server.process.poll() is None:
            pass
        return server.stop() if stopping.is_set() else server.process.returncode
    finally:
        sys.stderr.write(server.output)
        server.close()


if __name__ == "__main__":
    sys.exit(main())
