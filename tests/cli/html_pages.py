"""Traces of some servers for pages with everything in them, and a strict look at a page's structure."""

import math
import random
import re
from html.parser import HTMLParser

from reqscope_cli import run

from make_trace import SECOND, START, Request, trace

HOSTILE = ["/<script>window.hacked=1</script>", '/"onload="window.hacked=2', "/'><img src=x onerror=alert(1)>",
           "/\u202egnp.exe", "/caf\u00e9/&amp;", "/section" * 25]  # fmt: skip
ROUTES = HOSTILE + [f"/api/v1/things-{i}/{{}}" for i in range(14)]
LABEL = "<b>|\"'>"
SECONDS, RATE = 60, 50


def side(seed, factor=1.0, routes=ROUTES, label=None):
    """A run of a minute with latencies, memory, errors and samples."""
    dice = random.Random(seed)
    requests = [
        Request(START + i * SECOND // RATE, route=routes[i % len(routes)], queue=int(2e4 * dice.random()), send=5000,
                handler=int(1e6 * factor * math.exp(dice.gauss(0, 0.5))), status=500 if i % 97 == 0 else 200,
                more={"alloc_bytes": dice.randrange(2000, 9000), "alloc_count": dice.randrange(10, 50)})
        for i in range(SECONDS * RATE)
    ]  # fmt: skip
    samples = [{"time": START + i * SECOND // 10, "rss": int(50e6 + 1e4 * i), "heap_in_use": 1 << 22, "gc_cycles": i // 5}
               for i in range(SECONDS * 10)]  # fmt: skip
    return trace(requests, samples, label=label)


def write_sides(folder):
    """The paths of three sides of 20 routes."""
    paths = []
    for i, (factor, label) in enumerate([(1, "threaded"), (1.4, "asyncio"), (0.8, LABEL)]):
        paths.append(folder / f"side-{i}.rqs")
        paths[-1].write_bytes(side(i, factor, label=label))
    return paths


def write_page(path, command, *traces):
    run(command, "--format", "html", "-f", "-o", path, *traces)
    return path


VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Asserts while it reads that every element is closed where it should be, and keeps what tests look at."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.tables, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), (tag, attributes)
        self.elements.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append(["", dict(attributes)])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert "svg" in self.open, tag
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.open, self.getpos())

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)
        if "table" in self.open and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1][0] += data

    def values(self, attribute, tag=None):
        return [a[attribute] for t, a in self.elements if attribute in a and tag in (None, t)]

    def data_tables(self):
        """Title of a chart -> its rows, as texts."""
        titles = [a["aria-label"] for t, a in self.elements if t == "div" and "aria-label" in a]
        return {title.removeprefix("Data of "): [[cell[0].strip() for cell in row] for row in table]
                for title, table in zip(titles, self.tables, strict=True) if title.startswith("Data of ")}  # fmt: skip


UNITS = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "%": 0.01, "": 1}


def number(text):
    """The value of a text as "1.23 ms"."""
    value, unit = re.fullmatch(r"([-+]?[\d.,]+) ?(\D*)", text).groups()
    return float(value.replace(",", "")) * UNITS[unit.removesuffix("/s")]
