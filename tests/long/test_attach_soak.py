"""Servers under load that are attached to and left again, 200 times: nothing fails, nothing grows, counts are right.

RQS_ATTACH_CYCLES sets how many times (`make soak`: 200). Each server is also loaded for as long without being attached
to, so that what grows by itself isn't taken for ours.
"""

import os
import re
import statistics
import time
from pathlib import Path

import pytest
from attaching import hooks, left_by, mappings, memory, resident, shared_memory
from serve import Server
from test_attach import CYCLE_SERVERS, assert_count, attach_once, count_mappings, loaded

CYCLES = int(os.environ.get("RQS_ATTACH_CYCLES", "200"))
GROWTH = 64 << 10  # bytes


def hosts_own(pid) -> set[int]:
    """
    Memory without a name that isn't reserved alone, as ours is: Python maps such. What it has directly behind the library
    is one mapping with the library's last data, of fixed size.
    """
    own, start, named = set(), 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            start, named = int(line.split("-")[0], 16), len(line.split()) > 5
        elif line.startswith("VmFlags:") and not named and " nr" not in line:
            own.add(start)
    return own


class Memory:
    """What a server's processes have in memory of their own, files aside, and what is where an attach has left something."""

    def __init__(self, pids):
        self.pids = pids
        self.before = {pid: {m.start for m in mappings(pid)} for pid in pids}
        self.ours = {}

    def note_ours(self, name):
        for pid in self.pids:
            new = [m for m in mappings(pid) if m.start not in self.before[pid]]
            self.ours[pid] = {m.start for m in left_by(name, new)} - hosts_own(pid)

    def whole(self) -> int:
        """The least of some moments: collectors of garbage come and go."""
        samples = []
        for _ in range(10):
            samples.append(sum(memory(pid)[0] for pid in self.pids) << 10)
            time.sleep(0.1)
        return min(samples)

    def left(self) -> int:
        return sum(size for pid in self.pids for start, size in resident(pid).items() if start in self.ours[pid])


def cycles(server, name, folder, count):
    """Counts are compared once the client has told what it saw."""
    recordings, sizes = [], []
    with loaded(server) as background:
        for i in range(count):
            trace = folder / f"{i}.rqs"
            recordings.append(attach_once(server, trace, CYCLE_SERVERS[name], 0.1))
            sizes.append(count_mappings(name, server.pids()))
    seen = []
    for recording in recordings:
        seen.append(assert_count(recording, background.rows))
        recording.trace.unlink()
    return seen, sizes


def in_ms(times) -> str:
    return f"{1e3 * statistics.median(times):.2f} ms, at most {1e3 * max(times):.2f} ms"


@pytest.mark.parametrize("name", CYCLE_SERVERS)
def test_attached_to_again_and_again(name, tmp_path):
    with Server(name) as server:
        pids = server.pids()
        memory = Memory(pids)
        cycles(server, name, tmp_path, 5)
        memory.note_ours(name)
        first, left = memory.whole(), memory.left()
        begin = time.monotonic()
        seen, sizes = cycles(server, name, tmp_path, CYCLES)
        seconds, last = time.monotonic() - begin, memory.whole()
        left = memory.left() - left
        with loaded(server):
            time.sleep(seconds)
        alone = memory.whole() - last
        assert server.pids() == pids and sum(one["requests"] for one in seen) > CYCLES
        assert not any(hooks(pid) or shared_memory(pid) for pid in pids)
    attach, detach = ([one["attach"][key] for one in seen] for key in ("stopped", "detach_stopped"))
    print(f"\n{name}: {sum(one['requests'] for one in seen)} requests in {CYCLES} recordings; threads stopped to attach "
          f"{in_ms(attach)}, to detach {in_ms(detach)}; memory {(last - first) / 1024:+.0f} KiB, without attaching "
          f"{alone / 1024:+.0f} KiB, what an attach leaves {left / 1024:+.0f} KiB; "
          f"{sizes[0]} to {sizes[-1]} mappings")  # fmt: skip
    quarter = max(1, CYCLES // 4)
    assert left <= GROWTH
    assert max(sizes[-quarter:]) <= max(sizes[:quarter]) + 8 * len(pids), sizes
    # What the runtime itself takes and gives back in such a time is the noise that the rest is seen through.
    assert last - first <= max(alone, 0) + GROWTH + noise(name), (last - first, alone)


def noise(name) -> int:
    """
    Heaps of these go up and down by that much between two looks; malloc's don't. asyncio's connections come and go, and
    leave holes: Python's own count of its blocks doesn't grow with attaching.
    """
    return {"gin": 16 << 20, "fiber": 16 << 20, "express": 16 << 20, "fastapi-asyncio": 512 << 10}.get(name, 0)
