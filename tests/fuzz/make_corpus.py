#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets that read traces: make_corpus.py FOLDER makes FOLDER/{trace,columns}/."""

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
    payloads = {"good": good_payload(), "samples": samples_payload(), **BAD_PAYLOADS}
    for name, payload in payloads.items():
        seeds[name] = b"\1" + piece(make.RUN, run) + piece(make.REQUESTS, payload)
    for target, made in (("trace", seeds), ("columns", {n: b"\1" + p for n, p in payloads.items()})):
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (folder / target / name.replace(" ", "-")).write_bytes(data)


if __name__ == "__main__":
    main()
