"""Writes traces by the document alone (include/reqscope/trace_format.md): the second implementation of the format.

Everything that a correct writer would not do can be done with it, too: any header field, any bytes as payload.
"""

import ctypes
import json
import struct
from dataclasses import dataclass, field

RUN, PROCESS, REQUESTS, SAMPLES, TOTALS, END, STACKS, SITES = range(1, 9)
ALLOCATED, FREED, WITHDRAWN = range(3)  # events of a sites frame
OF_REQUEST, AFTER_RESPONSE, UNATTRIBUTED = range(3)  # and its owners
CONSTANT, VARINT, DELTA, QUANTISED = range(4)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")

# name -> (id, nullable, preferred encoding)
COLUMNS = {
    "time": (1, False, DELTA), "process": (2, False, VARINT), "route": (3, False, VARINT),
    "status": (4, False, VARINT), "flags": (5, False, VARINT), "queue": (6, True, QUANTISED),
    "handler": (7, True, QUANTISED), "send": (8, True, QUANTISED), "request_bytes": (9, False, VARINT),
    "response_bytes": (10, False, VARINT), "alloc_count": (11, True, VARINT), "alloc_bytes": (12, True, VARINT),
    "cpu_time": (13, True, QUANTISED), "sched_wait": (14, True, QUANTISED), "gil_wait": (15, True, QUANTISED),
    "loop_delay": (16, True, QUANTISED), "downstream": (17, True, QUANTISED), "peak_bytes": (18, True, VARINT),
    "recv_buffer_bytes": (19, True, VARINT), "children_cpu_time": (20, True, QUANTISED),
    "rss": (32, True, VARINT), "cpu_user": (33, True, VARINT), "cpu_system": (34, True, VARINT),
    "threads": (35, True, VARINT), "fds": (36, True, VARINT), "heap_in_use": (40, True, VARINT),
    "heap_goal": (41, True, VARINT), "gc_cycles": (42, True, VARINT), "gc_pause_total": (43, True, VARINT),
    "goroutines": (44, True, VARINT), "event": (48, False, VARINT), "number": (49, False, DELTA),
    "owner": (50, False, VARINT), "site_route": (51, True, VARINT), "stack": (52, False, VARINT),
    "bytes": (53, False, VARINT), "sample_bytes": (54, False, VARINT), "followed": (55, False, VARINT),
}  # fmt: skip

