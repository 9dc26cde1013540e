"""Blocks whose place in the program the program itself tells: each has a size of its own, and what a traceback of the line
that makes it says.

A work of works.py: runs on Python 3.8 and later, without any package.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import itertools
import os
import sys
import threading
import traceback

FIRST = 500_000  # bytes: where one about every 32 KiB is sampled all of these are, but for two in ten million
# Each process has its own; a bytearray asks for one byte more.
_sizes = itertools.count(FIRST + os.getpid() % 100 * 2000, 2)
_lock = threading.Lock()
DEEP = 90  # calls, more than are recorded


class Marks:
    """What one request has made."""

    def __init__(self):
        self.made: list[dict] = []

    def here(self, how: str):
        with _lock:
            size = next(_sizes)
        stack, block = traceback.extract_stack(), bytearray(size)  # one line: both are made on it
        self.tell(how, len(block) + 1, stack)  # a bytearray has a zero behind its bytes

    def tell(self, how: str, size: int, stack: list):
        frames = [[frame.name, frame.filename, frame.lineno] for frame in reversed(stack)]
        self.made.append({"how": how, "size": size, "stack": frames})

    def by_malloc(self):
        """By C code that keeps the GIL."""
        library = ctypes.PyDLL(None)
        library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        with _lock:
            size = next(_sizes)
        stack, block = traceback.extract_stack(), library.malloc(ctypes.c_size_t(size))  # one line
        self.tell("malloc", size, stack)
        library.free(block)

    # ---- ways of being called ----

    def by_c(self):
        """Through functions of C's: a sort, a map, a partial, a comparison."""
        sorted([1], key=lambda _: self.here("sort"))
        list(map(self.here, ["map"]))
        functools.partial(self.here, "partial")()
        return Compared(self) == Compared(self)

    def by_generators(self):
        def inner():
            yield self.here("generator")

        def outer():
            yield from inner()

        list(outer())
        [self.here("comprehension") for _ in range(1)]
        next(self.here("generator expression") for _ in range(1))

    def by_destructor(self):
        Dropped(self)

    def by_long_lines(self):
        return (
            1,
            [
                self.here("long line")
            ],
        )  # fmt: skip

    def by_odd_names(self):
        exec(compile("def \u4e2d\u6587(m):\n  m.here('odd name')\n\u4e2d\u6587(m)", "/nowhere/\u00e9\u4e2d.py", "exec"), {"m": self})

    def by_short_lived_code(self):
        """Of which each may have the address of the one before."""
        for i in range(20):
            exec(compile(f"def f{i}(m):\n" + "\n" * i + f"  m.here('code {i}')\nf{i}(m)", "/nowhere.py", "exec"), {"m": self})

    def by_handler(self):
        try:
            raise KeyError
        except KeyError:
            self.here("handler")
        finally:
            self.here("finally")

    def deep(self, calls: int = DEEP):
        return self.deep(calls - 1) if calls else self.here("deep")

    def all(self):
        self.here("method")
        self.by_c()
        self.by_generators()
        self.by_destructor()
        self.by_long_lines()
        self.by_odd_names()
        self.by_short_lived_code()
        self.by_handler()
        self.by_malloc()
        self.deep()


class Compared:
    def __init__(self, marks: Marks):
        self.marks = marks

    def __eq__(self, _) -> bool:
        self.marks.here("comparison")
        return True


class Dropped:
    def __init__(self, marks: Marks):
        self.marks = marks

    def __del__(self):
        self.marks.here("destructor")


def on_thread(**_) -> dict:
    marks = Marks()
    marks.all()
    return {"made": marks.made}


async def in_tasks(**_) -> dict:
    marks = Marks()

    async def part(how: str):
        marks.here(how)
        await asyncio.sleep(0.001)
        marks.here(how + ", later")

    async def awaits(how: str):
        await part(how)

    marks.all()
    await awaits("awaited")
    await asyncio.gather(part("gathered"), awaits("gathered, awaited"))
    await asyncio.create_task(awaits("task"))
    if sys.version_info >= (3, 9):
        await asyncio.to_thread(marks.here, "other thread")
    marks.here("behind")
    return {"made": marks.made}
