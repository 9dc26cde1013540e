#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets that read traces: make_corpus.py FOLDER makes FOLDER/TARGET/."""

import json
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/tools"), str(ROOT / "tests/cli")]

import make_trace as make  # noqa: E402
from make_trace import Request, column, columns  # noqa: E402
from test_bad_files import BAD_PAYLOADS, WHOLE  # noqa: E402


def piece(kind, payload):
    return struct.pack("<BH", kind, len(payload)) + payload


def good_payload():
    routes = [(0, b"/a/{}"), (255, b"/b"), (2, b"*")]
    cols = [column("time", [5, 9, 7, 800]), column("route", [0, 1, 0, 2]), column("status", [200, 404, 503, 0])]
    cols += [column("handler", [100, 5000, None, 1 << 30]), column("send", [1, 2, None, 4], make.QUANTISED)]
    cols += [column("queue", [None, 7, 8, 9]), column("alloc_bytes", [1, None, 300, 1 << 40])]
    return columns(4, cols, routes)


def samples_payload():
    cols = [column("time", [1, 2]), column("process", [0, 1]), column("rss", [5, None]), column("cpu_user", [1, 2]),
            column("cpu_system", [1, 2])]  # fmt: skip
    return columns(2, cols)


def stacks_payload(**more):
    frames = [{"function": "malloc", "module": "libc.so.6", "kind": "native"}, {"function": "f", "file": "/a.py", "line": 3,
              "kind": "python"}, {"function": "runtime.mallocgc", "kind": "go", "inlined": True}]  # fmt: skip
    value = {"first_frame": 0, "frames": frames, "first_stack": 1, "stacks": [0, 1, 1, 0, 0, 2, 1, 2, 9, 0, 0, 77]}
    return json.dumps(value | more).encode()


def sites_payload(rows=70):
    """More live at the end than a leak needs; all events and owners."""
    number, events = list(range(rows)) + list(range(0, rows, 9)), [0] * rows + [1 + i % 2 for i in range(0, rows, 9)]
    n = len(number)
    cols = [column("time", [i * 9000 for i in range(n)]), column("process", [i % 2 for i in range(n)]), column("event", events),
            column("number", number), column("owner", [i % 3 if i < 20 else 0 for i in range(n)]),
            column("site_route", [None if i % 5 == 0 else i % 2 for i in range(n)]), column("stack", [i % 8 for i in range(n)]),
            column("bytes", [1 + i * i for i in range(n)]), column("sample_bytes", [512]), column("followed", [1])]  # fmt: skip
    return columns(n, cols, [(0, b"/a/{}"), (2, b"/b")])


SITES_SEEDS = {
    "sites whole": [stacks_payload()],
    "sites without names": [],
    "sites twice named": [stacks_payload(), stacks_payload(first_stack=4)],
    "sites with a gap": [stacks_payload(first_frame=1 << 40, first_stack=7, stacks=[1, 1 << 40, 7, 0])],
    "sites of circles": [stacks_payload(stacks=[2, 0, 1, 0, 3, 1])],
    "sites of no stacks": [stacks_payload(stacks="x", frames=[1, None, {"kind": 7}])],
}


def main():
    folder = Path(sys.argv[1])
    run = json.dumps({"label": "x", "command": ["a", "b"], "start_monotonic_ns": "1", "start_realtime_ns": "2",
                      "host": {"cpu": "c", "cpus": 2}}).encode()  # fmt: skip
    process = json.dumps({"process": 0, "pid": 5, "start_monotonic_ns": "9", "runtime": {"name": "go"}}).encode()
    end = json.dumps(make.totals([Request(0)], reason="exited")).encode()
    seeds = {"raw": b"\0" + WHOLE, "cut": b"\0" + WHOLE[:-30]}
    seeds["frames"] = b"\1" + b"".join(
        [piece(make.RUN, run), piece(make.PROCESS, process), piece(make.REQUESTS, good_payload()),
         piece(make.SAMPLES, samples_payload()), piece(make.TOTALS, end), piece(make.END, end)]
    )  # fmt: skip
    for name, brought in SITES_SEEDS.items():
        seeds[name] = b"\1" + b"".join(
            [piece(make.RUN, run), piece(make.REQUESTS, good_payload()), *(piece(make.STACKS, s) for s in brought),
             piece(make.SITES, sites_payload()), piece(make.END, end)]
        )  # fmt: skip
    payloads = {"good": good_payload(), "samples": samples_payload(), "sites": sites_payload(), **BAD_PAYLOADS}
    for name, payload in payloads.items():
        seeds[name] = b"\1" + piece(make.RUN, run) + piece(make.REQUESTS, payload)
    whole_traces = {target: seeds for target in ("trace", "merge", "export")}
    for target, made in (whole_traces | {"columns": {n: b"\1" + p for n, p in payloads.items()}}).items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (folder / target / name.replace(" ", "-")).write_bytes(data)


if __name__ == "__main__":
    main()
