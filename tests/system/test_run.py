"""`reqscope run` as a launcher: status, signals, terminal, files."""

import os
import pty
import signal
import subprocess
import sys
import time

import load
import pytest
import serve
from recording import REQSCOPE, ended_trace, recorded, run_prefix
from serve import wait_until

# Says when it is ready, counts a signal, waits for a second one that must not come, and prints the count.
COUNTS_A_SIGNAL = """
import signal, sys, time
count = 0
def on_signal(*_):
    global count
    count += 1
signal.signal(int(sys.argv[1]), on_signal)
print("ready", flush=True)
while not count:
    time.sleep(0.01)
time.sleep(0.5)
print(f"count={count}", flush=True)
sys.exit(7)
"""


def launch(*words, **options):
    return subprocess.run([REQSCOPE, *words], capture_output=True, text=True, timeout=30, **options)


@pytest.mark.parametrize(
    "script, status", (("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 125", 125))
)
def test_status_is_the_commands(script, status, trace):
    assert launch("run", "-o", trace, "--", "sh", "-c", script).returncode == status


def test_output_is_the_commands(trace):
    done = launch("run", "-o", trace, "--", "sh", "-c", "cat; echo problem >&2", input="words")
    assert done.stdout == "words"
    assert "problem\n" in done.stderr


@pytest.mark.parametrize(
    "words",
    (
        ["run"],
        ["run", "--"],
        ["run", "--no-such-option", "--", "true"],
        ["run", "-o", "/no/such/folder/x.rqs", "--", "true"],
        ["run", "--", "/no/such/program"],
        ["run", "--duration", "soon", "--", "true"],
    ),
)
def test_own_failures_are_125(words, tmp_path):
    done = launch(*words, cwd=tmp_path)
    assert done.returncode == 125
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_an_existing_file_is_kept(trace):
    trace.write_text("precious")
    done = launch("run", "-o", trace, "--", "true")
    assert done.returncode == 125
    assert str(trace) in done.stderr
    assert trace.read_text() == "precious"
    assert launch("run", "-f", "-o", trace, "--", "true").returncode == 0
    assert trace.read_bytes()[:4] == b"RQSF"


def test_default_file_is_named_after_the_target(tmp_path):
    with serve.Server("threaded", wrap=[REQSCOPE, "run", "--"], cwd=tmp_path) as server:
        load.fixed(server.url + "/json", 10)
        server.stop()
        (made,) = tmp_path.glob("*.rqs")
        assert made.name == f"reqscope.{server.pid}.rqs"
    assert len(ended_trace(made).requests) == 10


def test_trace_is_private(trace):
    with recorded("threaded", trace, "run") as server:
        load.fixed(server.url + "/json", 1)
    assert trace.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT))
def test_sent_signals_are_forwarded_once(number, trace):
    command = [*run_prefix(trace), sys.executable, "-c", COUNTS_A_SIGNAL, str(int(number))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout.readline() == "ready\n"
        launcher.send_signal(number)
        assert launcher.stdout.readline() == "count=1\n"
        assert launcher.wait(20) == 7


def test_ctrl_c_reaches_the_command_once(trace):
    """The terminal sends it to the whole foreground group; forwarding it as well would make it two."""
    command = [str(word) for word in run_prefix(trace)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], [*command, sys.executable, "-c", COUNTS_A_SIGNAL, str(int(signal.SIGINT))])
    try:
        assert b"ready" in read_some(terminal, b"ready")
        os.write(terminal, b"\x03")
        assert b"count=1" in read_some(terminal, b"count=")
        assert wait_until(lambda: exit_code(pid), 20, "the launcher's end") == 7
    finally:
        os.close(terminal)


def exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def read_some(terminal: int, mark: bytes) -> bytes:
    """What the terminal shows, up to the end of a line with the mark."""
    seen, deadline = b"", time.monotonic() + 20
    while not (mark in seen and seen.endswith(b"\n")) and time.monotonic() < deadline:
        try:
            seen += os.read(terminal, 1000)
        except OSError:
            break  # the other side has gone
    return seen


def test_stopping_the_launcher_stops_the_server(trace):
    with recorded("flask-gthread", trace, "run") as server:
        load.fixed(server.url + "/json", 100)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0, "gunicorn's own status"
    assert len(ended_trace(trace).requests) == 100


@pytest.mark.parametrize("name", ("threaded", "nethttp"))
def test_duration_ends_the_recording_only(name, trace):
    with serve.Server(name, wrap=run_prefix(trace, "--duration", "2")) as server:
        load.fixed(server.url + "/json", 100)
        seen = ended_trace(trace)
        assert load.fixed(server.url + "/json", 50).answered == 50
        assert server.stop() == 143
    assert len(seen.requests) == 100
    assert seen.totals["reason"] == "duration"


@pytest.mark.parametrize("options, expected", (
    ((), None), (("--sites",), 512 << 10), (("--sample-bytes", "4096"), 4096), (("--sample-bytes", "64K"), 64 << 10),
    (("--sample-bytes", "1024M"), 1 << 30), (("--sample-bytes", "8K", "--sites"), 8192),
))  # fmt: skip
def test_sampling_is_asked_for(options, expected, trace):
    assert launch("run", *options, "-o", trace, "--", "true").returncode == 0
    assert ended_trace(trace).run["options"].get("sample_bytes") == expected


@pytest.mark.parametrize("bytes_", ("", "4095", "3K", "1025M", "1G", "-1", "+8192", "8192 ", "8KB", "0x4000", "99999999999999999999"))
def test_sampling_of_other_sizes_is_refused(bytes_, trace):
    done = launch("run", "--sample-bytes", bytes_, "-o", trace, "--", "true")
    assert done.returncode == 125 and "--sample-bytes takes bytes from 4K to 1024M" in done.stderr
    assert not trace.exists()


def test_label_is_kept(trace):
    assert launch("run", "--label", "before", "-o", trace, "--", "true").returncode == 0
    assert ended_trace(trace).run["label"] == "before"


def test_a_pipes_reader_sees_its_end(trace):
    """Nothing of ours keeps the command's output open after it ended."""
    done = subprocess.run(
        ["sh", "-c", '"$@" | cat', "sh", *run_prefix(trace), "echo", "done"], capture_output=True, text=True, timeout=10
    )
    assert done.stdout == "done\n"
