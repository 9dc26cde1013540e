"""Go servers at full load for a long time, collecting garbage all the time: nothing is lost, nothing grows.

RQS_SOAK_SECONDS sets how long, for all of them together (`make soak`: 600).
"""

import os
import time

import load
import pytest
from go_servers import ask
from recording import assert_balanced, ended_trace, recorded, report

SERVERS = ("nethttp", "gin", "fiber", "nethttp-cgo")
SECONDS = float(os.environ.get("RQS_SOAK_SECONDS", "600")) / len(SERVERS)

CLIENTS = 64
# Clients come and go with each round; threads, stacks and goroutines with the requests.
PATHS = ("/json", "/slices/a?k=50", "/children?k=4", "/users/7", "/nested?k=2", "/panic?k=0", "/threads?k=1", "/deep?mb=1",
         "/late?ms=5", "/worker?k=5", "/pull?k=5", "/bytes?n=20000")  # fmt: skip
ROUND = 10 * CLIENTS * len(PATHS)


@pytest.mark.parametrize("name", SERVERS)
def test_soak(name, tmp_path):
    trace = tmp_path / "trace.rqs"
    total, memory = 0, []
    with recorded(name, trace, "run", env={"GOGC": "5"}) as server:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or len(memory) < 3:
            done = load.fixed([server.url + path for path in PATHS], ROUND, CLIENTS, log=False)
            total += ROUND
            assert (done.succeeded, done.errored) == (ROUND, 0)
            assert ask(server, "/__count")["count"] == total
            memory.append(server.memory()["rss"])
    ended_trace(trace)
    seen = report(trace)
    assert seen["requests"] == seen["completeness"]["finished"] == total + len(memory)
    assert_balanced(seen["completeness"])
    assert seen["completeness"]["unfinished"] == seen["completeness"]["given_up"] == 0
    assert not seen["truncated"]
    print(f"{name}: {total} requests, {memory[0] >> 20} to {memory[-1] >> 20} MiB, trace {trace.stat().st_size} bytes")
    # What the first rounds needed is kept; the later ones need no more.
    assert memory[-1] < 1.5 * max(memory[: max(1, len(memory) // 5)]) + (32 << 20)
