"""What a server runs under in `make bench-peers`: reqscope, layer by layer, and the tools that a user would pick instead."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from sides import BUILD, LAYERS, PEERS, TESTS, Layer, memray

import sink
from runs import report

BASE, CONTROL = "none", "control"
REQUESTS, MEMORY, FULL, SITES = "reqscope: requests only", "reqscope: and memory", "reqscope: everything", "reqscope: --sites"
OURS = (BASE, CONTROL, REQUESTS, MEMORY, FULL, SITES)

# In all words {file} is a file of its own, {sink} the address of a sink of its own, {url} (beside alone) the server's.


@dataclass(frozen=True)
class Tool(Layer):
    tells: str = ""  # about one request
    package: str = ""  # what deps.sh calls it
    server: str = ""  # in place of the one asked for
    sink: bool = False
    beside: tuple = ()  # a command that is started when the server listens, and interrupted at the end
    restless: bool = False  # at work while its server rests, too: it comes after the others, and what it does in a load counts
    at_end: bool = False  # what it writes, it writes once
    writes_start: bool = False  # much of what it writes is of the server's start, and no request's
    grace: float = 15.0  # seconds; a server that doesn't end by SIGTERM within them is killed
    count: Callable[[Path], int] | None = None  # requests recorded, of its folder; None where it knows no requests
    unfit: str = ""  # why it isn't tried here

    def missing(self) -> str | None:
        """Why it can't be measured here."""
        if self.unfit or self.needs is None or self.needs.exists():
            return self.unfit or None
        failed = PEERS / f"{self.package}.failed"
        return failed.read_text().strip() if failed.exists() else f"no {self.needs}: tests/deps.sh peers"


def tool(layer: Layer, **more) -> Tool:
    return Tool(**{field.name: getattr(layer, field.name) for field in fields(Layer)} | more)


def ours(layer: Layer, tells: str) -> Tool:
    return tool(layer, tells=tells, count=recorded)


def recorded(folder: Path) -> int:
    return report(folder / "file")["requests"]


def sent(folder: Path) -> int:
    return sink.received(folder / "sent").requests


def debian(command: str, package: str, *words: str, **more) -> Tool:
    """A program that starts the server."""
    path = Path(shutil.which(command) or f"/usr/bin/{command}")
    return Tool(path, wrap=(str(path), *words), package=package, **more)


def python(package: str, command: str, *words: str, env=(), **more) -> Tool:
    """One of Python's packages that starts the server."""
    path = PEERS / package / "bin" / command
    env = (("PYTHONPATH", str(PEERS / package)), *env)
    return Tool(path, env, wrap=(str(path), *words), package=package, **more)


SEEN = "latency by its parts, route, status, bytes in and out"
NOTHING = {BASE: Tool(), CONTROL: Tool()}

