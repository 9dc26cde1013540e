"""Two C libraries on one machine: musl servers are recorded, and no program gets the other library's agent."""

import os
import re
import shutil
import subprocess
import time
import sys
from pathlib import Path

import load
import pytest
from recording import BUILD, LIBRARY, REQSCOPE, SETTLE, assert_balanced, ended_trace, report, route_counts, run_prefix
from serve import Server

MUSL_LIBRARY = BUILD / "libreqscope-musl.so"
MUSL_LOADER = Path("/lib/ld-musl-x86_64.so.1")
START = {"glibc": BUILD / "servers/start", "musl": BUILD / "servers/start-musl"}
SERVERS = {"glibc": "httpd", "musl": "httpd-musl"}
LIBRARIES = {"glibc": LIBRARY, "musl": MUSL_LIBRARY}
KINDS = tuple(START)
WAYS = ("exec", "execvp", "fexecve", "fork", "vfork", "spawn", "spawnp", "system", "popen")

pytestmark = pytest.mark.skipif(not shutil.which("musl-gcc"), reason="needs musl-tools: make deps")


def preload(library, trace=None) -> dict:
    return {"LD_PRELOAD": str(library), **({"REQSCOPE_OUT": str(trace)} if trace else {})}


def execute(*command, env=None, **options):
    env = {**os.environ, **(env or {})}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, **options)


def outcome(*command, **options):
    done = execute(*command, **options)
    return done.returncode, done.stdout, done.stderr


def assert_recorded(path, requests: int):
    trace = ended_trace(path)
    assert len(trace.requests) == requests
    assert {(r.method, r.route, r.status) for r in trace.requests} == {("GET", "/json", 200)}
    assert_balanced(trace.totals["completeness"])


