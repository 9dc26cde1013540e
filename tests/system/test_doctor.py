"""What `reqscope doctor` says of the machine, of programs and of processes: real ones of each kind."""

import ctypes
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from attaching import Attached
from recording import BUILD, LIBRARY, REQSCOPE, preload_env, recorded
from serve import Server, wait_until

PYTHON = os.path.realpath(sys.executable)
MUSL_LIBRARY = BUILD / "libreqscope-musl.so"
LEVELS = ("ok", "info", "warning", "error")

C_PROGRAM = "int main(void) { return 0; }"
# prctl(PR_SET_NO_NEW_PRIVS), and with an argument a filter that allows everything: BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
RESTRICTED = """
import ctypes, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
if len(sys.argv) > 1:
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
    assert libc.prctl(22, 2, program, 0, 0) == 0
print("ready", flush=True)
time.sleep(60)
"""


def doctor(*arguments, status, reqscope=REQSCOPE, **options) -> dict:
    done = subprocess.run([reqscope, "doctor", "--json", *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, **options)  # fmt: skip
    assert (done.returncode, done.stderr) == (status, ""), done
    value = json.loads(done.stdout)
    assert value["schema"] == "reqscope.doctor/1"
    for finding in value["findings"]:
        assert set(finding) == {"id", "level", "text", "fix"} and finding["level"] in LEVELS
        assert finding["text"] and finding["fix"] != ""
    levels = {finding["level"] for finding in value["findings"]}
    assert value["requests"] == ("error" not in levels)
    assert value["everything"] == (not levels & {"error", "warning"}) == (status == 0)
    return value


def finding(value, name) -> dict:
    (one,) = [finding for finding in value["findings"] if finding["id"] == name]
    return one


def ids(value) -> set:
    return {finding["id"] for finding in value["findings"]}


@contextmanager
def running(*command, ready=True, **options):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        if ready:
            assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def built(name):
    path = BUILD / "servers" / name
    if not path.exists():
        pytest.skip(f"{name} wasn't built: make deps")
    return path


def compiled(path, *options):
    subprocess.run(["gcc", *options, "-x", "c", "-o", path, "-"], input=C_PROGRAM, text=True, check=True, timeout=60)
    return path


# ---- the command ----


def test_text_says_the_same():
    done = subprocess.run([REQSCOPE, "doctor", "/nowhere/server"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    first, second = done.stdout.splitlines()
    assert first == "error    /nowhere/server can't be run: there is no such program."
    assert second.startswith("  fix:   ")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["1", "2"]])
def test_mistakes(arguments):
    done = subprocess.run([REQSCOPE, "doctor", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("reqscope: doctor")


def test_help():
    done = subprocess.run([REQSCOPE, "doctor", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "exit status: 0" in done.stdout and "examples:" in done.stdout


# ---- the machine ----


def machine(**options):
    done = subprocess.run([REQSCOPE, "doctor", "--json"], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode in (0, 1) and done.stderr == ""
    return json.loads(done.stdout)


def test_machine():
    value = machine()
    assert {"machine.kernel", "machine.clock", "machine.ptrace", "machine.memfd", "machine.arrival", "machine.proc",
            "machine.library"} <= ids(value)  # fmt: skip
    assert finding(value, "machine.library")["text"] == f"The agent is {LIBRARY}."
    effective = next(line for line in open("/proc/self/status") if line.startswith("CapEff"))
    has = "with" if int(effective.split()[1], 16) >> 19 & 1 else "without"
    assert finding(value, "machine.capabilities")["text"].endswith(f"user {os.geteuid()}, {has} CAP_SYS_PTRACE.")
    assert os.uname().release in finding(value, "machine.kernel")["text"]


def test_restrictions_of_ourselves():
    assert "machine.no_new_privs" not in ids(machine())
    assert "machine.no_new_privs" in ids(machine(preexec_fn=lambda: ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)))


def test_library_that_is_not_there(tmp_path):
    alone = tmp_path / "reqscope"
    shutil.copy(REQSCOPE, alone)
    for subject in ([], [PYTHON]):
        value = doctor(*subject, reqscope=alone, status=1)
        assert finding(value, "machine.library")["level"] == "error"


REFUSED, KILLED = 0x00050001, 0x80000000  # SECCOMP_RET_ERRNO with EPERM, SECCOMP_RET_KILL_PROCESS


def forbid(call, action):
    """A filter: load the call's number; is it that one? The action, else SECCOMP_RET_ALLOW."""
    libc = ctypes.CDLL(None)
    lines = (0x20, 0, 0, 0), (0x15, 0, 1, call), (6, 0, 0, action), (6, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(lines), ctypes.addressof(code)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0


@pytest.mark.parametrize("action", [REFUSED, KILLED], ids=["refused", "killed"])
def test_ptrace_that_is_forbidden(action):
    def restrict():
        forbid(101, action)

    assert finding(doctor(status=1, preexec_fn=restrict), "machine.ptrace")["level"] == "warning"
    value = doctor(built("gin"), status=1, preexec_fn=restrict)
    assert finding(value, "machine.ptrace")["level"] == "error" and not value["requests"]
    assert "machine.ptrace" not in ids(doctor(PYTHON, status=0, preexec_fn=restrict))


@pytest.mark.parametrize("action", [REFUSED, KILLED], ids=["refused", "killed"])
@pytest.mark.parametrize(("call", "name", "level"), [(319, "memfd", "error"), (434, "pidfd", "info"),
                                                     (54, "arrival", "warning")])  # fmt: skip
def test_calls_that_are_forbidden(call, name, level, action):
    value = machine(preexec_fn=lambda: forbid(call, action))
    assert finding(value, f"machine.{name}")["level"] == level


# ---- programs ----


@pytest.mark.parametrize("name", ["gin", "nethttp-1.19", "nethttp-cgo"])
def test_go(name):
    value = doctor(built(name), status=0)
    assert value["runtime"]["name"] == "go" and value["runtime"]["version"].startswith("1.")
    assert {"go.requests", "go.allocations", "go.children", "go.times"} <= ids(value)
    assert ("dynamic" in finding(value, "program.kind")["text"]) == (name == "nethttp-cgo")


def test_go_with_plugins_has_no_memory():
    value = doctor(built("nethttp-plugin"), status=1)
    assert finding(value, "go.requests")["level"] == "ok"
    assert finding(value, "go.allocations")["level"] == "warning"
    assert "will be null: it can load plugins" in finding(value, "go.allocations")["text"]


def test_python_and_its_scripts():
    version = f"3.{sys.version_info.minor}"
    value = doctor(PYTHON, "-m", "http.server", status=0)
    assert value["runtime"] == {"name": "python", "version": version}
    script = BUILD / "venv/bin/gunicorn"
    value = doctor(script, "-w", "4", "app:app", status=0)
    assert value["runtime"] == {"name": "python", "version": version}
    assert finding(value, "program.script")["text"].startswith(f"{script} is a script, run by ")


def test_node():
    node = shutil.which("node")
    value = doctor(node, status=1)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert value["runtime"] == {"name": "node", "version": version.strip().lstrip("v")}
    assert finding(value, "node.memory")["level"] == "warning"
    assert value["requests"]


def test_node_in_a_library(tmp_path):
    """As Debian's is, whose /usr/bin/node is a few lines."""
    library = tmp_path / "libnode.so.1"
    subprocess.run(["gcc", "-shared", "-xc", "/dev/null", f"-Wl,-soname,{library.name}", "-o", library], check=True)
    value = doctor(compiled(tmp_path / "node", "-Wl,--no-as-needed", library), status=1)
    assert value["runtime"]["name"] == "node"
    assert finding(value, "node.memory")["level"] == "warning"


@pytest.mark.skipif(not MUSL_LIBRARY.exists(), reason="needs musl-tools: make deps")
def test_musl(tmp_path):
    value = doctor(built("httpd-musl"), status=0)
    assert "libreqscope-musl.so is preloaded" in finding(value, "program.kind")["text"]
    for file in (REQSCOPE, LIBRARY):
        shutil.copy(file, tmp_path)
    value = doctor(built("httpd-musl"), reqscope=tmp_path / "reqscope", status=1)
    assert finding(value, "program.kind")["level"] == "error"


def test_static_program(tmp_path):
    kind = finding(doctor(compiled(tmp_path / "static", "-static"), status=1), "program.kind")
    assert kind["level"] == "error" and "statically linked" in kind["text"] and "-static" in kind["fix"]
    value = doctor(compiled(tmp_path / "dynamic"), status=0)
    assert value["runtime"]["name"] == "native"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_privileged_copies(tmp_path):
    program = compiled(tmp_path / "program")
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    assert "set-user-ID" in finding(doctor(program, status=1), "program.kind")["text"]
    program.chmod(0o2755)
    assert finding(doctor(program, status=1), "program.privileges")["level"] == "error"
    program.chmod(0o755)
    doctor(program, status=0)


def test_files_that_are_no_programs(tmp_path):
    text = tmp_path / "text"
    text.write_text("hello\n")
    assert "chmod" in finding(doctor(text, status=1), "program.exists")["fix"]
    text.chmod(0o755)
    assert finding(doctor(text, status=1), "program.kind")["level"] == "error"
    assert finding(doctor(tmp_path / "none", status=1), "program.exists")["level"] == "error"
    text.write_text("#!/nowhere/interpreter\n")
    assert finding(doctor(text, status=1), "program.kind")["level"] == "error"
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(100))
    other.chmod(0o755)
    assert "x86-64" in finding(doctor(other, status=1), "program.kind")["text"]


@pytest.mark.parametrize("length", [4, 20, 64, 300, 5000])
def test_programs_that_are_cut_off(tmp_path, length):
    cut = tmp_path / "cut"
    cut.write_bytes(REQSCOPE.read_bytes()[:length])
    cut.chmod(0o755)
    done = subprocess.run([REQSCOPE, "doctor", cut], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1) and done.stdout and not done.stderr


# ---- processes ----


def test_server_that_runs_and_one_that_is_recorded(trace):
    with Server("httpd") as server:
        value = doctor(server.process.pid, status=0)
        assert f"TCP port {server.port}" in finding(value, "process.listeners")["text"]
        assert finding(value, "process.recorded")["text"] == "It isn't recorded."
        assert finding(value, "process.attach")["fix"] == f"reqscope attach {server.process.pid}"
    with Server("httpd", env=preload_env(trace)) as server:
        # It listens a moment before the agent is switched on.
        wait_until(lambda: finding(doctor(server.process.pid, status=0), "process.recorded")["level"] == "ok", 10,
                   "the recording")  # fmt: skip


@pytest.mark.parametrize("name", ["gin", "fastapi-asyncio"])
def test_server_that_run_records(name, trace):
    with recorded(name, trace, "run") as server:
        parent = server.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        (pid,) = (pid for pid in children if os.readlink(f"/proc/{pid}/exe") != str(REQSCOPE))
        assert finding(doctor(pid, status=0), "process.recorded")["text"] == "It is recorded already."


def test_stopped_process():
    with running("sleep", "60", ready=False) as process:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: "\nState:\tT" in Path(f"/proc/{process.pid}/status").read_text(), 10, "its stop")
        state = finding(doctor(process.pid, status=1), "process.state")
        assert state["level"] == "info" and state["fix"] == f"kill -CONT {process.pid}"


def test_zombie():
    with running("sleep", "60", ready=False) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        value = doctor(process.pid, status=1)
        assert "zombie" in finding(value, "process.state")["text"]
        assert not value["requests"] and "process.recorded" not in ids(value)


def test_nobody():
    with running("true", ready=False) as process:
        process.wait()
        assert finding(doctor(process.pid, status=1), "process.exists")["level"] == "error"
    doctor(10**20, status=1)


def test_restricted_processes():
    with running(PYTHON, "-c", RESTRICTED) as process:
        value = doctor(process.pid, status=0)
        assert "process.no_new_privs" in ids(value) and "process.seccomp" not in ids(value)
        assert value["runtime"]["name"] == "python"
    with running(PYTHON, "-c", RESTRICTED, "filter") as process:
        value = doctor(process.pid, status=0)
        assert {"process.no_new_privs", "process.seccomp"} <= ids(value)


def test_traced_process():
    traced = "import ctypes, time; ctypes.CDLL(None).ptrace(0, 0, 0, 0); print('ready', flush=True); time.sleep(60)"
    with running(PYTHON, "-c", traced) as process:
        text = finding(doctor(process.pid, status=1), "process.tracer")["text"]
        assert text.startswith(f"It is traced by process {os.getpid()} ")


def test_other_network():
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, timeout=60).returncode:
        pytest.skip("needs a network namespace of its own")
    with running("unshare", "-n", "sh", "-c", "echo ready; exec sleep 60") as process:
        text = finding(doctor(process.pid, status=1), "process.namespaces")["text"]
        assert text.startswith("Its net namespace isn't yours")


# ---- what it says of attaching is what attaching does ----


@contextmanager
def served(name, **options):
    with Server(name, **options) as server:
        yield server.pid


@contextmanager
def program(*command, **options):
    with running(*command, **options) as process:
        yield process.pid


def sleeping(*wrap):
    return program(*wrap, "sh", "-c", "echo ready; exec sleep 60")


@contextmanager
def stopped(server):
    with server as pid:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: "\nState:\tT" in Path(f"/proc/{pid}/status").read_text(), 10, "its stop")
        yield pid
        os.kill(pid, signal.SIGCONT)


@contextmanager
def already(name, tmp_path):
    with served(name) as pid, Attached(pid, tmp_path / "already.rqs"):
        yield pid


@contextmanager
def zombie():
    with running("true", ready=False) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


def static_program(tmp_path):
    path = tmp_path / "static"
    code = '#include <unistd.h>\nint main(void) { if (write(1, "ready\\n", 6)) pause(); return 0; }'
    subprocess.run(["gcc", "-static", "-x", "c", "-o", path, "-"], input=code, text=True, check=True, timeout=60)
    return program(path)


TRACED = "import ctypes, time; ctypes.CDLL(None).ptrace(0, 0, 0, 0); print('ready', flush=True); time.sleep(60)"
@contextmanager
def limited(process):
    with process as pid:
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + used // 8,) * 2)
        yield pid


NO_LIBRARY = f"mount -t tmpfs none {BUILD} && echo ready && exec sleep 60"
SETUID = "cp /bin/sleep $0 && chmod 4755 $0 && echo ready && exec $0 60"

# A process of each kind, and whether it can be attached to.
TARGETS = {
    "Go": (lambda _: served("nethttp"), True),
    "cgo": (lambda _: served("nethttp-cgo"), True),
    "Python": (lambda _: served("fastapi-asyncio"), True),
    "workers": (lambda _: served("flask-sync"), True),
    "Node": (lambda _: served("express"), True),
    "nginx": (lambda _: served("nginx"), True),
    "native": (lambda _: served("httpd"), True),
    "musl": (lambda _: served("httpd-musl"), True),
    "static": (static_program, False),
    "zombie": (lambda _: zombie(), False),
    "stopped": (lambda _: stopped(served("httpd")), False),
    "stopped Go": (lambda _: stopped(served("nethttp")), True),
    "traced": (lambda _: program(PYTHON, "-c", TRACED), False),
    "recorded": (lambda path: already("httpd", path), False),
    "recorded Go": (lambda path: already("nethttp", path), False),
    "no library": (lambda _: program("unshare", "-m", "sh", "-c", NO_LIBRARY), False),
    "own network": (lambda _: sleeping("unshare", "-n"), False),
    "own users": (lambda _: sleeping("unshare", "-U", "-r"), True),
    "filter": (lambda _: program(PYTHON, "-c", RESTRICTED, "filter"), True),
    "set-user-ID": (lambda path: program("sh", "-c", SETUID, path / "sleep"), True),
    "little memory": (lambda _: served("nethttp", wrap=("prlimit", f"--as={1 << 30}")), False),
    "little memory left": (lambda _: limited(served("httpd")), False),
    "other user": (lambda _: sleeping(), False),
}
NOBODY = ("setpriv", "--reuid=65534", "--clear-groups", "--")


@pytest.mark.parametrize("name", TARGETS)
def test_what_it_says_of_attaching_is_so(name, tmp_path):
    make, can = TARGETS[name]
    if name == "musl" and not MUSL_LIBRARY.exists():
        pytest.skip("needs musl-tools: make deps")
    if os.geteuid() and name in ("no library", "own network", "own users", "other user"):
        pytest.skip("needs root")
    wrap = NOBODY if name == "other user" else ()
    with make(tmp_path) as pid:
        done = subprocess.run([*wrap, REQSCOPE, "doctor", "--json", str(pid)], capture_output=True, text=True, timeout=60)
        said = json.loads(done.stdout)
        command = said["attach"]["command"] or f"reqscope attach {pid}"
        attach = [REQSCOPE, *command.split()[1:], "-o", "/dev/null", "-f", "--duration", "0.2"]
        did = subprocess.run([*wrap, *attach], capture_output=True, text=True, timeout=60)
    assert (said["attach"]["possible"], did.returncode) == (can, 0 if can else 125), (done.stdout, did.stderr)
    assert said["everything"] <= (can or name.startswith("recorded"))


def test_control_characters_are_not_printed():
    with running(PYTHON, "-c", "print('ready', flush=True); import time; time.sleep(60)", "\x1b[31m") as process:
        done = subprocess.run([REQSCOPE, "doctor", str(process.pid)], capture_output=True, timeout=60)
        assert b"\x1b" not in done.stdout and b"?[31m" in done.stdout
