"""Flame graphs: their widths and figures are those of the JSON, names are texts, and they look and work in a browser."""

import json
import random
import re
from xml.etree import ElementTree

import pytest
from html_pages import Page, number
from reqscope_cli import run
from site_traces import LIBRARY, Allocates, c, go, py, recording, usual
from test_html_browser import OVERFLOWING, WINDOWS, browser  # noqa: F401 (a fixture)

from make_trace import SECOND

KB = 1000
HOSTILE = ['<script>window.hacked=1</script>', '"onload="window.hacked=2', "]]></svg><img src=x onerror=alert(1)>",
           "\u202egnp.c", "caf\u00e9&amp;"]  # fmt: skip
AUDIT = [Allocates("/orders", [py("audit", "/srv/app/audit.py", 5), py("orders", line=40), *LIBRARY], 1024)]
HOSTILE_SITES = [Allocates("/hostile", [py(name, f"/a/{name}.py"), c(name, name), *LIBRARY], 2000, 2) for name in HOSTILE]


def bushy(seed, routes=20):
    """Many routes with many deep stacks of all kinds."""
    dice, made = random.Random(seed), []
    for r in range(routes):
        for i in range(60):
            deep = [dice.choice([py, c, go])(f"function_{dice.randrange(12)}_{d}") for d in range(dice.randrange(4, 24), 0, -1)]
            made.append(Allocates(f"/route-{r}/{{}}", deep, 2000, dice.random(), followed=True, leaks=0.3))
    return made


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flames")

    def write(name, sites, runs=1, **more):
        for i in range(runs):
            (folder / f"{name}-{i}.rqs").write_bytes(recording(f"{name}{i}", sites, start_realtime_ns=str(SECOND * 60 * (i + 1)), **more))
        return f"{name}=" + ",".join(str(folder / f"{name}-{i}.rqs") for i in range(runs))

    return {
        "old": write("old", [*usual(), *HOSTILE_SITES], 2),
        "new": write("new", [*usual(31, AUDIT), *HOSTILE_SITES], 2),
        "bushy": write("bushy", bushy(1), requests=50),
        "thicket": write("thicket", bushy(2), requests=50),
    }


def shown(command, *sides):
    """The page and the JSON of the same."""
    sides = [side.partition("=")[2].partition(",")[0] for side in sides] if command == "report" else sides
    page, data = (run(command, "--sites", "--format", form, *sides)[0] for form in ("html", "json"))
    return page, json.loads(data)


@pytest.fixture(scope="module")
def report(traces):
    return shown("report", traces["new"])


@pytest.fixture(scope="module")
def comparison(traces):
    return shown("compare", traces["old"], traces["new"])


class Bar:
    def __init__(self, svg):
        self.x, self.width = (float(svg.get(name).removesuffix("%")) for name in ("x", "width"))
        self.y, self.css = int(svg.get("y")), svg.get("class")
        self.tip = svg.find("title").text
        text = svg.find("text")
        self.name = None if text is None else text.text

    def figure(self, pattern):
        """A number with its unit out of the tip."""
        return number(re.search(pattern, self.tip).group(1))


def graphs(page):
    """Title -> bars."""
    found = re.findall(r'<figure class="stacks"><h[23][^>]*>(.*?)</h.*?(<svg class="flame".*?)</figure>', page, re.S)
    assert page.count('class="flame"') == len(found) > 0
    return {title: [Bar(svg) for svg in ElementTree.fromstring(picture).findall("svg")] for title, picture in found}


@pytest.mark.parametrize("which", ["report", "comparison"])
def test_bars_fit_below_their_callers(which, request):
    for bars in graphs(request.getfixturevalue(which)[0]).values():
        assert (bars[0].x, bars[0].width, bars[0].y) == (0, 100, 0) and all(bar.width > 0.1 for bar in bars)
        callers = []
        for bar in bars:
            while callers and callers[-1].y >= bar.y:
                callers.pop()
            if callers:
                caller = callers[-1]
                assert bar.y == caller.y + 18
                assert caller.x - 0.02 <= bar.x and bar.x + bar.width <= caller.x + caller.width + 0.02
            callers.append(bar)
        for row in {bar.y for bar in bars}:
            level = sorted((bar for bar in bars if bar.y == row), key=lambda bar: bar.x)
            assert all(a.x + a.width <= b.x + 0.02 for a, b in zip(level, level[1:]))


