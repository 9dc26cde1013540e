#!/usr/bin/env python3
"""The README's picture: the page of `reqscope compare` of three recorded servers, its top and its first charts.

    picture.py OUT.png

The servers get one core each in turn and as many connections, so that the page compares like with like.
"""

import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

from browser import browser, find

ROOT = Path(__file__).resolve().parents[2]
REQSCOPE = ROOT / os.environ.get("BUILD", "build") / "reqscope"
sys.path.insert(0, str(ROOT / "tests/servers"))

from serve import Server  # noqa: E402

SIDES = {"FastAPI": "fastapi-uvloop", "Express": "express", "Gin": "gin"}
SECONDS = int(os.environ.get("PICTURE_SECONDS", "12"))
WARM_UP = 2  # s
WIDTH = 1060  # of the window, about as wide as a README is shown
SCALE = 1.5  # the picture's pixels to the window's
MAX_BYTES = 150_000
LEFT_OUT = ("Figures", "Where the time goes", "Routes")
CHARTS = 4

# Hides what the picture leaves out, and says where it ends.
ARRANGE = """
(() => {
  for (const section of document.querySelectorAll('section'))
    if (%s.includes(section.querySelector('h2').textContent)) section.remove();
  document.querySelector('nav').remove();
  document.querySelectorAll('details, main > section > .charts ~ *').forEach(left => left.remove());
  document.documentElement.style.overflow = 'hidden';
  const shown = [...document.querySelectorAll('figure')];
  shown.splice(%d).forEach(figure => figure.remove());
  return Math.ceil(Math.max(...shown.map(figure => figure.getBoundingClientRect().bottom)) + 16);
})()
"""


def record(name: str, trace: Path):
    cores = [["taskset", "-c", str(core)] for core in (0, 1)] if os.cpu_count() > 1 else [[], []]
    wrap = [*cores[0], REQSCOPE, "run", "-o", trace, "--"]
    with Server(name, wrap=wrap) as server:
        load = ["wrk", "-t1", "-c32", f"-d{WARM_UP + SECONDS + 1}s", "-s", ROOT / "tests/load/mix.lua", server.url]
        subprocess.run([*cores[1], *load], check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        server.stop()


def unfiltered(lines: bytes, stride: int, pixel: int) -> bytearray:
    """PNG's rows without their filters (PNG specification, 9.2)."""
    out, above = bytearray(), bytes(stride)
    for at in range(0, len(lines), stride + 1):
        kind, row = lines[at], bytearray(lines[at + 1 : at + 1 + stride])
        for i in range(stride):
            left, corner = (row[i - pixel], above[i - pixel]) if i >= pixel else (0, 0)
            if kind == 4:
                near = left + above[i] - corner
                guess = min((left, above[i], corner), key=lambda value: abs(near - value))
            else:
                guess = (0, left, above[i], (left + above[i]) // 2)[kind]
            row[i] = row[i] + guess & 255
        out += row
        above = row
    return out


def with_palette(png: bytes) -> bytes:
    """The same picture in its 256 most frequent colours, the others as the nearest of them: a third of the size."""
    width, height, _, color = struct.unpack(">IIBB", png[16:26])
    data, at = b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    pixel = {2: 3, 6: 4}[color]
    raw = unfiltered(zlib.decompress(data), width * pixel, pixel)
    colors = [bytes(raw[i : i + 3]) for i in range(0, len(raw), pixel)]
    palette = [one for one, _ in Counter(colors).most_common(256)]

    @cache
    def index(color):
        return min(range(len(palette)), key=lambda i: sum((a - b) ** 2 for a, b in zip(palette[i], color)))

    rows = (bytes(map(index, colors[i : i + width])) for i in range(0, len(colors), width))
    parts = {b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0), b"PLTE": b"".join(palette),
             b"IDAT": zlib.compress(b"".join(b"\0" + row for row in rows), 9), b"IEND": b""}  # fmt: skip
    crc = lambda kind, body: struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    return png[:8] + b"".join(struct.pack(">I", len(b)) + k + b + crc(k, b) for k, b in parts.items())


def draw(page: Path, out: Path, profile: str):
    with browser(profile) as window:
        window.open(page, width=WIDTH, height=1000)
        height = window.run(ARRANGE % (list(LEFT_OUT), CHARTS))
        window.resize(WIDTH, height, SCALE)
        window.picture(out)
    out.write_bytes(with_palette(out.read_bytes()))


def main() -> int:
    out = Path(sys.argv[1])
    if not find():
        print("picture: there is no browser: apt-get install chromium-headless-shell", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="reqscope-picture-") as folder:
        sides = []
        for label, name in SIDES.items():
            print(f"picture: {label}", flush=True)
            record(name, Path(folder) / f"{name}.rqs")
            sides.append(f"{label}={name}.rqs")
        page = Path(folder) / "compare.html"
        # Without the end: there wrk breaks off what is under way.
        part = ["--from", str(WARM_UP), "--to", str(WARM_UP + SECONDS)]
        command = [REQSCOPE.resolve(), "compare", *part, "--format", "html", "-o", page, *sides]
        subprocess.run(command, cwd=folder, check=True)
        draw(page, out, folder + "/profile")
    size = out.stat().st_size
    print(f"picture: {out}, {size // 1000} kB")
    return size > MAX_BYTES


if __name__ == "__main__":
    sys.exit(main())
