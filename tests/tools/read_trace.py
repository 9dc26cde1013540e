#!/usr/bin/env python3
"""Reads a trace by the document alone (include/reqscope/trace_format.md), in its own code, so that tests see what the
file holds and not what the analyzer makes of it.

    read_trace.py FILE    prints the JSON frames and one line a request and an event of a sampled allocation
"""

import ctypes
import json
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"RQSF"
HEADER = struct.Struct("<4sBBHIIQQQ")
RUN, PROCESS, REQUESTS, SAMPLES, TOTALS, END, STACKS, SITES = range(1, 9)
ALLOCATED, FREED, WITHDRAWN = range(3)  # events of a sites frame
OF_REQUEST, AFTER_RESPONSE, UNATTRIBUTED = range(3)  # and its owners
CONSTANT, VARINT, DELTA, QUANTISED = range(4)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")

# id -> (name, nullable). The first two are of all; below 32 they are of requests, below 48 of samples, then of sites.
COLUMNS = {
    1: ("time", False), 2: ("process", False), 3: ("route", False), 4: ("status", False), 5: ("flags", False),
    6: ("queue", True), 7: ("handler", True), 8: ("send", True), 9: ("request_bytes", False),
    10: ("response_bytes", False), 11: ("alloc_count", True), 12: ("alloc_bytes", True), 13: ("cpu_time", True),
    14: ("sched_wait", True), 15: ("gil_wait", True), 16: ("loop_delay", True), 17: ("downstream", True),
    18: ("peak_bytes", True), 19: ("recv_buffer_bytes", True), 20: ("children_cpu_time", True),
    32: ("rss", True), 33: ("cpu_user", True), 34: ("cpu_system", True), 35: ("threads", True), 36: ("fds", True),
    40: ("heap_in_use", True), 41: ("heap_goal", True), 42: ("gc_cycles", True), 43: ("gc_pause_total", True),
    44: ("goroutines", True),
    48: ("event", False), 49: ("number", False), 50: ("owner", False), 51: ("site_route", True),
    52: ("stack", False), 53: ("bytes", False), 54: ("sample_bytes", False), 55: ("followed", False),
}  # fmt: skip

_zstd = ctypes.CDLL("libzstd.so.1")
_zstd.ZSTD_decompress.restype = ctypes.c_size_t
_zstd.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH64.restype = ctypes.c_uint64
_xxhash.XXH64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


class Damaged(Exception):
    """The bytes are not a trace of version 1."""


@dataclass
class Request:
    time: int  # ns of CLOCK_MONOTONIC, a whole µs after the frame's first_time
    process: int
    method: str
    route: str
    status: int
    aborted: bool
    queue: int | None
    handler: int | None
    send: int | None
    values: dict  # the other columns

    @property
    def latency(self) -> int | None:
        """ns"""
        if self.handler is None or self.send is None:
            return None
        return (self.queue or 0) + self.handler + self.send


@dataclass
class Site:
    """A row of a sites frame; what only an allocated row tells is 0 or None in the others."""

    time: int
    process: int
    event: int
    number: int
    owner: int
    method: str | None
    route: str | None
    stack: int
    bytes: int
    sample_bytes: int
    followed: bool


@dataclass
class Trace:
    run: dict | None = None
    processes: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    sites: list = field(default_factory=list)
    frames: dict = field(default_factory=dict)  # number -> object of a stacks frame
    stacks: dict = field(default_factory=dict)  # number -> (number of the caller's stack, number of its own frame)
    totals: dict | None = None  # of the last totals frame, or of the end frame
    ended: bool = False
    size: int = 0

    def realtime(self, monotonic: int) -> int:
        """The same instant in ns since the epoch."""
        return monotonic - int(self.run["start_monotonic_ns"]) + int(self.run["start_realtime_ns"])

    def stack(self, number: int) -> list[dict]:
        """The frames of a stack, the innermost first."""
        out = []
        while number:
            number, own = self.stacks[number]
            out.append(self.frames[own])
        return out


def read(path) -> Trace:
    data = Path(path).read_bytes()
    trace = Trace(size=len(data))
    offset = 0
    while offset < len(data):
        offset = _frame(trace, data, offset)
    return trace


def _frame(trace: Trace, data: bytes, offset: int) -> int:
    """Adds the frame at offset to the trace and returns where the next begins."""
    if len(data) - offset < HEADER.size:
        raise Damaged(f"{offset}: ends inside a header")
    magic, kind, version, _, stored, raw, first, _, checksum = HEADER.unpack_from(data, offset)
    payload = data[offset + HEADER.size : offset + HEADER.size + stored]
    if magic != MAGIC or version != 1 or len(payload) != stored:
        raise Damaged(f"{offset}: no whole frame of version 1")
    covered = data[offset : offset + 32] + payload
    if _xxhash.XXH64(covered, len(covered), 0) != checksum:
        raise Damaged(f"{offset}: wrong checksum")
    content = _decompress(payload, raw)
    if kind == RUN:
        trace.run = json.loads(content)
    elif kind == PROCESS:
        trace.processes.append(json.loads(content))
    elif kind == REQUESTS:
        trace.requests += _requests(content, first)
    elif kind == SAMPLES:
        trace.samples += _rows(content, first, kind)[0]
    elif kind == STACKS:
        _stacks(trace, json.loads(content))
    elif kind == SITES:
        trace.sites += _sites(trace, content, first)
    elif kind in (TOTALS, END):
        trace.totals = json.loads(content)
        trace.ended = kind == END
    return offset + HEADER.size + stored


