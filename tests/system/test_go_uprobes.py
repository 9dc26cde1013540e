"""Uprobes (bpftrace, perf, Beyla) at functions of Go's runtime that are hooked, too: both see all, and the program runs on."""

import ctypes
import os
import re
import struct
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import load
import pytest
from attaching import Attached
from recording import SETTLE, assert_balanced, ended_trace, recorded, report
from serve import Server

FUNCTIONS = ("runtime.mallocgc", "runtime.casgstatus", "runtime.casGToPreemptScan", r"[\w./]*runtime[\w./]*syscall[\w./]*\.Syscall6")
TYPE = Path("/sys/bus/event_source/devices/uprobe/type")
PERF_EVENT_OPEN, VERSION_1 = 298, 72  # x86-64; the size of perf_event_attr (include/uapi/linux/perf_event.h)
CLIENTS, REQUESTS = 16, 3000


def offset_of(file: Path, pattern: str) -> int:
    """Of the function with that name, in the file."""
    symbols = re.findall(rf"^(\w+) [tT] {pattern}(?:\.abi0)?$", subprocess.check_output(["nm", file], text=True), re.M)
    address = int(symbols[0], 16)
    segments = re.findall(r"LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", subprocess.check_output(["readelf", "-lW", file], text=True))
    for offset, start, size in (map(lambda number: int(number, 16), one) for one in segments):
        if start <= address < start + size:
            return address - start + offset
    raise ValueError(f"{pattern} lies in no segment of {file}")


def set_probe(path: ctypes.c_char_p, offset: int, cpu: int) -> int:
    """A descriptor that counts; the probe is there until it is closed."""
    attributes = struct.pack("<IIQQQQQIIQQ", int(TYPE.read_text()), VERSION_1, 0, 0, 0, 0, 0, 0, 0,
                             ctypes.cast(path, ctypes.c_void_p).value, offset)  # fmt: skip
    fd = ctypes.CDLL(None, use_errno=True).syscall(PERF_EVENT_OPEN, attributes, -1, cpu, -1, 8)
    if fd < 0:
        pytest.skip(f"no uprobes here: {os.strerror(ctypes.get_errno())}")
    return fd


@contextmanager
def probes(file: Path):
    """On all processors, at the entry of each function; called, it tells how often each was met."""
    if not TYPE.exists():
        pytest.skip("this kernel has no uprobes")
    path = ctypes.c_char_p(str(file).encode())
    with ExitStack() as opened:
        counters = {}
        for function in FUNCTIONS:
            offset = offset_of(file, function)
            counters[function] = [set_probe(path, offset, cpu) for cpu in range(os.cpu_count())]
            for fd in counters[function]:
                opened.callback(os.close, fd)
        yield lambda: {name: sum(struct.unpack("<Q", os.read(fd, 8))[0] for fd in fds) for name, fds in counters.items()}


def send(server):
    done = load.fixed(server.url + "/json", REQUESTS, CLIENTS)
    assert (done.succeeded, done.errored) == (REQUESTS, 0)


def assert_met(counts: dict):
    """Preemption, the third, is a rare thing."""
    assert [name for name, count in counts.items() if count < REQUESTS and "Preempt" not in name] == [], counts


def assert_all_seen(trace: Path, requests: int):
    ended_trace(trace)
    seen = report(trace)
    assert_balanced(seen["completeness"])
    assert seen["requests"] == seen["completeness"]["started"] == requests
    assert seen["alloc_bytes"]["count"] == requests and seen["alloc_bytes"]["p50"] > 0


# Prologues of all kinds: Go 1.18 has its system calls in assembly, 1.19 and 1.20 begin with `sub`.
@pytest.mark.parametrize("name", ("gin", "fiber", "nethttp-1.19", "nethttp-race", "nethttp-static-pie"))
def test_probes_come_and_go_while_it_is_recorded(name, trace):
    with recorded(name, trace, "run") as server:
        program = Path(f"/proc/{server.pid}/exe").resolve()
        send(server)
        for _ in range(3):
            with probes(program) as met:
                send(server)
                assert_met(met())
            send(server)
    assert_all_seen(trace, 7 * REQUESTS)


def test_what_has_probes_is_recorded(trace):
    with Server("gin") as before:
        program = Path(f"/proc/{before.pid}/exe").resolve()
    with probes(program) as met:
        with recorded("gin", trace, "run") as server:
            send(server)
            assert_met(met())
    assert_all_seen(trace, REQUESTS)


def test_attach_and_detach_under_probes(trace):
    with Server("gin") as server:
        program = Path(f"/proc/{server.pid}/exe").resolve()
        with probes(program) as met:
            with Attached(server.pid, trace):
                send(server)
                time.sleep(SETTLE)
            send(server)
            assert_met(met())
        send(server)
    assert_all_seen(trace, REQUESTS)