OTLP = (
    ("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "{sink}"), ("OTEL_SERVICE_NAME", "bench"),
    ("OTEL_NODE_RESOURCE_DETECTORS", "env,host"),  # the others ask clouds where they are
)  # fmt: skip
DATADOG = (
    ("DD_TRACE_AGENT_URL", "{sink}"), ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false"),
    ("DD_REMOTE_CONFIGURATION_ENABLED", "false"), ("DD_CRASHTRACKING_ENABLED", "false"), ("DD_TRACE_STARTUP_LOGS", "false"),
    ("DD_SERVICE", "bench"),
)  # fmt: skip


def preloaded(full: str) -> dict[str, Tool]:
    return {
        REQUESTS: ours(LAYERS["sockets"], SEEN),
        FULL: ours(LAYERS["full"], full),
        SITES: ours(LAYERS["sites"], f"{full}; by route the lines that allocate"),
    }


def of_python(kind: str) -> dict[str, Tool]:
    """kind: the server, as some tools follow no workers, and others need to be told to."""
    forks = kind.startswith(("flask", "django"))
    memory = f"{SEEN}; bytes and number of its allocations"
    everything = f"{memory}; CPU, waits for the GIL{'' if forks else ', delay by the event loop'}"
    layers = preloaded(everything)
    layers = {REQUESTS: layers[REQUESTS], MEMORY: ours(LAYERS["memory"], memory), **layers}
    allocations = "nothing; all allocations of the process, by Python stack"
    # It writes as much after 144 requests as after 3,728 (heaptrack 1.4.0), and three workers under it gave no answer for a minute.
    parents_only = "it follows no fork, and so records nothing of gunicorn's workers"
    spy = ("record", "-o", "{file}", *(["--subprocesses"] if forks else []))
    heaptrack = debian(
        "heaptrack", "heaptrack", "-o", "{file}", env=(("PYTHONMALLOC", "malloc"),), writes_start=True,
        tells="nothing; all calls of malloc, by C stack", unfit=parents_only if forks else "",
    )  # fmt: skip
    return NOTHING | layers | {
        "tracemalloc": Tool(env=(("PYTHONTRACEMALLOC", "1"),), tells="nothing; what is live by line, where the program asks"),
        "memray": tool(memray(), package="memray", writes_start=True, tells="nothing; allocations beyond CPython's small ones, by stack"),
        "memray, Python's allocators": tool(
            memray("--trace-python-allocators"), package="memray", writes_start=True, tells=allocations
        ),
        "py-spy record": python(
            "py-spy", "py-spy", *spy, "--", restless=True, at_end=True, tells="nothing; stacks, 100 times a second"
        ),
        "py-spy record --native": python(
            "py-spy", "py-spy", *spy, "--native", "--", restless=True, at_end=True, tells="nothing; stacks with C's, 100 times a second"
        ),
        "scalene, CPU and memory": Tool(
            PEERS / "scalene/bin/scalene", (("PYTHONPATH", str(PEERS / "scalene")),), package="scalene", at_end=True, restless=True,
            python=("-m", "scalene", "run", "-o", "{file}"),
            tells="nothing; CPU and memory by line, sampled",
        ),
        "opentelemetry-instrument, OTLP": python(
            "opentelemetry", "opentelemetry-instrument", env=OTLP, sink=True, count=sent,
            tells="latency within the application, route, status; not memory, CPU, waits before it",
        ),
        "ddtrace-run": python(
            "ddtrace", "ddtrace-run", env=DATADOG, sink=True, count=sent,
            tells="latency within the application, route, status; not memory, CPU, waits before it",
        ),
        "heaptrack, PYTHONMALLOC=malloc": heaptrack,
    }  # fmt: skip


def run(*options: str) -> Layer:
    return Layer(wrap=(str(BUILD / "reqscope"), "run", "-o", "{file}", *options, "--"))


def of_go(_: str) -> dict[str, Tool]:
    memory = f"{SEEN}; bytes and number of its allocations, those of its goroutines too"
    everything = f"{memory}; CPU, waits for a core"
    # A probe is in a file, and so in every process that runs it: this one has a file of its own.
    own_copy = ("sh", "-c", 'cp "$1" "$0" && shift && exec "$0" "$@"', "{file}.program")
    count_mallocs = "uprobe:{file}.program:runtime.mallocgc { @ = count(); }"
    fetch_trace = (
        "import shutil, sys, urllib.request as u\n"
        "shutil.copyfileobj(u.urlopen(sys.argv[1]), open(sys.argv[2], 'wb'))"
    )  # fmt: skip
    bpftrace = Path(shutil.which("bpftrace") or "/usr/bin/bpftrace")
    return NOTHING | {
        MEMORY: ours(run("--no-sched"), memory),
        FULL: ours(run(), everything),
        SITES: ours(run("--sites"), f"{everything}; by route the lines that allocate"),
        "otelgin, OTLP": Tool(
            BUILD / "servers/gin-otel", OTLP, package="gin-otel", server="gin-otel", sink=True, count=sent,
            tells="latency within the handlers, route, status; not memory, CPU, waits before it; needs a rebuild",
        ),
        "heap profile, rate 1": Tool(
            env=(("GODEBUG", "memprofilerate=1"),), tells="nothing; all allocations by stack, where the program asks"
        ),
        "runtime/trace": Tool(
            beside=(sys.executable, "-c", fetch_trace, "{url}/debug/pprof/trace?seconds=600", "{file}"),
            tells="what its goroutines did when, to be put together by hand",
        ),
        "perf record -g": debian(
            "perf", "linux-perf", "record", "-q", "-g", "-o", "{file}", "--", tells="nothing; stacks, by time on a CPU"
        ),
        "perf trace -s": debian(
            "perf", "linux-perf", "trace", "-s", "-o", "{file}", "--", at_end=True, tells="nothing; system calls by thread"
        ),
        "strace -f -c": debian("strace", "strace", "-f", "-c", "-o", "{file}", at_end=True, tells="nothing; counts of system calls"),
        "bpftrace on mallocgc": Tool(
            bpftrace, wrap=own_copy, package="bpftrace", beside=(str(bpftrace), "-e", count_mallocs), tells="nothing; how often it allocated"
        ),
    }  # fmt: skip


def of_node(_: str) -> dict[str, Tool]:
    modules = PEERS / "node/node_modules"
    register = modules / "@opentelemetry/auto-instrumentations-node/build/src/register.js"
    words = ("--prof", "--no-logfile-per-isolate", "--logfile={file}")
    return NOTHING | preloaded(SEEN) | {
        SITES: ours(LAYERS["sites"], f"{SEEN}; lines that allocate natively, of no request"),
        "OpenTelemetry's auto-instrumentations, OTLP": Tool(
            register, (*OTLP, ("NODE_OPTIONS", f"--require {register}")), package="node", sink=True, count=sent, grace=4,
            tells="latency within the application, route, status, time in each middleware; not CPU, waits before it",
        ),
        "node --prof": Tool(python=words, tells="nothing; where the process's CPU time went"),
        "node --heap-prof": Tool(
            python=("--heap-prof", "--heap-prof-name={file}"), at_end=True, tells="nothing; a sample of allocations, by stack, at a regular end"
        ),
    }  # fmt: skip


def of_native(_: str) -> dict[str, Tool]:
    layers = preloaded(SEEN)
    return NOTHING | {REQUESTS: layers[REQUESTS], FULL: layers[FULL]} | {
        "perf record -g": debian(
            "perf", "linux-perf", "record", "-q", "-g", "-o", "{file}", "--", tells="nothing; stacks, by time on a CPU"
        ),
        "strace -f -c": debian("strace", "strace", "-f", "-c", "-o", "{file}", at_end=True, tells="nothing; counts of system calls"),
    }  # fmt: skip


KINDS = {"gin": of_go, "fastapi-uvloop": of_python, "flask-gthread": of_python, "express": of_node, "nginx": of_native}


def tools_for(server: str) -> dict[str, Tool]:
    return KINDS[server](server)


PINNED = TESTS / "bench/pinned"
PACKAGES = {"memray": "memray", "opentelemetry": "opentelemetry-distro", "ddtrace": "ddtrace", "scalene": "scalene", "py-spy": "py-spy"}
DEBIAN = ("heaptrack", "bpftrace", "linux-perf", "strace")


def versions() -> dict[str, str]:
    """Of what is pinned, and of Debian's packages that are there."""
    found = {}
    for file, package in PACKAGES.items():
        found[package] = re.search(rf"^{package}==(\S+)", (PINNED / f"{file}.txt").read_text(), re.M).group(1)
    modules = json.loads((PINNED / "node/package.json").read_text())["dependencies"]
    found |= {name: version for name, version in modules.items() if "auto" in name}
    found["otelgin"] = re.search(r"otelgin v(\S+)", (TESTS / "servers/go/gin-otel/go.mod").read_text()).group(1)
    for package in DEBIAN:
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
        if asked.returncode == 0:
            found[package] = asked.stdout
    return found