def _decompress(payload: bytes, raw: int) -> bytes:
    out = ctypes.create_string_buffer(max(raw, 1))
    if _zstd.ZSTD_decompress(out, raw, payload, len(payload)) != raw:
        raise Damaged("payload does not decompress to its length")
    return out.raw[:raw]


def _requests(content: bytes, first: int) -> list[Request]:
    rows, routes = _rows(content, first, REQUESTS)
    requests = []
    for row in rows:
        method, route = routes[row.pop("route")]
        fields = {name: row.pop(name) for name in ("time", "process", "status", "queue", "handler", "send")}
        aborted = bool(row.pop("flags") & 1)
        requests.append(Request(method=method, route=route, aborted=aborted, values=row, **fields))
    return requests


def _stacks(trace: Trace, value: dict) -> None:
    """Numbers are given once, and a stack's caller has a lower one."""
    for number, frame in enumerate(value["frames"], value["first_frame"]):
        if number in trace.frames:
            raise Damaged(f"frame {number} was given before")
        trace.frames[number] = frame
    pairs = value["stacks"]
    for number, caller, own in zip(range(value["first_stack"], 1 << 53), pairs[::2], pairs[1::2]):
        if number < 1 or number in trace.stacks or own not in trace.frames or (caller and caller not in trace.stacks):
            raise Damaged(f"stack {number} can't be one")
        trace.stacks[number] = (caller, own)


def _sites(trace: Trace, content: bytes, first: int) -> list[Site]:
    rows, routes = _rows(content, first, SITES)
    sites = []
    for row in rows:
        route = row.pop("site_route")
        row["method"], row["route"] = (None, None) if route is None else routes[route]
        if (route is not None) != (row["event"] == ALLOCATED and row["owner"] == OF_REQUEST):
            raise Damaged("a route where there is none, or none where there is one")
        if row["stack"] and row["stack"] not in trace.stacks:
            raise Damaged("a stack that wasn't told before")
        row["followed"] = bool(row["followed"])
        sites.append(Site(**row))
    return sites


def _absent(kind: int) -> dict:
    """What each column of this kind of frame holds when the frame has none such."""
    of = {REQUESTS: range(3, 32), SAMPLES: range(32, 48), SITES: range(48, 64)}[kind]
    ids = (id for id in COLUMNS if id <= 2 or id in of)
    return {name: None if nullable else 0 for name, nullable in map(COLUMNS.get, ids)}


def _rows(content: bytes, first: int, kind: int) -> tuple[list[dict], list]:
    """Columns turned into one dict a row, and the route table."""
    rows, count = struct.unpack_from("<II", content)
    at = 8
    routes = []
    for _ in range(count):
        method, length = struct.unpack_from("<BH", content, at)
        template = content[at + 3 : at + 3 + length].decode()
        routes.append((METHODS[method] if method < len(METHODS) else "_OTHER", template))
        at += 3 + length
    columns = {}
    number, at = content[at], at + 1
    for _ in range(number):
        column, encoding, length = struct.unpack_from("<BBI", content, at)
        body = content[at + 6 : at + 6 + length]
        at += 6 + length
        if column in COLUMNS:
            name, nullable = COLUMNS[column]
            columns[name] = _column(body, encoding, rows, nullable)
    if at != len(content):
        raise Damaged("bytes after the last column")
    # A column that is missing is 0 in every row.
    columns["time"] = [first + us * 1000 for us in columns.get("time", [0] * rows)]
    absent = _absent(kind)
    return [absent | dict(zip(columns, values)) for values in zip(*columns.values())], routes


def _column(body: bytes, encoding: int, rows: int, nullable: bool) -> list:
    if encoding == QUANTISED:
        codes = [high << 8 | low for high, low in zip(body[:rows], body[rows:])]
        return [None if nullable and code == 0xFFFF else dequantise(code) for code in codes]
    values = _varints(body)
    if encoding == DELTA:
        total, out = 0, []
        for value in values:
            total += (value >> 1) ^ -(value & 1)
            out.append(total)
        return out
    if encoding == CONSTANT:
        values *= rows
    if len(values) != rows:
        raise Damaged("a column of the wrong length")
    return [value - 1 if value else None for value in values] if nullable else values


def dequantise(code: int) -> int:
    if code < 1024:
        return code
    shift = (code >> 9) - 1
    return ((512 + (code & 511)) << shift) + (1 << (shift - 1))


def _varints(body: bytes) -> list[int]:
    values, value, shift = [], 0, 0
    for byte in body:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    return values


def main() -> int:
    trace = read(sys.argv[1])
    for frame in (trace.run, *trace.processes, trace.totals):
        print(json.dumps(frame))
    for request in trace.requests:
        print(request)
    for site in trace.sites:
        print(site, " < ".join(frame["function"] for frame in trace.stack(site.stack)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
