"""`reqscope attach` on a server, and what it leaves in the server's memory."""

import hashlib
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from procfs import alive, command_line, descendants
from recording import GO, REQSCOPE
from serve import wait_until

BEGUN = "; Ctrl-C ends it"


class Attached:
    """The command on a process, from its first line on; also a context manager, which ends it as Ctrl-C does."""

    def __init__(self, pid, trace, *options):
        self.errors = trace.with_suffix(".errors")
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen([REQSCOPE, "attach", str(pid), "-o", trace, *options], stderr=errors)
        wait_until(lambda: BEGUN in self.said or self.process.poll() is not None, 20, "the recording to begin")
        assert BEGUN in self.said, self.said
        self.family = {words[1]: child for child in descendants(self.process.pid) if len(words := command_line(child)) > 1}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end()

    @property
    def said(self) -> str:
        return self.errors.read_text()

    def end(self, number=signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(timeout=30)

    def kill(self, who: str):
        """kill -9 of "attach" itself, of "collect" or "attach-keeper"; returns when all three have ended."""
        os.kill(self.family[who], signal.SIGKILL)
        self.wait()
        wait_until(lambda: not any(map(alive, self.family.values())), 20, "the end of its other processes")


@dataclass(frozen=True)
class Mapping:
    start: int
    end: int
    access: str
    offset: int
    path: str


def mappings(pid: int) -> list[Mapping]:
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, access, offset, _, _, *path = line.split(maxsplit=5)
        start, end = (int(part, 16) for part in place.split("-"))
        found.append(Mapping(start, end, access, int(offset, 16), path[0] if path else ""))
    return found


def read(pid: int, mapping: Mapping) -> bytes:
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(mapping.start)
        return memory.read(mapping.end - mapping.start)


def code(pid: int) -> dict[tuple[str, int, int], str]:
    """What lies in the code and in the constant data (linked addresses among it) of the files mapped, but ours."""
    return {
        (m.path, m.offset, m.start): hashlib.sha256(read(pid, m)).hexdigest()
        for m in mappings(pid)
        if m.path.startswith("/") and "w" not in m.access and "r" in m.access and "libreqscope" not in m.path
        and not re.search(r"\.(mo|cache|so\.cache)$|/locale", m.path)
    }  # fmt: skip


def hooks(pid: int, files: str = "") -> list[str]:
    """Files (whose names fit) whose variables, linked addresses among them, point into the library's code."""
    all_ = mappings(pid)
    ours = [m for m in all_ if "libreqscope" in m.path and "x" in m.access]
    found = []
    for m in all_:
        if not ours or not m.path.startswith("/") or "r" not in m.access or "x" in m.access or "libreqscope" in m.path:
            continue
        if not re.search(files, m.path):
            continue
        words = memoryview(read(pid, m)).cast("Q")
        if any(o.start <= word < o.end for word in words for o in ours):
            found.append(m.path)
    return found


ARENA = 64 << 20  # HEAP_MAX_SIZE of glibc's malloc/arena.c


def memory(pid: int) -> tuple[int, int]:
    """
    KiB of its own that are in memory, and of all that is mapped; compare with a server as loaded, and not attached to.
    glibc's malloc maps another arena when two threads happen to meet: these are left out.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    all_ = mappings(pid)
    arenas = {m.start for m, rest in zip(all_, all_[1:])
              if m.start % ARENA == 0 and rest.access == "---p" and (rest.start, rest.end) == (m.end, m.start + ARENA)}  # fmt: skip
    mapped = sum(m.end - m.start for m in all_ if m.path or m.start // ARENA * ARENA not in arenas)
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]), mapped >> 10


def shared_memory(pid: int) -> list[str]:
    return [m.path for m in mappings(pid) if "memfd:reqscope" in m.path]


def left_by(name: str, new: list[Mapping]) -> list[Mapping]:
    """Those that an attach has left, of mappings that are new: Go and V8 make some of their own."""
    if name == "express":
        return [m for m in new if "libreqscope" in m.path]
    if name in GO:  # which makes no code of its own
        code_ = [m.start for m in new if "x" in m.access]
        return [m for m in new if any(abs(m.start - start) < 1 << 20 for start in code_)]
    return new


def resident(pid: int) -> dict[int, int]:
    """Where a mapping begins -> its resident bytes."""
    found, start = {}, 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            start = int(line.split("-")[0], 16)
        elif line.startswith("Rss:"):
            found[start] = int(line.split()[1]) * 1024
    return found