MASK = (1 << 64) - 1


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 as its specification describes it."""
    p1, p2, p3, p4, p5 = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579,
                          2870177450012600261)  # fmt: skip

    def rotl(x, r):
        return (x << r | x >> (64 - r)) & MASK

    def turn(acc, lane):
        return rotl((acc + lane * p2) & MASK, 31) * p1 & MASK

    at, n = 0, len(data)
    if n >= 32:
        acc = [(seed + p1 + p2) & MASK, (seed + p2) & MASK, seed, (seed - p1) & MASK]
        lanes = struct.unpack(f"<{n // 32 * 4}Q", data[: n // 32 * 32])
        for i, lane in enumerate(lanes):
            acc[i & 3] = turn(acc[i & 3], lane)
        at = n // 32 * 32
        h = (rotl(acc[0], 1) + rotl(acc[1], 7) + rotl(acc[2], 12) + rotl(acc[3], 18)) & MASK
        for a in acc:
            h = ((h ^ turn(0, a)) * p1 + p4) & MASK
    else:
        h = (seed + p5) & MASK
    h = (h + n) & MASK
    while at + 8 <= n:
        h = (rotl(h ^ turn(0, int.from_bytes(data[at : at + 8], "little")), 27) * p1 + p4) & MASK
        at += 8
    if at + 4 <= n:
        h = (rotl(h ^ int.from_bytes(data[at : at + 4], "little") * p1 & MASK, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ byte * p5 & MASK, 11) * p1 & MASK
    h = (h ^ h >> 33) * p2 & MASK
    h = (h ^ h >> 29) * p3 & MASK
    return h ^ h >> 32


def _load_zstd():
    lib = ctypes.CDLL("libzstd.so.1")
    lib.ZSTD_compressBound.restype = lib.ZSTD_compress.restype = ctypes.c_size_t
    lib.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    lib.ZSTD_compress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    return lib


_zstd = _load_zstd()


def compress(raw: bytes, level: int = 3) -> bytes:
    out = ctypes.create_string_buffer(_zstd.ZSTD_compressBound(len(raw)))
    length = _zstd.ZSTD_compress(out, len(out), raw, len(raw), level)
    return out.raw[:length]


def frame(kind, raw, first=0, last=None, *, version=1, magic=b"RQSF", stored=None, stored_length=None, raw_length=None,
          checksum=None) -> bytes:  # fmt: skip
    """One frame; each field can be forced to a wrong value."""
    stored = compress(raw) if stored is None else stored
    head = struct.pack("<4sBBHIIQQ", magic, kind, version, 0, len(stored) if stored_length is None else stored_length,
                       len(raw) if raw_length is None else raw_length, first, first if last is None else last)  # fmt: skip
    return head + struct.pack("<Q", xxh64(head + stored) if checksum is None else checksum) + stored


def json_frame(kind, value, time=0) -> bytes:
    return frame(kind, json.dumps(value).encode(), time)


def varint(v: int) -> bytes:
    out = bytearray()
    while v >= 0x80:
        out.append(v & 0x7F | 0x80)
        v >>= 7
    return bytes(out + bytes([v]))


def zigzag(v: int) -> int:
    return (v << 1) & MASK if v >= 0 else (-v << 1) - 1


def quantise(v: int) -> int:
    if v < 512:
        return v
    e = v.bit_length() - 1
    return (e - 8) * 512 + (v >> (e - 9) & 511)


def dequantise(code: int) -> int:
    if code < 1024:
        return code
    shift = code // 512 - 1
    return (512 + code % 512 << shift) + (1 << shift - 1)


def column(name, values, encoding=None) -> bytes:
    """Head and bytes of a column; constant where all are equal, unless an encoding is asked for."""
    number, nullable, preferred = COLUMNS[name]
    if encoding is None:
        encoding = CONSTANT if len(set(values)) == 1 else preferred
    plain = [0 if v is None else v + 1 for v in values] if nullable else values
    if encoding == CONSTANT:
        data = varint(plain[0])
    elif encoding == VARINT:
        data = b"".join(map(varint, plain))
    elif encoding == DELTA:
        data = b"".join(varint(zigzag(b - a)) for a, b in zip([0, *values], values))
    else:
        codes = [0xFFFF if v is None else quantise(v) for v in values]
        data = bytes(c >> 8 for c in codes) + bytes(c & 255 for c in codes)
    return struct.pack("<BBI", number, encoding, len(data)) + data


def columns(rows: int, columns: list[bytes], routes=()) -> bytes:
    """A payload of columns; routes are (method index, template) pairs."""
    table = b"".join(struct.pack("<BH", m, len(t)) + t for m, t in routes)
    return struct.pack("<II", rows, len(routes)) + table + bytes([len(columns)]) + b"".join(columns)


@dataclass
class Request:
    time: int  # ns, arrival
    method: str = "GET"
    route: str = "/"
    status: int = 200
    queue: int | None = None
    handler: int | None = 1000
    send: int | None = 100
    aborted: bool = False
    process: int = 0
    request_bytes: int = 100
    response_bytes: int = 200
    more: dict = field(default_factory=dict)  # further columns

    def recorded(self, name):
        """What a reader can know of a time: the middle of its quantisation bucket."""
        v = getattr(self, name) if hasattr(self, name) else self.more.get(name)
        return None if v is None else dequantise(quantise(v))

    @property
    def latency(self):
        parts = [self.recorded(p) for p in ("queue", "handler", "send")]
        return None if parts[1] is None or parts[2] is None else (parts[0] or 0) + parts[1] + parts[2]


def requests_frame(requests, **forced) -> bytes:
    first = min(r.time for r in requests) // 1000 * 1000
    keys = list(dict.fromkeys((r.method, r.route) for r in requests))
    table = [(METHODS.index(m) if m in METHODS else 255, t.encode()) for m, t in keys]
    cols = [
        column("time", [(r.time - first) // 1000 for r in requests]),
        column("process", [r.process for r in requests]),
        column("route", [keys.index((r.method, r.route)) for r in requests]),
        column("status", [r.status for r in requests]),
        column("flags", [int(r.aborted) for r in requests]),
    ]
    for name in ("queue", "handler", "send", "request_bytes", "response_bytes"):
        values = [getattr(r, name) for r in requests]
        if any(v is not None for v in values):
            cols.append(column(name, values))
    for name in dict.fromkeys(n for r in requests for n in r.more):
        cols.append(column(name, [r.more.get(name) for r in requests]))
    return frame(REQUESTS, columns(len(requests), cols, table), first, max(r.time for r in requests), **forced)


def samples_frame(samples) -> bytes:
    """samples: dicts with time (ns), process, and any of the sample columns."""
    first = min(s["time"] for s in samples) // 1000 * 1000
    cols = [column("time", [(s["time"] - first) // 1000 for s in samples])]
    cols.append(column("process", [s.get("process", 0) for s in samples]))
    for name in (n for n, (number, _, _) in COLUMNS.items() if 32 <= number < 48):
        if any(name in s for s in samples):
            cols.append(column(name, [s.get(name) for s in samples]))
    return frame(SAMPLES, columns(len(samples), cols), first, max(s["time"] for s in samples))


@dataclass
class Site:
    """A row of a sites frame. An allocated one with a route is a request's; one without is nobody's, unless told."""

    time: int  # ns
    number: int
    event: int = ALLOCATED
    process: int = 0
    method: str = "GET"
    route: str | None = None
    owner: int | None = None
    stack: int = 0
    bytes: int = 0
    sample_bytes: int = 524288
    followed: bool = False

    @property
    def column_values(self) -> dict:
        if self.event != ALLOCATED:
            return dict.fromkeys(("owner", "stack", "bytes", "sample_bytes", "followed"), 0)
        owner = self.owner if self.owner is not None else UNATTRIBUTED if self.route is None else OF_REQUEST
        return {"owner": owner, "stack": self.stack, "bytes": self.bytes, "sample_bytes": self.sample_bytes,
                "followed": int(self.followed)}  # fmt: skip


def sites_frame(sites, **forced) -> bytes:
    first = min(s.time for s in sites) // 1000 * 1000
    keys = list(dict.fromkeys((s.method, s.route) for s in sites if s.route is not None))
    table = [(METHODS.index(m) if m in METHODS else 255, t.encode()) for m, t in keys]
    cols = [
        column("time", [(s.time - first) // 1000 for s in sites]),
        column("process", [s.process for s in sites]),
        column("event", [s.event for s in sites]),
        column("number", [s.number for s in sites]),
        column("site_route", [None if s.route is None else keys.index((s.method, s.route)) for s in sites]),
    ]
    for name in ("owner", "stack", "bytes", "sample_bytes", "followed"):
        cols.append(column(name, [s.column_values[name] for s in sites]))
    return frame(SITES, columns(len(sites), cols, table), first, max(s.time for s in sites), **forced)


class Stacks:
    """Numbers frames and stacks as a trace has them, and writes those that weren't written yet."""

    def __init__(self):
        self.frames, self.stacks = {}, {}
        self.frames_written = self.stacks_written = 0

    def number(self, *frames) -> int:
        """The number of a stack, given from the innermost frame outwards: names, or dicts of a stacks frame."""
        caller = 0
        for one in reversed(frames):
            one = {"function": one, "kind": "native"} if isinstance(one, str) else {"kind": "native"} | one
            own = self.frames.setdefault(json.dumps(one), len(self.frames))
            caller = self.stacks.setdefault((caller, own), len(self.stacks) + 1)
        return caller

    def frame(self, time=None) -> bytes:
        """Must come before the sites frame that names what it brings."""
        value = {
            "first_frame": self.frames_written,
            "frames": [json.loads(key) for key in list(self.frames)[self.frames_written :]],
            "first_stack": self.stacks_written + 1,
            "stacks": [n for key in list(self.stacks)[self.stacks_written :] for n in key],
        }
        self.frames_written, self.stacks_written = len(self.frames), len(self.stacks)
        return json_frame(STACKS, value, START if time is None else time)


