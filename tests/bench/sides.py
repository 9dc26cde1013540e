"""One side of a comparison: a server with some agent, a peer of ours or none, and what its requests cost."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "servers"), str(TESTS / "load")]

import load  # noqa: E402
import procfs  # noqa: E402
from serve import Server  # noqa: E402

BUILD = TESTS.parent / os.environ.get("BUILD", "build")
OUT = BUILD / "bench"
PEERS = OUT / "peers"  # where deps.sh puts the other tools, each in a folder of its own


@dataclass(frozen=True)
class Layer:
    """What a server runs under. In all words {file} is a file of its own."""

    needs: Path | None = None  # that file's absence takes the layer out
    env: tuple = ()
    wrap: tuple = ()
    python: tuple = ()  # behind the interpreter's name
    peer: bool = False  # Python servers only


def agent(library: Path, *env: tuple) -> Layer:
    return Layer(library, (("LD_PRELOAD", str(library)), ("REQSCOPE_OUT", "{file}"), *env))


def memray(*options: str) -> Layer:
    words = ("-m", "memray", "run", "--quiet", "--follow-fork", "--force", "-o", "{file}", *options)
    return Layer(PEERS / "memray/bin/memray", (("PYTHONPATH", str(PEERS / "memray")),), python=words, peer=True)


def opentelemetry() -> Layer:
    """Its spans are made, and sent nowhere."""
    silent = tuple((f"OTEL_{signal}_EXPORTER", "none") for signal in ("TRACES", "METRICS", "LOGS"))
    command = PEERS / "opentelemetry/bin/opentelemetry-instrument"
    return Layer(command, (("PYTHONPATH", str(command.parents[1])), *silent), wrap=(str(command),), peer=True)


# The control is a second server without an agent: it shows the noise.
LAYERS = {
    "none": Layer(),
    "control": Layer(),
    "nop": agent(OUT / "libreqscope-nop.so"),
    "sockets": agent(OUT / "libreqscope-sockets.so"),
    "memory": agent(OUT / "libreqscope-memory.so"),
    "full": agent(BUILD / "libreqscope.so"),
    "sites": agent(BUILD / "libreqscope.so", ("REQSCOPE_SITES", "1")),
    "tracemalloc": Layer(env=(("PYTHONTRACEMALLOC", "1"),), peer=True),
    "memray": memray(),
    "memray, with Python's allocators": memray("--trace-python-allocators"),
    "opentelemetry-instrument": opentelemetry(),
}


def layers_of(name: str) -> list[str]:
    """Those that there are for a server; of memory alone, and the peers, Python's only."""
    is_python = name.startswith(("fastapi", "flask", "django"))
    there = {layer: one for layer, one in LAYERS.items() if one.needs is None or one.needs.exists()}
    return [layer for layer, one in there.items() if is_python or not (one.peer or layer == "memory")]


def server_under(name: str, layer: str | Layer, file: Path, **more) -> Server:
    """Not started yet; more is what Server takes, and a wrap in it is closest to the server."""
    chosen = layer if isinstance(layer, Layer) else LAYERS[layer]

    def filled(words) -> list[str]:
        return [word.replace("{file}", str(file)) for word in words]

    env = {"PYTHONHASHSEED": "0"} | {key: value.replace("{file}", str(file)) for key, value in chosen.env}
    wrap = [*filled(chosen.wrap), *more.pop("wrap", ())]
    return Server(name, workers=1, env=env, wrap=wrap, python=filled(chosen.python), **more)


def collectors_of(trace: Path) -> list[int]:
    """What writes that trace beside the server: `reqscope collect`. A peer's server has its file among its words, too, and is none."""
    words_of = {int(entry): procfs.command_line(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    return [pid for pid, words in words_of.items() if words[1:2] == ["collect"] and str(trace) in words]


class Side:
    """A running server under one layer; also a context manager."""

    def __init__(self, name: str, layer: str | Layer, trace: Path):
        self.server = server_under(name, layer, trace)
        self.trace = trace
        self.loads: list[dict] = []
        self.collector: list[int] = []
        self.collector_before = 0.0
        self.requests = 0

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop()
        self.server.close()

    def warm_up(self, requests: int, path: str, clients: int):
        """After it the collector is there: it comes with the first request, and is no child of the server."""
        load.fixed(self.server.url + path, requests, clients, log=False)
        self.collector = collectors_of(self.trace)
        self.collector_before = procfs.cpu_seconds(self.collector)

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
        self.requests += requests

    def result(self) -> dict:
        """All loads, and memory as it is now; what the collector took for them, between them, too, as it comes later."""
        collector_us = (procfs.cpu_seconds(self.collector) - self.collector_before) / self.requests * 1e6
        return {"loads": self.loads, "collector_us": collector_us, **self.server.memory()}