# ---- servers ----


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_count(kind, mode, trace, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 3000)
    how = {"wrap": run_prefix(trace)} if mode == "run" else {"env": preload(LIBRARIES[kind], trace)}
    with Server(SERVERS[kind], **how) as server:
        gets = load.fixed([server.url + path for path in ("/json", "/users/7", "/users/0", "/alloc?kb=8")], 4000)
        posts = load.fixed(server.url + "/echo", 200, data=body)
        time.sleep(SETTLE)
        server.stop()
    assert gets.errored == posts.errored == 0
    assert ended_trace(trace).processes[0]["runtime"]["name"] == "native"
    seen = report(trace)
    assert seen["requests"] == 4200
    assert seen["completeness"]["finished"] == 4200
    assert seen["completeness"]["given_up"] == 0
    assert_balanced(seen["completeness"])
    assert route_counts(seen) == {
        ("GET", "/json"): 1000, ("GET", "/users/{}"): 2000, ("GET", "/alloc"): 1000, ("POST", "/echo"): 200
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_allocations_count_once(kind, trace):
    """musl's calloc calls malloc by its public name, which is ours."""
    with Server(SERVERS[kind], wrap=run_prefix(trace)) as server:
        load.fixed(server.url + "/alloc?kb=8", 100, clients=2)
        load.fixed(server.url + "/json", 100, clients=2)
        time.sleep(SETTLE)
        server.stop()
    allocated = [(r.route, r.values["alloc_count"], r.values["alloc_bytes"]) for r in ended_trace(trace).requests]
    assert sorted(allocated) == [("/alloc", 2, 2 * 8192)] * 100 + [("/json", 0, 0)] * 100


@pytest.mark.parametrize("kind", KINDS)
def test_many_short_connections(kind, trace):
    """A thread each."""
    with Server(SERVERS[kind], wrap=run_prefix(trace)) as server:
        for _ in range(10):
            assert load.fixed(server.url + "/json", 60, clients=60).errored == 0
        time.sleep(SETTLE)
        server.stop()
    assert_recorded(trace, 600)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server_kind", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_server_started_by_a_program(kind, server_kind, way, trace):
    """Whatever the C libraries of the two, and the way of starting."""
    with Server(SERVERS[server_kind], wrap=[*run_prefix(trace), START[kind], way]) as server:
        load.fixed(server.url + "/json", 100)
        time.sleep(SETTLE)
        assert server.stop() == 143
    assert_recorded(trace, 100)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_started_by_a_shell(kind, mode, trace):
    shell = ["sh", "-c", '"$@"; exit 5', "sh"]
    how = {"wrap": run_prefix(trace) + shell} if mode == "run" else {"wrap": shell, "env": preload(LIBRARY, trace)}
    with Server(SERVERS[kind], **how) as server:
        load.fixed(server.url + "/json", 100)
        time.sleep(SETTLE)
        assert server.stop() == 5
    assert_recorded(trace, 100)


# ---- programs that a server starts ----

# A recorded server that starts programs in all of Python's ways, and prints what becomes of them.
STARTS_PROGRAMS = """
import os, socket, subprocess, sys
listener = socket.create_server(("127.0.0.1", 0))
program, *words = command = sys.argv[1:]
environment = {"PATH": os.environ["PATH"]}
for options in ({}, {"close_fds": False}, {"env": environment}, {"start_new_session": True}, {"cwd": "/"},
                {"preexec_fn": lambda: None}):
    done = subprocess.run(command, capture_output=True, **options)
    print(done.returncode, done.stdout, done.stderr)
print(os.system(" ".join(command)), os.popen(" ".join(command)).read(), flush=True)
for spawn in (os.posix_spawn, os.posix_spawnp):
    print(os.waitpid(spawn(program, command, os.environ), 0)[1], flush=True)
    print(os.waitpid(spawn(program, command, environment), 0)[1], flush=True)
pid = os.fork()
if not pid:
    os.execv(program, command)
print(os.waitpid(pid, 0)[1])
"""


@pytest.mark.parametrize("words", (["exec", "/bin/echo", "a"], ["system", "/bin/echo", "a"], []))
def test_programs_of_a_recorded_server(words, trace):
    python = [sys.executable, "-c", STARTS_PROGRAMS, START["musl"], *words]
    plain = outcome(*python)
    assert plain[0] == 0
    assert outcome(*python, env=preload(LIBRARY, trace)) == plain
    status, output, _ = outcome(*run_prefix(trace.with_suffix(".run")), *python)
    assert (status, output) == plain[:2]


def test_a_script_of_a_musl_program(tmp_path, trace):
    script = tmp_path / "script"
    script.write_text(f"#!{START['musl']}\n")
    script.chmod(0o755)
    command = ["sh", "-c", str(script)]
    assert outcome(*command, env=preload(LIBRARY, trace)) == outcome(*command) == (2, "", "")


def environment_after(*command, **options) -> dict:
    output = execute(*command, "/usr/bin/env", **options).stdout
    return dict(line.split("=", 1) for line in output.splitlines())


@pytest.mark.parametrize("way", ("exec", "spawnp", "system"))
@pytest.mark.parametrize("kind", KINDS)
def test_the_library_follows_the_program(kind, way):
    """A glibc shell, then either, then env of glibc again."""
    seen = environment_after("sh", "-c", f'{START[kind]} {way} "$0"', env=preload(LIBRARY))
    assert seen["LD_PRELOAD"] == str(LIBRARY)
    assert seen["REQSCOPE_SESSION"]


# ---- what can't be given the right library ----


@pytest.fixture
def alone(tmp_path):
    """A folder with the program and glibc's library, as where there is no musl-gcc."""
    folder = tmp_path / "alone"
    folder.mkdir()
    for file in (REQSCOPE, LIBRARY):
        shutil.copy(file, folder)
    return folder


def test_without_a_musl_library_ours_is_taken_out(alone):
    library = alone / LIBRARY.name
    for others in ("", f":{alone}/other.so"):
        # musl's loader passes over what isn't there.
        seen = environment_after("sh", "-c", f'{START["musl"]} exec "$0"', env=preload(str(library) + others))
        assert seen.get("LD_PRELOAD", "") == others[1:]
    assert outcome("sh", "-c", f"{START['musl']} exec /bin/echo a", env=preload(library)) == (0, "a\n", "")


def test_without_a_musl_library_run_says_so(alone, trace):
    done = execute(alone / REQSCOPE.name, "run", "-o", trace, "--", START["musl"], "exec", "/bin/echo", "a")
    assert (done.returncode, done.stdout) == (0, "a\n")
    assert "musl" in done.stderr and "not recorded" in done.stderr


@pytest.mark.parametrize("library", KINDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ("exec", "vfork", "system"))
def test_the_wrong_library_does_no_harm(kind, library, way, tmp_path):
    command = [START[kind], way, "/bin/echo", "a"]
    assert outcome(*command, env=preload(LIBRARIES[library]), cwd=tmp_path) == (0, "a\n", "")


@pytest.mark.parametrize("server_kind", KINDS)
def test_a_static_program_in_between(server_kind, tmp_path, trace):
    """It has no hooks that could choose: the server gets what the static program got, and keeps running."""
    static = tmp_path / "start-static"
    source = Path(__file__).parents[1] / "servers/c/start.c"
    subprocess.run(["musl-gcc", "-static", "-D_GNU_SOURCE", "-o", static, source], check=True)
    with Server(SERVERS[server_kind], wrap=[*run_prefix(trace), static, "exec"]) as server:
        assert load.fixed(server.url + "/json", 100).errored == 0
        time.sleep(SETTLE)
        assert server.stop() == 143
    assert len(ended_trace(trace).requests) == (100 if server_kind == "glibc" else 0)


# ---- the libraries ----


def symbols(library, *options) -> set[str]:
    output = execute("nm", "-D", *options, library).stdout
    return {line.split()[-1] for line in output.splitlines() if " w " not in line}


@pytest.mark.parametrize("library", KINDS)
def test_either_loader_can_resolve_either_library(library):
    """Or the wrong one would end a program before it can keep off."""
    wanted = {name.split("@")[0] for name in symbols(LIBRARIES[library], "-u")}
    assert wanted <= symbols(MUSL_LOADER, "--defined-only")
    needed = re.findall(r"NEEDED.*\[(.*)\]", execute("readelf", "-d", LIBRARIES[library]).stdout)
    assert needed == (["libc.so.6"] if library == "glibc" else [])


def test_musl_library_interposes_what_musl_has():
    shown = symbols(LIBRARY, "--defined-only")
    has = symbols(MUSL_LOADER, "--defined-only") - {"sendfile64"}  # not in its headers
    own = {name for name in shown if name.startswith("reqscope_")}
    assert symbols(MUSL_LIBRARY, "--defined-only") == (shown & has) | own
