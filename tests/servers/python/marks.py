"""Blocks whose place in the program the program itself tells: each has a size of its own, and what a traceback of the line
that makes it says.

A work of works.py: runs on Python 3.8 and later, without any package.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import threading
import traceback

FIRST = 500_000  # bytes: where one about every 32 KiB is sampled all of these are, but for two in ten million
_sizes = itertools.count(FIRST)
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
        # A bytearray has a zero behind its bytes.
        frames = [[frame.name, frame.filename, frame.lineno] for frame in reversed(stack)]
        self.made.append({"how": how, "size": len(block) + 1, "stack": frames})

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
        self.by_handler()
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