def test_widths_and_tips_are_the_bytes(report):
    page, data = report
    all_bars = graphs(page)
    assert [name.partition(": ")[2] for name in all_bars] == [
        "all routes", "GET /hostile", "GET /orders", "GET /users/{}", "all routes"]  # fmt: skip
    for route in ("/orders", "/users/{}"):
        bars = all_bars[f"Allocated: GET {route}"]
        (sites,) = [r["sites"] for r in data["traces"][0]["routes"] if r["route"] == route]
        total = bars[0].figure(r": (\S+ \S+) ±")
        assert total == pytest.approx(sum(s["bytes_per_request"] for s in sites), rel=0.01)
        for bar in bars:
            assert bar.width / 100 == pytest.approx(bar.figure(r": (\S+ \S+) ±") / total, abs=0.01)
            assert bar.width == pytest.approx(100 * bar.figure(r"request, (\S+ %)"), abs=0.1)
        for site in sites:
            if site["function"] == "query":
                (bar,) = [bar for bar in bars if bar.name == "query"]
                assert bar.figure(r": (\S+ \S+) ±") == pytest.approx(site["bytes_per_request"], rel=0.01)
                assert f"{site['samples']} samples" in bar.tip and "(app/db.py:111)" in bar.tip
    kinds = {bar.name: bar.css for bar in all_bars["Allocated: GET /users/{}"]}
    assert (kinds["json_encode"], kinds["users"]) == ("p0", "p4")
    assert {"native", "Python"} <= set(re.findall(r"</svg>(\w+)</li>", page))


def test_what_is_still_live_has_its_own(report):
    page, data = report
    bars = graphs(page)["Still live at the end: all routes"]
    assert [bar.name for bar in bars] == ["all routes", "__call__", "dispatch", "health"]
    routes = data["traces"][0]["routes"]
    (health,) = [r for r in routes if r["route"] == "/health"]
    retained = sum(s["retained_bytes_per_request"] for s in health["sites"]) * health["requests"]
    assert bars[-1].figure(r": (\S+ \S+) ±") == pytest.approx(retained / sum(r["requests"] for r in routes), rel=0.02)


def test_a_difference_is_that_of_the_rows(comparison):
    page, data = comparison
    bars = graphs(page)["new against old: GET /orders"]
    (sites,) = [r["sites"] for r in data["sites"]["routes"] if r["route"] == "/orders"]
    by_name = {s["function"]: s for s in sites}
    for name in ("audit", "query"):
        (bar,) = [bar for bar in bars if bar.tip.startswith(name)]
        for side, i in (("old", 0), ("new", 1)):
            wanted = by_name[name]["bytes_per_request"][i]["estimate"]
            assert bar.figure(rf"{side} (\d\S* \S+?)(?:,| a)") == pytest.approx(wanted, rel=0.01)
        change = by_name[name]["against_base"][1]["estimate"]
        assert bar.figure(r"; ([-+]\S+ \S+) ±") == pytest.approx(change, rel=0.01)
        samples = [by_name[name]["bytes_per_request"][i]["samples"] for i in (0, 1)]
        assert bar.tip.endswith(f"samples {samples[0]} and {samples[1]}")
    assert "app/db.py:90-111" in next(bar.tip for bar in bars if bar.tip.startswith("query"))


def test_colours_and_signs_tell_a_difference(traces):
    """Of one run a side, whose errors are those of sampling."""
    sides = [traces[name].partition(",")[0] for name in ("old", "new")]
    for pair, css, sign in ((sides, ("h2", "h3"), "+"), (sides[::-1], ("h0", "h1"), "-")):
        bars = [bar for title, some in graphs(shown("compare", *pair)[0]).items() if title.endswith("GET /orders") for bar in some]
        (audit,) = [bar for bar in bars if bar.tip.startswith("audit")]
        assert audit.css in css and re.fullmatch(rf"\{sign} audit (1\S* k|\d+ )B", audit.name)
        for bar in bars:
            assert bar.name is None or (bar.css == "p6") == (bar.name[0] not in "+-")


def test_of_one_side_alone_is_shown_too(comparison):
    """The width is that of the greater side: what only one has is in the same graph."""
    (audit,) = [bar for bar in graphs(comparison[0])["new against old: GET /orders"] if bar.tip.startswith("audit")]
    assert "old 0 B, new " in audit.tip and audit.width > 5


@pytest.mark.parametrize("which", ["report", "comparison"])
def test_names_are_texts(which, request):
    text = request.getfixturevalue(which)[0]
    page = Page(text)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "img" not in {tag for tag, _ in page.elements} and "\u202e" not in text
    tips = "\n".join(bar.tip for bars in graphs(text).values() for bar in bars)
    assert all(name in tips for name in HOSTILE if "\u202e" not in name) and "\\u{202e}gnp" in tips
    ids = page.values("id")
    assert len(set(ids)) == len(ids)


