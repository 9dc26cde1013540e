"""Very many requests in one trace: all are there, and what reads it takes no more memory than for few.

RQS_LOAD_REQUESTS sets how many (`make load-long`: 20 M).
"""

import json
import os
import subprocess
import sys
import time

import load
import pyarrow.parquet
from recording import REQSCOPE, assert_balanced, recorded, report

REQUESTS = int(os.environ.get("RQS_LOAD_REQUESTS", "100000"))
FEW = 20_000
CLIENTS = 64
MEMORY = 64 << 20  # what a command may take, however long the trace


def record(trace, requests) -> list[int]:
    """Sends so many, in runs of what the load generator may; the server's memory after each."""
    memory = []
    with recorded("fiber", trace, "run") as server:
        for left in range(requests, 0, -load.MAX_REQUESTS):
            count = min(left, load.MAX_REQUESTS)
            done = load.fixed(server.url + "/json", count, CLIENTS, log=False, seconds=600)
            assert (done.succeeded, done.failed, done.errored) == (count, 0, 0)
            memory.append(server.memory()["rss"])
    return memory


# A process's memory at most is also its parent's at its start: so a small parent.
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss << 10, used.ru_utime + used.ru_stime, file=sys.stderr)
sys.exit(status)
"""


class Command:
    """A command of the analyzer that has run: what it printed; it took no more memory than it may."""

    def __init__(self, *words):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", MEASURED, REQSCOPE, *words], capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr
        memory, cpu = done.stderr.split()[-2:]
        self.output = done.stdout
        print(f"{words[0]}: {time.monotonic() - start:.1f} s, {float(cpu):.1f} s of CPU, {int(memory) >> 20} MiB of memory")
        assert int(memory) < MEMORY, words


def seen_by(command: Command) -> list[dict]:
    return json.loads(command.output)["traces"]


def test_very_many_requests_in_one_trace(trace, tmp_path):
    few, both, table = (tmp_path / name for name in ("few.rqs", "both.rqs", "requests.parquet"))
    memory = record(trace, REQUESTS)
    record(few, FEW)
    size = trace.stat().st_size
    print(f"{REQUESTS} requests, {size / REQUESTS:.2f} bytes of the trace each; server's memory {memory[0] >> 20} MiB"
          f" after the first {min(REQUESTS, load.MAX_REQUESTS)}, {memory[-1] >> 20} MiB after the last")  # fmt: skip
    assert size <= 10 * REQUESTS

    (seen,) = seen_by(Command("report", "--format", "json", trace))
    assert_balanced(seen["completeness"])
    assert seen["requests"] == seen["completeness"]["finished"] == seen["completeness"]["started"] == REQUESTS
    assert not seen["truncated"] and seen["errors"] == 0

    sides = json.loads(Command("compare", "--format", "json", few, trace).output)["sides"]
    assert [side["requests"] for side in sides] == [FEW, REQUESTS]

    assert b"whole" in Command("info", trace).output

    Command("merge", "-o", both, trace, few)
    assert report(both)["requests"] == REQUESTS + FEW

    Command("export", "--format", "parquet", "-o", table, trace)
    assert pyarrow.parquet.ParquetFile(table).metadata.num_rows == REQUESTS
    Command("export", "--format", "openmetrics", trace)
    assert memory[-1] < 1.5 * memory[0] + (32 << 20)
