"""What /proc tells about processes: who belongs to whom, who listens, CPU and memory."""

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the name before them may hold spaces and parentheses."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet waited for doesn't."""
    try:
        return stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


def children_by_parent() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(stat_fields(int(entry))[1]), []).append(int(entry))
            except OSError:
                pass  # it ended meanwhile
    return children


def descendants(pid: int) -> list[int]:
    """pid and all that came of it, parents before children."""
    children = children_by_parent()
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def executable(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def listener_inode(port: int) -> str | None:
    """The inode of the socket that listens on 127.0.0.1:port. Looking needs no connection, so nothing can count it."""
    local = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == local and fields[3] == "0A":
            return fields[9]
    return None


def holds_socket(pid: int, inode: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        fds = os.listdir(folder)
    except OSError:
        return False
    for fd in fds:
        try:
            if os.readlink(f"{folder}/{fd}") == f"socket:[{inode}]":
                return True
        except OSError:
            pass  # closed meanwhile
    return False


def cpu_seconds(pids: list[int]) -> float:
    """CPU of these processes, threads that ended included, and of their children that ended.

    A process's CPU clock has nanoseconds where /proc has ticks of 10 ms.
    """
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime((~pid << 3) | 2)
            total += sum(map(int, stat_fields(pid)[13:15])) / TICK
        except OSError:
            pass  # ended: now among its parent's children
    return total


def memory(pids: list[int]) -> dict[str, int]:
    """Bytes resident (shared pages counted in each process) and proportional (counted once), summed."""
    total = {"rss": 0, "pss": 0}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        values = {line.split()[0].rstrip(":").lower(): int(line.split()[1]) * 1024 for line in lines}
        total = {key: total[key] + values[key] for key in total}
    return total
