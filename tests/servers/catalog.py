"""How each test server is started: one more server is one more entry here."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
PYTHON = HERE / "python"
BUILD = HERE.parents[1] / "build"
VENV_PYTHON = BUILD / "venv/bin/python"
ON_PATH = (("PYTHONPATH", str(PYTHON)),)  # for servers that can't be told where the application is


@dataclass(frozen=True)
class Place:
    """What one start of a server gets to know."""

    port: int
    workers: int
    upstream: int
    folder: Path  # a temporary folder of its own


@dataclass(frozen=True)
class Recipe:
    command: Callable[[Place], list]  # with absolute paths: the working directory is the caller's
    needs: Path | str  # a file, or a command on the PATH
    workers: int = 1  # serving processes unless told otherwise; 1 where the server has no such choice
    env: tuple = ()

    def missing(self) -> str | None:
        """What has to be installed before this server can start."""
        if isinstance(self.needs, Path):
            return None if self.needs.exists() else str(self.needs)
        return None if find_program(self.needs) else self.needs


def find_program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


def gunicorn(application: str, *options: str, workers: int = 2) -> Recipe:
    def command(at: Place) -> list:
        return [VENV_PYTHON, "-m", "gunicorn", "--bind", f"127.0.0.1:{at.port}", "--workers", at.workers,
                "--pythonpath", PYTHON, "--worker-tmp-dir", at.folder, "--no-control-socket", "--backlog", 1024,
                *options, application]  # fmt: skip

    return Recipe(command, VENV_PYTHON, workers)


def gthread(application: str, threads=4) -> Recipe:
    """A worker accepts a thousand connections unless told otherwise, and keeps fewer open between requests."""
    return gunicorn(application, "--worker-class", "gthread", "--threads", threads, "--keep-alive", "30",
                    "--worker-connections", "4096")  # fmt: skip


def uvicorn(*options: str, workers: int = 1, application: str = "fastapi_app:app") -> Recipe:
    def command(at: Place) -> list:
        return [VENV_PYTHON, "-m", "uvicorn", "--host", "127.0.0.1", "--port", at.port, "--no-access-log",
                "--app-dir", PYTHON, "--workers", at.workers, "--backlog", 1024, *options, application]  # fmt: skip

    return Recipe(command, VENV_PYTHON, workers)


def hypercorn() -> Recipe:
    """Without workers it serves in the first process."""

    def command(at: Place) -> list:
        return [VENV_PYTHON, "-m", "hypercorn", "--bind", f"127.0.0.1:{at.port}", "--workers", 0, "--backlog", 1024,
                "fastapi_app:app"]  # fmt: skip

    return Recipe(command, VENV_PYTHON, env=ON_PATH)


def cheroot() -> Recipe:
    def command(at: Place) -> list:
        return [VENV_PYTHON, "-m", "cheroot", "--bind", f"127.0.0.1:{at.port}", "--threads", 10,
                "--request-queue-size", 1024, "flask_app:app"]  # fmt: skip

    return Recipe(command, VENV_PYTHON, env=ON_PATH)


def waitress() -> Recipe:
    def command(at: Place) -> list:
        return [VENV_PYTHON, "-m", "waitress", f"--listen=127.0.0.1:{at.port}", "--threads=8", "--backlog=1024",
                "flask_app:app"]  # fmt: skip

    return Recipe(command, VENV_PYTHON, env=ON_PATH)


def django_dev() -> Recipe:
    def command(at: Place) -> list:
        return [VENV_PYTHON, PYTHON / "django_app.py", "runserver", "--noreload", f"127.0.0.1:{at.port}"]

    return Recipe(command, VENV_PYTHON)


def in_venv(script: str, **env) -> Recipe:
    return Recipe(lambda at: [VENV_PYTHON, PYTHON / script, at.port], VENV_PYTHON, env=tuple(env.items()))


def in_thread(what: str) -> Recipe:
    return Recipe(lambda at: [VENV_PYTHON, PYTHON / "loop_in_thread.py", what, at.port], VENV_PYTHON)


def express(script: str, workers: int) -> Recipe:
    def command(at: Place) -> list:
        return [find_program("node"), HERE / "express" / script, at.port, *([at.workers] if workers > 1 else [])]

    env = (("NODE_PATH", str(BUILD / "node/node_modules")), ("NODE_ENV", "production"))
    return Recipe(command, BUILD / "node/node_modules/express", workers, env)


def flask_dev() -> Recipe:
    def command(at: Place) -> list:
        return [VENV_PYTHON, "-m", "flask", "--app", PYTHON / "flask_app.py", "run", "--host", "127.0.0.1", "--port", at.port,
                "--no-reload", "--no-debugger"]  # fmt: skip

    return Recipe(command, VENV_PYTHON)


def stdlib(script: str) -> Recipe:
    return Recipe(lambda at: [sys.executable, PYTHON / script, at.port], PYTHON / script)


def nginx(connections: int = 2048) -> Recipe:
    def command(at: Place) -> list:
        config = (HERE / "nginx/nginx.conf.in").read_text()
        values = {"WORKERS": at.workers, "PORT": at.port, "UPSTREAM": at.upstream or 9, "CONNECTIONS": connections}
        for name, value in values.items():
            config = config.replace(f"@{name}@", str(value))
        (at.folder / "nginx.conf").write_text(config)
        shutil.copytree(HERE / "nginx/files", at.folder / "files", dirs_exist_ok=True)
        (at.folder / "tmp").mkdir(exist_ok=True)
        at.folder.chmod(0o755)  # started by root, its workers run as another user
        return [find_program("nginx"), "-p", at.folder, "-c", "nginx.conf", "-e", "stderr"]

    return Recipe(command, "nginx", workers=2)


def built(name: str, **env) -> Recipe:
    """One that is compiled: the Go and C servers."""
    return Recipe(lambda at: [BUILD / "servers" / name, at.port], BUILD / "servers" / name, env=tuple(env.items()))


def shortlived(how: str) -> Recipe:
    program = BUILD / "servers/shortlived"
    return Recipe(lambda at: [program, at.port, at.workers, how], program, workers=4)


# Kinds of build of the net/http server, and those by older Gos, all by tests/servers/go/build.sh.
GO_BUILDS = ("stripped", "pie", "static-pie", "cgo", "pgo", "race", "plugin")
GO_VERSIONS = ("1.18", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25")

ASYNCIO = ("--loop", "asyncio", "--http", "h11")
UVLOOP = ("--loop", "uvloop", "--http", "httptools")

SERVERS = {
    "threaded": stdlib("stdlib_threaded.py"),
    "asyncio": stdlib("stdlib_asyncio.py"),
    "fastapi-asyncio": uvicorn(*ASYNCIO),
    "fastapi-uvloop": uvicorn(*UVLOOP),
    "fastapi-workers": uvicorn(*UVLOOP, workers=2),
    "fastapi-gunicorn": gunicorn("fastapi_app:app", "--worker-class", "uvicorn_worker.UvicornWorker"),
    "fastapi-gunicorn-asgi": gunicorn("fastapi_app:app", "--worker-class", "asgi"),
    "fastapi-hypercorn": hypercorn(),
    "asyncio-thread": in_thread("asyncio"),
    "fastapi-thread": in_thread("uvicorn"),
    "aiohttp": in_venv("aiohttp_app.py"),
    "aiohttp-uvloop": in_venv("aiohttp_app.py", LOOP="uvloop"),
    "tornado": in_venv("tornado_app.py"),
    "flask-sync": gunicorn("flask_app:app"),
    "flask-gthread": gthread("flask_app:app"),
    **{f"flask-gthread-{threads}": gthread("flask_app:app", threads) for threads in (1, 2, 4, 8)},
    "flask-shortlived": gunicorn("flask_app:app", "--max-requests", "5"),
    "flask-gevent": gunicorn("flask_app:app", "--worker-class", "gevent", "--keep-alive", "30"),
    "flask-cheroot": cheroot(),
    "flask-waitress": waitress(),
    "flask-dev": flask_dev(),
    "django-sync": gunicorn("django_app:application"),
    "django-gthread": gthread("django_app:application"),
    "django-asgi": uvicorn(*ASYNCIO, application="django_async:application"),
    "django-dev": django_dev(),
    "express": express("express_app.js", 1),
    "express-cluster": express("express_cluster.js", 2),
    "nginx": nginx(),
    "nginx-many": nginx(connections=16384),
    **{name: built(name) for name in ("gin", "gin-otel", "fiber", "echo", "chi", "nethttp")},
    **{f"nethttp-{kind}": built(f"nethttp-{kind}", PLUGIN=str(BUILD / "servers/plugin.so")) for kind in GO_BUILDS},
    **{f"nethttp-{version}": built(f"nethttp-{version}") for version in GO_VERSIONS},
    "fiber-prefork": built("fiber", PREFORK="1"),
    "httpd": built("httpd"),
    "httpd-musl": built("httpd-musl"),
    "shortlived-fork": shortlived("fork"),
    "shortlived-exec": shortlived("exec"),
    "sites": Recipe(lambda at: [BUILD / "servers/sites", at.port, at.workers], BUILD / "servers/sites"),
}
