"""The HTML page as a document: whole, self-contained, safe, bounded, legible, and with the same numbers as JSON."""

import base64
import hashlib
import json
import re

import pytest
from html_pages import HOSTILE, LABEL, Page, number, side, write_page, write_sides
from reqscope_cli import run

KB = 1000


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    return write_sides(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def texts(sides):
    """Pages of one to three sides, by what they show."""
    folder = sides[0].parent
    shown = {"report": ("report", sides[0]), "reports": ("report", *sides), "two": ("compare", *sides[:2]),
             "three": ("compare", *sides)}  # fmt: skip
    return {name: write_page(folder / f"{name}.html", *args).read_text() for name, args in shown.items()}


@pytest.fixture(params=["report", "reports", "two", "three"])
def text(request, texts):
    return texts[request.param]


def test_structure(text):
    page = Page(text)
    assert page.values("lang", "html") == ["en"] and "viewport" in page.values("name", "meta")
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    for name in ("aria-labelledby", "for"):
        assert {one for value in page.values(name) for one in value.split()} <= set(ids)
    assert {href[1:] for href in page.values("href", "a")} <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:]))
    assert all(a.get("aria-labelledby") for t, a in page.elements if t == "svg" and a.get("role") == "img")
    for table in page.tables:
        assert len({len(row) for row in table}) == 1


def test_needs_nothing_from_elsewhere(text):
    page = Page(text)
    assert "://" not in text and not re.search(r"@import|url\(|\ssrc=", text.replace("src=x", ""))
    assert page.values("src") == [] and set(page.values("href", "link")) == {"data:,"}


def test_size(texts):
    assert max(len(text.encode()) for text in texts.values() if "Contents" in text) <= 300 * KB
    assert len(texts["three"].encode()) <= 300 * KB
    (script,) = re.findall(r"<script>(.*?)</script>", texts["two"], re.S)
    assert len(script) < 8 * KB


def test_only_its_own_script_runs(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    (policy,) = Page(text).values("content", "meta")[:1]
    (hashed,) = re.findall(r"script-src 'sha256-([^']*)'", policy)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == hashed
    assert policy.startswith("default-src 'none';")
    assert "eval" not in script and "innerHTML" not in script


def test_names_are_texts(texts):
    page = Page(texts["three"])
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert {"img", "b"}.isdisjoint(tag for tag, _ in page.elements)
    shown = "\n".join(page.texts)
    assert LABEL in shown and all(route in shown for route in HOSTILE if "\u202e" not in route)
    assert "\u202e" not in shown and "\\u{202e}gnp" in shown


def test_charts_have_their_numbers(sides, texts):
    value = json.loads(run("compare", "--format", "json", *sides)[0])
    tables = Page(texts["three"]).data_tables()
    percentiles = {row[0]: row for row in tables["Latency by percentile"]}
    for name, shown in (("p50", "50 %"), ("p90", "90 %"), ("p99", "99 %"), ("p999", "99.9 %")):
        for i, s in enumerate(value["sides"]):
            # Of each side the value and its interval.
            assert number(percentiles[shown][1 + 2 * i]) == pytest.approx(s["latency"][name], rel=0.006)
    low, high = percentiles["50 %"][2].split(" to ")
    (p50,) = [r for r in value["rows"] if r["metric"] == "latency_p50" and r["route"] is None]
    assert (number(low), number(high)) == pytest.approx(p50["intervals"][0], rel=0.006)
    parts = {row[0]: row[1:] for row in tables["Where the time of a request goes"]}
    for part, title in (("queue", "queue"), ("send", "sending"), ("other", "other")):
        (known,) = [p for p in value["attribution"][0]["parts"] if p["part"] == part]
        assert [number(cell) for cell in parts[title]] == pytest.approx(known["values"], rel=0.006)
    memory = [number(cell) for cell in tables["Memory allocated a request"][1][1:]]
    assert memory == pytest.approx([s["alloc_bytes"]["mean"] for s in value["sides"]], rel=0.006)
    for i, s in enumerate(value["sides"]):
        rates = [number(row[1 + i]) for row in tables["Throughput over time"][1:]]
        assert sum(rates) / len(rates) == pytest.approx(s["throughput"], rel=0.02)
    assert {"Change of each quantile", "p50 over time", "p99 over time", "Memory (RSS) over time", "Heap in use over time",
            "Garbage collections over time"} <= set(tables)  # fmt: skip


def test_tables_sort_by_the_exact_numbers(sides, texts):
    routes = json.loads(run("report", "--format", "json", sides[0])[0])["traces"][0]["routes"]
    (table,) = [t for t in Page(texts["report"]).tables if t[0][0][0] == "ROUTE"]
    p99 = [head[0] for head in table[0]].index("p99")
    shown = sorted(float(row[p99][1]["data-k"]) for row in table[1:])
    assert shown == pytest.approx(sorted(r["latency"]["p99"] * 1e9 for r in routes), rel=1e-6)


# ---- colours ----


def luminance(color):
    color = "".join(2 * c for c in color) if len(color) == 3 else color
    parts = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return sum(w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
               for w, c in zip((0.2126, 0.7152, 0.0722), parts))  # fmt: skip


def contrast(a, b):
    """As WCAG 2 defines it."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def themes(text):
    """The variables of each theme: light, dark, print; what one doesn't set is the light one's."""
    found = [dict(re.findall(r"--(\w+): #([0-9a-f]+)", block)) for block in re.findall(r":root \{(.*?)\}", text, re.S)]
    assert len(found) == 3
    return [found[0] | theme for theme in found]


def test_contrast(texts):
    for theme in themes(texts["two"]):
        for name in ("fg", "dim", "link", "good", "bad"):
            for ground in ("bg", "zebra"):
                assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
        assert contrast(theme["fg"], theme["warnbg"]) >= 4.5
        for i in range(8):
            assert contrast(theme[f"s{i}"], theme["bg"]) >= 3, i  # lines
            assert contrast(theme["fg"], theme[f"p{i}"]) >= 4.5, i  # letters on bars
        for i in range(4):
            assert contrast(theme["fg"], theme[f"h{i}"]) >= 4.5, i  # and on those of a difference


# ---- Markdown fits a comment ----


def test_markdown_fits_a_comment(sides, tmp_path):
    many = [f"/{'abcdefghij'[i % 10]}/{'_|' * 40}/{'klmnopqrstuvwxyzABCD'[i // 10]}" for i in range(200)]
    (tmp_path / "many.rqs").write_bytes(side(7, routes=many))
    assert len(run("compare", "--format", "md", *sides)[0]) < 64 * KB
    for args in (["report"], ["compare", tmp_path / "many.rqs"]):
        out, _ = run(args[0], "--format", "md", *args[1:], tmp_path / "many.rqs")
        assert len(out.encode()) < 64 * KB and re.search(r"and \d+ more ro", out)
        for block in out.split("\n\n"):
            columns = {line.count("|") for line in block.splitlines() if line.startswith("|")}
            assert len(columns) <= 1  # no row is cut
