"""What somebody who has installed the package does with it: test_package.py runs this where nothing else of reqscope is.

Records a small server by `run`, by the library alone, and by `attach`; reports and compares. Prints a line of JSON.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS, ROUNDS = 8, 50
LIBRARY = "/usr/lib/reqscope/libreqscope.so"
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"x" * 10000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
import os
print(os.getpid(), server.server_port, flush=True)
server.serve_forever()
"""


def client(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(ROUNDS):
        connection.request("GET", f"/users/{number}")
        response = connection.getresponse()
        assert (response.status, len(response.read())) == (200, 10000)
    connection.close()


def load(port):
    threads = [threading.Thread(target=client, args=(port,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.5)


def start(*wrap, **env):
    process = subprocess.Popen([*wrap, sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    pid, port = map(int, process.stdout.readline().split())
    return process, pid, port


def stop(process, pid):
    os.kill(pid, signal.SIGTERM)
    return process.wait(30)


def reqscope(*words, status=0):
    done = subprocess.run(["reqscope", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def attach(pid, port, trace):
    command = ["reqscope", "attach", str(pid), "-o", trace]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as attached:
        line = attached.stderr.readline()
        assert "Ctrl-C ends it" in line, line + attached.stderr.read()
        load(port)
        attached.send_signal(signal.SIGINT)
        attached.stderr.read()
        assert attached.wait(30) == 0


def ended(trace):
    """The collector outlives a server with the library alone by a moment."""
    for _ in range(100):
        if os.path.exists(trace) and json.loads(reqscope("info", "--format", "json", trace))["truncated"] is False:
            return
        time.sleep(0.1)
    raise TimeoutError(trace)


def main():
    os.chdir(tempfile.mkdtemp())
    process, pid, port = start("reqscope", "run", "-o", "run.rqs", "--")
    load(port)
    assert stop(process, pid) == 128 + signal.SIGTERM
    process, pid, port = start(LD_PRELOAD=LIBRARY, REQSCOPE_OUT="preload.rqs")
    load(port)
    stop(process, pid)
    process, pid, port = start()
    attach(pid, port, "attach.rqs")
    stop(process, pid)
    seen = {}
    for name in ("run", "preload", "attach"):
        ended(f"{name}.rqs")
        (trace,) = json.loads(reqscope("report", "--format", "json", f"{name}.rqs"))["traces"]
        memory = trace["alloc_bytes"]
        seen[name] = {"requests": trace["requests"], "routes": [route["route"] for route in trace["routes"]],
                      "alloc_bytes": memory and memory["mean"], "p50_ms": trace["latency"]["p50"] * 1e3}  # fmt: skip
    compared = json.loads(reqscope("compare", "--format", "json", "run.rqs", "preload.rqs"))
    assert "GET /users/{}" in reqscope("report", "run.rqs") and compared["schema"].startswith("reqscope.compare/")
    print(json.dumps({"sent": CLIENTS * ROUNDS, "seen": seen, "version": reqscope("--version").strip(), "user": os.getuid()}))


main()