def test_pages_stay_small(traces):
    for command, *names in (("report", "bushy"), ("compare", "bushy", "thicket")):
        sides = [traces[name] for name in names]
        plain = [side.partition("=")[2] for side in sides] if command == "report" else sides
        without, _ = run(command, "--format", "html", *plain)
        page, _ = shown(command, *sides)
        assert len(page.encode()) - len(without.encode()) < 200 * KB
        assert "Of 20 routes the 3 that allocate most have a graph of their own." in page
        assert len(graphs(page)) == 5 if command == "report" else 4
        assert any(bar.tip.startswith("(other)") for bars in graphs(page).values() for bar in bars)


def test_texts_have_no_graphs(traces):
    for form in ("text", "md"):
        out, _ = run("compare", "--sites", "--format", form, traces["old"], traces["new"])
        assert "Callers stand above" not in out
        assert "\n\n\n" not in out[out.index("Memory by call site") : out.index("Charts")]


# ---- in a browser ----


@pytest.fixture(scope="module")
def pages(tmp_path_factory, report, comparison):
    folder = tmp_path_factory.mktemp("pages")
    for name, (page, _) in (("report", report), ("compare", comparison)):
        (folder / f"{name}.html").write_text(page)
    return folder


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("page", ["compare", "report"])
def test_looks(browser, pages, tmp_path, page, window):  # noqa: F811
    width, height, media = WINDOWS[window]
    browser.complaints.clear()
    browser.open(pages / f"{page}.html", width, height, **media)
    assert browser.run("document.documentElement.scrollWidth") <= width and browser.run(OVERFLOWING) == []
    assert browser.run("window.hacked") is None
    bars = """Array.from(document.querySelectorAll('.flame'), f => [f.getBoundingClientRect().width,
              Math.max(...Array.from(f.querySelectorAll('rect'), r => r.getBoundingClientRect().width))])"""
    for whole, widest in browser.run(bars):
        assert widest == pytest.approx(whole, abs=2) and whole > 0.8 * width
    browser.picture(tmp_path / "picture.png", whole=True)
    assert browser.complaints == [] and len((tmp_path / "picture.png").read_bytes()) > 50_000


FLAME = "document.querySelector('.flame')"
SEEN = f"Array.from({FLAME}.querySelectorAll('svg')).filter(b => b.style.display !== 'none').map(b => b.firstChild.textContent)"
SAID = f"{FLAME}.parentElement.querySelector('output').textContent"


def test_zooms_by_pointer_and_keys(browser, pages):  # noqa: F811
    browser.complaints.clear()
    browser.open(pages / "report.html")
    whole = browser.run(SEEN)
    orders = f"Array.from({FLAME}.querySelectorAll('svg')).find(b => b.firstChild.textContent.startsWith('orders'))"
    browser.run(f"{orders}.dispatchEvent(new MouseEvent('click'))")
    zoomed = browser.run(SEEN)
    assert len(zoomed) < len(whole) and any(tip.startswith("query") for tip in zoomed)
    assert browser.run(f"[{orders}.getAttribute('x'), {orders}.getAttribute('width')]") == ["0%", "100%"]
    assert not any(tip.startswith("users") for tip in zoomed) and zoomed[0].startswith("all routes")
    browser.run(f"{FLAME}.focus()")
    browser.press("ArrowDown", 40)
    assert browser.run(SAID).startswith("__call__ (wsgi/serving.py:30): ")
    browser.press("Escape", 27)
    assert browser.run(SEEN) == whole
    browser.press("ArrowDown", 40)
    browser.press("ArrowDown", 40)
    first = browser.run(SAID)
    browser.press("ArrowRight", 39)
    second = browser.run(SAID)
    assert first != second and "a request" in second
    browser.press("Enter", 13)
    assert browser.run(SEEN)[3] == second and len(browser.run(SEEN)) < len(whole)
    browser.press("ArrowUp", 38)
    assert browser.run(SAID).startswith("dispatch")
    assert browser.complaints == []


def test_without_scripts(browser, pages):  # noqa: F811
    browser.open(pages / "report.html", scripts=False)
    try:
        assert browser.run(f"{FLAME}.getBoundingClientRect().height") > 60
        assert browser.run("document.querySelectorAll('.stacks output').length") == 0
    finally:
        browser.open(pages / "report.html")


def test_a_screen_reader_gets_names(browser, pages):  # noqa: F811
    browser.open(pages / "compare.html")
    named = [name for role, name in browser.tree() if role in ("application", "image", "img")]
    assert any("new against old: GET /orders" in name for name in named) and all(named)
