"""What the handlers of all Python test servers do, so that the servers differ in nothing but how they run it.

A work takes the whole numbers of the query (`ms`, `k`) as keywords, and returns what is answered as JSON. Those of SYNC
run on the thread that serves the request, those of ASYNC in its task. Their memory is known: a request for /small asks
CPython for SMALL bytes more than one for /empty, and each of the others for PART bytes more, in blocks that nothing recycles.

/stream, /background and /error depend on the server: its file has them, and does PART bytes in each, too.

Runs on Python 3.8 and later, without any package.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
import time
import tracemalloc
from collections import deque
from pathlib import Path
from urllib.parse import parse_qsl

import marks

SMALL, BIG, PART = 10_000, 500_000, 100_000
KEPT = 1024  # bytes that a request for /lost leaves behind, and one for /recent until RECENT more have come
RECENT = 64
PIECES = 4  # subtasks, or chunks of a stream
MOMENT = 0.001  # seconds, long enough to let all other requests in between
LATE = 0.3  # seconds, longer than most requests take

SLOT = 8  # bytes, of each object's place in a list
BLOCKS = (300, 400, 600, 1168)  # bytes; pymalloc has those up to 512, malloc the others
LENGTHS = [block - sys.getsizeof(b"") for block in BLOCKS]
UNIT = sum(BLOCKS) + len(BLOCKS) * SLOT  # 2,500


def numbers(query: str) -> dict[str, int]:
    return {name: int(value) for name, value in parse_qsl(query)}


def hold(size: int) -> list:
    """Objects that take size bytes in all, with their places in lists that don't grow. Nothing else is asked for:
    integers up to 256, of which no list has more, are there already."""
    columns = [[None] * (size // UNIT) for _ in LENGTHS]
    for column, length in zip(columns, LENGTHS):
        for at in range(len(column)):
            column[at] = bytes(length)  # site: hold
    return columns


def held(*held: list) -> dict:
    return {"objects": sum(len(column) for columns in held for column in columns)}


# ---- on a thread ----


def in_halves(size: int) -> dict:
    """Half before a wait in which other threads, or greenlets, come to run, and half after it."""
    first = hold(size // 2)
    time.sleep(MOMENT)
    return held(first, hold(size // 2))


def in_a_thread(**_) -> dict:
    """A thread that nobody tells whose it is."""
    thread = threading.Thread(target=in_halves, args=(PART,))
    thread.start()
    thread.join()
    return {"objects": 0}


def peak(**_) -> dict:
    """A megabyte ten times, one after the other."""
    for _ in range(10):
        block = bytearray(1_000_000)
        del block
    return {"objects": 0}


_kept: list = []


def keep_all(**_) -> dict:
    """A leak."""
    _kept.append(hold(PART))
    return held(_kept[-1])


def cut(**_) -> dict:
    """A megabyte, of which little is kept."""
    block = bytearray(BIG * 2)
    del block[1000:]
    return {"objects": len(block)}


def traced(**_) -> dict:
    """What tracemalloc says that each size takes; the median of three, since now and then the interpreter does something of its own."""
    tracemalloc.start()
    try:
        return {str(size): sorted(traced_size(size) for _ in range(3))[1] for size in (SMALL, PART, BIG)}
    finally:
        tracemalloc.stop()


def traced_size(size: int) -> int:
    before = tracemalloc.get_traced_memory()[0]
    first, second = hold(size // 2), hold(size // 2)
    traced = tracemalloc.get_traced_memory()[0] - before
    del first, second
    return traced


_lost = []
_recent = deque(maxlen=RECENT)


def lost(**_) -> dict:
    """A leak, beside what isn't one."""
    _lost.append(bytes(KEPT - sys.getsizeof(b"")))  # site: lost
    return held(hold(SMALL))


def recent(**_) -> dict:
    """None: it fills, and then stays."""
    _recent.append(bytes(KEPT - sys.getsizeof(b"")))  # site: recent
    return held(hold(SMALL))


class Watch:
    """What a thread itself sees: seconds since it began, on a CPU, waiting for one, and else, which is for the GIL."""

    def __init__(self):
        self.run_delay = waited_for_cpu()
        self.wall, self.cpu = time.monotonic(), time.thread_time()

    def seen(self) -> dict:
        wall, cpu = time.monotonic() - self.wall, time.thread_time() - self.cpu
        run_delay = waited_for_cpu() - self.run_delay
        return {"wall": wall, "cpu": cpu, "run_delay": run_delay, "gil_wait": max(0.0, wall - cpu - run_delay)}


