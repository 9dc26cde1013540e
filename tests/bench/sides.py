"""One side of a comparison: a server with some agent, or none, and what its requests cost."""

import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "servers"), str(TESTS / "load")]

import load  # noqa: E402
import procfs  # noqa: E402
from serve import Server  # noqa: E402

BUILD = TESTS.parent / os.environ.get("BUILD", "build")
OUT = BUILD / "bench"

# layer -> the library to preload; None: no agent. The control is a second server without one: it shows the noise.
LAYERS = {
    "none": None,
    "control": None,
    "nop": OUT / "libreqscope-nop.so",
    "sockets": OUT / "libreqscope-sockets.so",
    "full": BUILD / "libreqscope.so",
}


class Side:
    """A running server under one layer; also a context manager."""

    def __init__(self, name: str, layer: str, trace: Path):
        library = LAYERS[layer]
        env = {"PYTHONHASHSEED": "0"}
        if library:
            env |= {"LD_PRELOAD": str(library), "REQSCOPE_OUT": str(trace)}
        self.server = Server(name, workers=1, env=env)
        self.trace = trace
        self.loads: list[dict] = []
        self.collector: list[int] = []

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.server.close()

    def warm_up(self, requests: int, path: str, clients: int):
        """After it the collector is there: it comes with the first request, and is no child of the server."""
        load.fixed(self.server.url + path, requests, clients, log=False)
        pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
        self.collector = [pid for pid in pids if str(self.trace) in procfs.command_line(pid)[1:]]

    def measure(self, requests: int, path: str, clients: int):
        """Adds one load, short: the sides take turns, and what else the machine does then hits neighbours alike."""
        cpu, collector_cpu = self.server.cpu_seconds(), procfs.cpu_seconds(self.collector)
        done = load.fixed(self.server.url + path, requests, clients, log=False)
        if done.succeeded != requests:
            raise RuntimeError(f"{self.server.name}: {done.succeeded} of {requests} requests succeeded")
        self.loads.append({
            "cpu_us": (self.server.cpu_seconds() - cpu) / requests * 1e6,
            "collector_us": (procfs.cpu_seconds(self.collector) - collector_cpu) / requests * 1e6,
            "per_second": requests / done.seconds,
        })  # fmt: skip

    def result(self) -> dict:
        """All loads, and memory as it is now."""
        return {"loads": self.loads, **self.server.memory()}
