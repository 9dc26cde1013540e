"""V8's heap in the report, against what the server says of itself."""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest

from recording import REQSCOPE, ended_trace, report
from serve import free_port, wait_until

SERVER = """
const kept = [];
require("http").createServer((request, response) => {
  for (let i = 0; i < 1000; i++) kept.push({ i });
  response.end(JSON.stringify(process.memoryUsage().heapUsed));
}).listen(Number(process.argv[2]), "127.0.0.1");
"""
HELD = 40_000_000  # bytes, in an array that V8 keeps in its heap


@pytest.mark.skipif(not shutil.which("node"), reason="no Node here: make deps")
@pytest.mark.parametrize("held", (0, HELD))
def test_v8_heap(held, tmp_path):
    script, trace, port = tmp_path / "server.js", tmp_path / "node.rqs", free_port()
    script.write_text(f"const held = new Array({held // 8}).fill(0.5);" + SERVER + "setInterval(() => held.length, 1e6);")
    with subprocess.Popen([REQSCOPE, "run", "-o", trace, "--", "node", script, str(port)], stderr=subprocess.DEVNULL) as run:

        def ask():
            try:
                return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10))
            except OSError:
                return None

        wait_until(ask, 30, "node to answer")
        said = []
        for _ in range(20):
            said.append(ask())
            time.sleep(0.05)
        run.terminate()
    ended_trace(trace)
    heap = report(trace)["runtime_stats"]["heap_in_use"]
    assert heap["peak"] >= held
    assert min(said) * 0.7 < heap["mean"] < max(said) * 1.3
