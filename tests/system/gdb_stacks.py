"""Run by gdb: stops a process at random moments, and writes what a sample would have of each, and gdb's own stack.

    gdb -nx -batch -ex "python pid, count, out = 1234, 50, '/tmp/x'" -x gdb_stacks.py

OUT.samples has struct rqs_sample_record, one behind the other; OUT.json the addresses of gdb's frames, a list a sample.
"""
import json
import random
import struct
import time

import gdb

REGISTERS = ("rip", "rsp", "rbp", "rbx", "r12", "r13", "r14", "r15")
HEAD = struct.Struct("<HBBHHIIQQQQ")  # size ... bytes (include/reqscope/region.h)
STACK = 12288
SAMPLE, MORE_STACK, NO_SLOT = 2, 4, 0xFFFFFFFF


def stack_from(rsp):
    """As much as there is of a sample's piece of stack."""
    for size in range(STACK, 0, -64):
        try:
            return bytes(gdb.selected_inferior().read_memory(rsp, size))
        except gdb.MemoryError:
            pass
    return b""


def sample():
    registers = [int(gdb.parse_and_eval(f"(unsigned long)${name}")) for name in REGISTERS]
    stack = stack_from(registers[1])
    body = struct.pack("<8Q", *registers) + stack
    more = MORE_STACK if len(stack) == STACK else 0
    return HEAD.pack(HEAD.size + len(body), SAMPLE, 0, more, 0, NO_SLOT, len(stack), 0, 0, 0, 0) + body


def frames():
    """Where each function is that has a frame, the innermost first: what was inlined or left by a jump has none."""
    found = []
    frame = gdb.newest_frame()
    while frame is not None and len(found) < 500:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            found.append(frame.pc())
        try:
            frame = frame.older()
        except gdb.error:
            break
    return found


for setting in ("pagination off", "confirm off", "backtrace past-main on", "backtrace past-entry on",
                "print thread-events off", "debuginfod enabled off"):
    gdb.execute(f"set {setting}")
stacks = []
with open(out + ".samples", "wb") as samples:
    for _ in range(count):
        gdb.execute(f"attach {pid}", to_string=True)
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num)[:2]:
            thread.switch()
            samples.write(sample())
            stacks.append(frames())
        gdb.execute("detach", to_string=True)
        time.sleep(random.uniform(0.001, 0.03))
with open(out + ".json", "w") as file:
    json.dump(stacks, file)