def waited_for_cpu() -> float:
    """Seconds that this thread was ready to run and didn't, by the kernel's account."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def steps(k=1) -> dict:
    """k thousand steps, which take as much of a CPU however many threads there are."""
    total = 0
    for number in range(k * 1000):
        total += number & 7
    return {"total": total}


def spin_until(deadline: float):
    while time.monotonic() < deadline:
        pass


def spin(ms=1) -> dict:
    watch = Watch()
    spin_until(time.monotonic() + ms / 1000)
    return watch.seen()


def contended(ms=1) -> dict:
    """spin beside three threads that begin and end with it."""
    begin = threading.Event()
    deadline = 0.0

    def other():
        begin.wait()
        spin_until(deadline)

    others = [threading.Thread(target=other) for _ in range(3)]
    for thread in others:
        thread.start()
    watch = Watch()
    deadline = time.monotonic() + ms / 1000
    begin.set()
    spin_until(deadline)
    seen = watch.seen()
    for thread in others:
        thread.join()
    return seen


def interpreter(**_) -> dict:
    """What an application can observe of the interpreter it runs in."""
    return {
        "modules": sorted(sys.modules),
        "path": sys.path,
        "finders": [repr(finder) for finder in sys.meta_path],
        "hooks": [repr(sys.gettrace()), repr(sys.getprofile()), repr(sys.excepthook), repr(threading.gettrace())],
        "gc": [*gc.get_threshold(), len(gc.callbacks), gc.isenabled()],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "variables": sorted(variable.name for variable in contextvars.copy_context()),
        "flags": repr(sys.flags),
        "tracing": tracemalloc.is_tracing(),
        "switch_interval": sys.getswitchinterval(),
    }


ANYWHERE = {
    "/peak": peak,
    "/cut": cut,
    "/keep": keep_all,
    "/lost": lost,
    "/recent": recent,
    "/spin": spin,
    "/steps": steps,
    "/contended": contended,
    "/traced": traced,
    "/interpreter": interpreter,
}

SYNC = {
    "/empty": lambda **_: in_halves(0),
    "/small": lambda **_: in_halves(SMALL),
    "/big": lambda **_: in_halves(BIG),
    "/thread": in_a_thread,
    "/marks": marks.on_thread,
    **ANYWHERE,
}


def chunks():
    """The chunks of a stream, PART bytes held at each."""
    for number in range(PIECES):
        objects = hold(PART // PIECES)
        time.sleep(MOMENT)
        yield f"{number} {held(objects)['objects']}\n".encode()


# ---- in a task ----


async def in_halves_async(size: int) -> dict:
    """Half before an await in which other requests come to run, and half after it."""
    first = hold(size // 2)
    await asyncio.sleep(MOMENT)
    return held(first, hold(size // 2))


async def gathered(**_) -> dict:
    parts = await asyncio.gather(*(in_halves_async(PART // PIECES) for _ in range(PIECES)))
    return {"objects": sum(part["objects"] for part in parts)}


async def nested(**_) -> dict:
    """A task of a task of a task."""

    async def deeper(levels: int):
        return await asyncio.create_task(deeper(levels - 1)) if levels else await in_halves_async(PART)

    return await deeper(3)


async def to_thread(**_) -> dict:
    """A pool's thread, with the request's context."""
    return await asyncio.to_thread(in_halves, PART)


async def executor(**_) -> dict:
    """A pool's thread, without it."""
    return await asyncio.get_running_loop().run_in_executor(None, in_halves, PART)


async def queued(**_) -> dict:
    """A task that was there before the request: what it does is nobody's, though it does it for this one."""
    answer = asyncio.get_running_loop().create_future()
    await worker_queue().put(answer)
    return await answer


_queue: asyncio.Queue | None = None
_tasks: set[asyncio.Task] = set()  # a loop keeps none alive


def keep(task: asyncio.Task):
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def worker_queue() -> asyncio.Queue:
    global _queue
    if _queue is None:
        _queue = asyncio.Queue()
        contextvars.Context().run(lambda: keep(asyncio.get_running_loop().create_task(_work(_queue))))
    return _queue


async def _work(queue: asyncio.Queue):
    while True:
        answer = await queue.get()
        answer.set_result(held(hold(PART)))


async def late(**_) -> dict:
    """A task that outlives its request."""
    keep(asyncio.create_task(after_a_while()))
    return {"objects": 0}


async def after_a_while() -> dict:
    await asyncio.sleep(LATE)
    return held(hold(PART))


def on_loop(work):
    """A work that blocks the loop."""

    async def run(**how) -> dict:
        return work(**how)

    return run


ASYNC = {
    "/empty": lambda **_: in_halves_async(0),
    "/small": lambda **_: in_halves_async(SMALL),
    "/big": lambda **_: in_halves_async(BIG),
    "/gather": gathered,
    "/nested": nested,
    "/to_thread": to_thread,
    "/executor": executor,
    "/queued": queued,
    "/late": late,
    "/marks": marks.in_tasks,
    **{path: on_loop(work) for path, work in ANYWHERE.items()},
}


async def chunks_async():
    for number in range(PIECES):
        objects = hold(PART // PIECES)
        await asyncio.sleep(MOMENT)
        yield f"{number} {held(objects)['objects']}\n".encode()
