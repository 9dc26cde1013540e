#!/usr/bin/env python3
"""Loads of the tests and benches, and what the client saw of them, as the independent count to compare a trace with.

    load.py fixed URL... -n N [-c C] [-m M] [--data FILE]    exactly N requests, by h2load
    load.py timed URL [-c C] [-d SECONDS] [--script LUA]     as many as fit, by wrk

print one JSON object. Both are bounded in count and time, and go to 127.0.0.1 only.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

MAX_REQUESTS = 1_000_000
MAX_SECONDS = 120


@dataclass(frozen=True)
class Row:
    """One request as h2load logs it, in µs; status -1 where no response came."""

    start: int  # since the epoch
    status: int
    duration: int

    @property
    def end(self) -> int:
        return self.start + self.duration


@dataclass
class Fixed:
    total: int
    succeeded: int  # answered with a status below 400
    failed: int  # answered otherwise, or not at all
    errored: int  # not answered
    classes: dict  # "2xx" -> count
    seconds: float
    rows: list = field(default_factory=list)
    latency_mean: float = 0.0  # seconds

    @property
    def answered(self) -> int:
        return sum(self.classes.values())

    @property
    def statuses(self) -> dict:
        """status -> count, of the answered ones."""
        return dict(Counter(row.status for row in self.rows if row.status > 0))


@dataclass
class Timed:
    requests: int
    seconds: float
    per_second: float
    latency_mean: float  # seconds
    errors: int  # of the socket
    not_2xx: int


def check_local(urls):
    for url in urls:
        if urlsplit(url).hostname != "127.0.0.1":
            raise ValueError(f"{url}: loads go to 127.0.0.1 only")


def fixed_command(urls, n, clients=8, pipeline=1, data=None, log=None, ramp=0.0) -> list[str]:
    """h2load's command line, for who wants to start it beside something else. The URLs are asked in turn by each client.

    ramp is in how many seconds the connections are opened. All at once may go to one of several workers.
    """
    check_local(urls)
    if n > MAX_REQUESTS:
        raise ValueError(f"{n} requests are more than {MAX_REQUESTS}")
    command = ["h2load", "--h1", "-n", str(n), "-c", str(min(clients, n)), "-m", str(pipeline)]
    command += ["-d", str(data)] if data else []
    command += [f"--log-file={log}"] if log else []
    command += ["-r", str(max(round(min(clients, n) / ramp / 100), 1)), "--rate-period=10ms"] if ramp else []
    return command + list(urls)


def fixed(urls, n, clients=8, pipeline=1, data=None, log=True, seconds=MAX_SECONDS, ramp=0.0) -> Fixed:
    """Sends exactly n requests. Without log the exact statuses and rows are missing, and the client is a bit faster."""
    urls = [urls] if isinstance(urls, str) else urls
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows") if log else None
        command = fixed_command(urls, n, clients, pipeline, data, path, ramp)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        return parse_fixed(done.stdout, parse_rows(path) if log else [])


def parse_rows(path: Path) -> list[Row]:
    rows = [Row(*map(int, line.split("\t"))) for line in path.read_text().splitlines()]
    return sorted(rows, key=lambda row: row.start)


def parse_fixed(output: str, rows: list[Row]) -> Fixed:
    counts = re.search(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    if not counts:
        raise RuntimeError(f"h2load printed no summary: {output[-500:]}")
    total, succeeded, failed, errored = map(int, counts.groups())
    line = re.search(r"status codes: (.*)", output).group(1)
    classes = {name: int(count) for count, name in re.findall(r"(\d+) (\dxx)", line) if int(count)}
    took = duration(re.search(r"finished in ([\d.]+\w+)", output).group(1))
    mean = re.search(r"time for request: +\S+ +\S+ +(\S+)", output)
    return Fixed(total, succeeded, failed, errored, classes, took, rows, duration(mean.group(1)) if mean else 0.0)


def duration(text: str) -> float:
    """Seconds of "66.93ms" as both tools print it."""
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[unit]


def timed(url, clients=8, seconds=5, script=None) -> Timed:
    """Asks as fast as the server answers, on one client thread; script is a Lua file that makes the requests."""
    check_local([url])
    if seconds > MAX_SECONDS:
        raise ValueError(f"{seconds} s are more than {MAX_SECONDS}")
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", *(["-s", str(script)] if script else []), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    return parse_timed(done.stdout)


def parse_timed(output: str) -> Timed:
    requests, took = re.search(r"(\d+) requests in ([\d.]+\w+)", output).groups()
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    not_2xx = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return Timed(
        requests=int(requests),
        seconds=duration(took),
        per_second=float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)),
        latency_mean=duration(re.search(r"Latency\s+([\d.]+\w+)", output).group(1)),
        errors=sum(map(int, errors.groups())) if errors else 0,
        not_2xx=int(not_2xx.group(1)) if not_2xx else 0,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Bounded loads on 127.0.0.1, the result as JSON.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("fixed", help="exactly N requests, by h2load")
    one.add_argument("urls", nargs="+", metavar="URL")
    one.add_argument("-n", type=int, required=True)
    one.add_argument("-c", dest="clients", type=int, default=8)
    one.add_argument("-m", dest="pipeline", type=int, default=1)
    one.add_argument("--data", type=Path, help="POST this file")
    two = kinds.add_parser("timed", help="as many as fit, by wrk")
    two.add_argument("url", metavar="URL")
    two.add_argument("-c", dest="clients", type=int, default=8)
    two.add_argument("-d", dest="seconds", type=int, default=5)
    two.add_argument("--script", type=Path, help="a Lua file of wrk")
    options = vars(parser.parse_args())
    result = fixed(**options) if options.pop("kind") == "fixed" else timed(**options)
    shown = asdict(result)
    if "rows" in shown:
        shown["rows"] = len(result.rows)
        shown["statuses"] = result.statuses
    print(json.dumps(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
