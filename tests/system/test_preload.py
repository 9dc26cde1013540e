"""LD_PRELOAD without the launcher."""

import os
import subprocess
import sys

import load
import pytest
from recording import ended_trace, preload_env
from serve import Server

SERVES_ONCE = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.sendall(b"GET /json HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
server, _ = listener.accept()
server.recv(1000)
server.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
print(client.recv(1000).decode().split()[1])
"""


def run_preloaded(*command, trace=None, cwd):
    env = {**os.environ, **preload_env(trace)}
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("command", (["sh", "-c", "echo a; ls /; exit 4"], ["ls", "/"], ["sh", "-c", "(sleep 0.1) & ls | cat; wait"]))
def test_no_server_leaves_no_file(command, tmp_path, trace):
    """And is not changed in any other way."""
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    for out in (None, trace):
        seen = run_preloaded(*command, trace=out, cwd=tmp_path)
        assert (seen.returncode, seen.stdout, seen.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_pipes_reader_sees_its_end(trace, tmp_path):
    """The collector that the library starts keeps none of the server's pipes open."""
    done = run_preloaded(sys.executable, "-c", SERVES_ONCE, trace=trace, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "204\n", "")
    (request,) = ended_trace(trace).requests
    assert (request.method, request.route, request.status) == ("GET", "/json", 204)


def test_default_file_is_named_after_the_target(tmp_path):
    with Server("threaded", env=preload_env(), cwd=tmp_path) as server:
        load.fixed(server.url + "/json", 10)
        server.stop()
    (made,) = tmp_path.glob("*.rqs")
    assert made.name == f"reqscope.{server.pid}.rqs"
    assert len(ended_trace(made).requests) == 10


def test_an_existing_file_is_left_alone(trace):
    trace.write_text("precious")
    with Server("threaded", env=preload_env(trace)) as server:
        load.fixed(server.url + "/json", 10)
        server.stop()
    assert trace.read_text() == "precious"
    assert len(ended_trace(trace.with_name(f"trace.{server.pid}.rqs")).requests) == 10


def test_status_is_the_servers(trace):
    with Server("flask-gthread", env=preload_env(trace)) as server:
        load.fixed(server.url + "/json", 10)
        assert server.stop() == 0


@pytest.mark.parametrize("name, value, expected", (
    ("REQSCOPE_SITES", "1", 512 << 10), ("REQSCOPE_SAMPLE_BYTES", "64K", 64 << 10), ("REQSCOPE_OTHER", "1", None),
))  # fmt: skip
def test_sampling_is_asked_for_by_the_environment(name, value, expected, trace, tmp_path):
    env = {**os.environ, **preload_env(trace), name: value}
    subprocess.run([sys.executable, "-c", SERVES_ONCE], env=env, cwd=tmp_path, check=True, capture_output=True, timeout=30)
    assert ended_trace(trace).run["options"].get("sample_bytes") == expected


def test_the_environment_of_children_is_whole(trace, tmp_path):
    """Children are recorded too, so what makes them so is passed on."""
    done = run_preloaded("sh", "-c", "sh -c 'echo $LD_PRELOAD'", trace=trace, cwd=tmp_path)
    assert done.stdout.strip() == preload_env()["LD_PRELOAD"]