SECOND = 10**9
START = 5_000 * SECOND  # CLOCK_MONOTONIC at the start of the traces made here
REALTIME = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


def run_frame(**more) -> bytes:
    value = {
        "schema": "reqscope.run/1", "agent_version": "0.1.0", "mode": "run", "label": None, "command": ["./server"],
        "start_monotonic_ns": str(START), "start_realtime_ns": str(REALTIME), "clock": "tsc",
        "host": {"kernel": "6.1.0", "cpu": "Some CPU", "cpus": 2, "memory_bytes": 8 << 30}, "options": {},
    }  # fmt: skip
    return json_frame(RUN, value | more, START)


def process_frame(index=0, runtime="native", version=None, start=START) -> bytes:
    value = {
        "process": index, "pid": 1000 + index, "ppid": 1, "start_monotonic_ns": str(start), "command": "./server",
        "runtime": {"name": runtime, "version": version},
    }  # fmt: skip
    return json_frame(PROCESS, value, start)


def totals(requests, processes=(0,), **more) -> dict:
    n = len(requests)
    whole = {"started": n, "finished": n, "dropped": 0, "unfinished": 0, "given_up": 0}
    each = [
        {"process": p, "completeness": whole, "connections": {"accepted": 4, "peak": 3}, "process_alloc": None,
         "unattributed": None, "after_response": None, "rss_peak": None, "events": {}}
        for p in processes
    ]  # fmt: skip
    value = {"end_monotonic_ns": str(START + 60 * SECOND), "completeness": whole, "notes": [], "processes": each}
    return value | more


def trace(requests, samples=(), *, sites=(), stacks=None, rows=1000, end=True, runtime="native", **run) -> bytes:
    """A whole trace of one process a process index that occurs; sites name what the given Stacks have."""
    processes = sorted({r.process for r in requests} | {s.get("process", 0) for s in samples} |
                       {s.process for s in sites} | {0})  # fmt: skip
    out = [run_frame(**run)] + [process_frame(p, runtime) for p in processes]
    for at in range(0, len(requests), rows):
        out.append(requests_frame(requests[at : at + rows]))
    if samples:
        out.append(samples_frame(samples))
    if stacks:
        out.append(stacks.frame())
    for at in range(0, len(sites), rows):
        out.append(sites_frame(sites[at : at + rows]))
    if end:
        out.append(json_frame(END, totals(requests, processes, reason="exited"), START + 60 * SECOND))
    return b"".join(out)
