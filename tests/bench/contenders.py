"""The frameworks of `make table`: how each is started in each set-up, its version, and what others have published of it."""

import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sides import BUILD, TESTS

from catalog import find_program

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Start:
    """How a framework's server of tests/servers is started."""

    server: str
    what: str  # in words
    workers: int | None = None
    env: tuple = ()


@dataclass(frozen=True)
class Published:
    """Of another machine, with 1,000 users."""

    throughput: float  # requests a second
    latency_mean: float  # seconds
    rss_peak: float  # bytes


@dataclass(frozen=True)
class Framework:
    name: str
    package: str  # as its language's registry calls it
    one: Start
    cores: Start
    published: Published | None = None

    def start(self, setup: str) -> Start:
        return getattr(self, setup)

    @property
    def version(self) -> str:
        return package_version(self.package)


ONE, ALL = "one", "cores"
SETUPS = {
    ONE: "one serving process, one core",
    ALL: f"production, on all {CORES} cores",
}


def go(name: str, server: str, package: str, published: Published | None) -> Framework:
    one = Start(server, "GOMAXPROCS=1", env=(("GOMAXPROCS", "1"),))
    return Framework(name, package, one, Start(server, "one process, goroutines on all cores"), published)


def threaded(name: str, server: str) -> tuple[Start, Start]:
    return Start(server, "gunicorn gthread, 4 threads", 1), Start(server, f"gunicorn gthread, {CORES} workers of 4 threads", CORES)


FRAMEWORKS = (
    go("Gin", "gin", "github.com/gin-gonic/gin", Published(95_000, 1.2e-3, 25e6)),
    go("Fiber", "fiber", "github.com/gofiber/fiber/v2", Published(102_000, 1.0e-3, 22e6)),
    go("Echo", "echo", "github.com/labstack/echo/v4", None),
    Framework(
        "FastAPI", "fastapi", Start("fastapi-uvloop", "uvicorn, uvloop, httptools", 1),
        Start("fastapi-gunicorn", f"gunicorn, {CORES} uvicorn workers", CORES), Published(12_000, 8.5e-3, 85e6),
    ),
    Framework("Django", "Django", *threaded("Django", "django-gthread"), Published(4_500, 22e-3, 120e6)),
    Framework("Flask", "Flask", *threaded("Flask", "flask-gthread")),
    Framework(
        "Express", "express", Start("express", "node", 1),
        Start("express-cluster" if CORES > 1 else "express", f"node:cluster, {CORES} workers", CORES), Published(35_000, 3.2e-3, 65e6),
    ),
)  # fmt: skip


def package_version(package: str) -> str:
    """As pinned or installed; "?" where it isn't there."""
    try:
        if "/" in package:
            pinned = (TESTS / "servers/go/go.mod").read_text()
            return re.search(re.escape(package) + r" v(\S+)", pinned).group(1)
        if package == "express":
            return json.loads((BUILD / "node/node_modules/express/package.json").read_text())["version"]
        return version(package)
    except (ImportError, OSError, AttributeError):
        return "?"


def said_by(*command) -> str:
    try:
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "?"


def first_match(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.M)
    return found.group(1).strip() if found else "?"


def machine() -> dict:
    """What the figures are of."""
    return {
        "cpu": first_match(r"^model name\s*:(.*)", Path("/proc/cpuinfo").read_text()),
        "cores": CORES,
        "memory": int(first_match(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())) * 1024,
        "kernel": platform.release(),
        "system": first_match(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text()),
        "go": first_match(r"^Go ([\d.]+)", said_by(BUILD / "reqscope", "plan", BUILD / "servers/gin")),
        "python": first_match(r"([\d.]+)", said_by(BUILD / "venv/bin/python", "--version")),
        "node": first_match(r"([\d.]+)", said_by(find_program("node") or "node", "--version")),
        "load_generator": said_by("h2load", "--version"),
        "reqscope": first_match(r"([\d.]+\S*)", said_by(BUILD / "reqscope", "--version")),
        "versions": {framework.name: framework.version for framework in FRAMEWORKS},
    }
