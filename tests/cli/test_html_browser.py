"""The HTML page in a real browser: nothing complains, overlaps or overflows, and tables sort and filter."""

import json

import pytest
from html_pages import ROUTES, write_page, write_sides

import browser as chromium

WINDOWS = {"light": (1280, 2000, {"prefers_color_scheme": "light"}), "dark": (1280, 2000, {"prefers_color_scheme": "dark"}),
           "narrow": (390, 2000, {"prefers_color_scheme": "light"}), "print": (1030, 700, {"emulated": "print"})}  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not chromium.find():
        pytest.skip("no Chromium here")
    try:
        with chromium.browser(tmp_path_factory.mktemp("profile")) as started:
            yield started
    except (chromium.Failed, BrokenPipeError) as error:
        pytest.skip(f"Chromium doesn't start here: {error}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    sides = write_sides(folder)
    return {"compare": write_page(folder / "compare.html", "compare", *sides),
            "report": write_page(folder / "report.html", "report", sides[0])}  # fmt: skip


# Elements that stick out of the window, but for those in boxes that scroll and those for screen readers alone.
OVERFLOWING = """Array.from(document.querySelectorAll('body *')).filter(e => {
  const r = e.getBoundingClientRect();
  return r.width && r.right > innerWidth + 1 && !e.closest('.wide') && !e.closest('svg svg');
}).map(e => e.outerHTML.slice(0, 120))"""

# Texts of a picture that lie on each other, or outside of it.
COLLIDING = """Array.from(document.querySelectorAll('svg.plot')).flatMap(svg => {
  const whole = svg.getBoundingClientRect(), texts = Array.from(svg.querySelectorAll('text'));
  const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]), found = [];
  boxes.forEach(([a, p], i) => {
    if (p.left < whole.left - 1 || p.right > whole.right + 1 || p.bottom > whole.bottom + 1) found.push(a + ' is outside');
    boxes.slice(i + 1).forEach(([b, q]) => {
      const x = Math.min(p.right, q.right) - Math.max(p.left, q.left), y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (x > 1 && y > 3) found.push(a + ' lies on ' + b);
    });
  });
  return found;
})"""


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("page", ["compare", "report"])
def test_looks(browser, pages, tmp_path, page, window):
    width, height, media = WINDOWS[window]
    browser.complaints.clear()
    browser.open(pages[page], width, height, **media)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING) == [] and browser.run(COLLIDING) == []
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (window != "dark")
    browser.picture(tmp_path / "picture.png", whole=True)
    assert browser.complaints == []
    assert len((tmp_path / "picture.png").read_bytes()) > 50_000  # it isn't empty


SORTABLE = "document.querySelectorAll('section table.sort')[document.querySelectorAll('section table.sort').length - 1]"
GROUPS = f"Array.from({SORTABLE}.tBodies).filter(b => !b.hidden).map(b => Array.from(b.rows, r => r.cells[0].textContent))"


def column(browser, name):
    return browser.run(f"Array.from({SORTABLE}.tHead.rows[0].cells, c => c.textContent)").index(name)


def test_tables_sort(browser, pages):
    browser.open(pages["compare"])
    at = column(browser, "p99")
    head = f"{SORTABLE}.tHead.rows[0].cells[{at}]"
    first = browser.run(GROUPS)
    keys = f"Array.from({SORTABLE}.tBodies, b => Math.max(...Array.from(b.rows, r => +r.cells[{at}].dataset.k)))"
    browser.run(f"{head}.querySelector('button').click()")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "descending"
    seen = browser.run(keys)
    assert seen == sorted(seen, reverse=True) and len(seen) == len(first) > 15
    assert sorted(browser.run(GROUPS)) == sorted(first)  # the rows of a route stay together
    browser.run(f"{head}.querySelector('button').focus()")
    browser.press("Enter", 13)
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    least = browser.run(keys.replace("max", "min"))
    assert least == sorted(least)
    browser.press("Enter", 13)
    assert browser.run(f"{head}.getAttribute('aria-sort')") is None and browser.run(GROUPS) == first
    browser.run(f"{SORTABLE}.tHead.rows[0].cells[0].querySelector('button').click()")
    assert [g[0] for g in browser.run(GROUPS)] != [g[0] for g in first]


def test_tables_filter(browser, pages):
    browser.complaints.clear()
    browser.open(pages["compare"])
    browser.run("document.querySelector('.filter input').focus()")
    browser.type("things-3")
    assert [set(group) for group in browser.run(GROUPS)] == [{"GET /api/v1/things-3/{}"}]
    assert browser.run("document.querySelector('.filter output').textContent") == f"1 of {len(ROUTES)}"
    assert browser.run(f"{SORTABLE}.offsetHeight") < 250  # the others are gone from sight, too
    browser.type(" nothing like it")
    assert browser.run(GROUPS) == []
    assert browser.complaints == []


def test_without_scripts(browser, pages):
    browser.open(pages["compare"], scripts=False)
    try:
        assert browser.run("document.querySelectorAll('button, input').length") == 0
        assert browser.run(f"{SORTABLE}.offsetHeight") > 500
        assert browser.run("document.querySelectorAll('svg.plot').length") >= 8
    finally:
        browser.open(pages["compare"])


def test_nothing_else_runs(browser, pages):
    browser.complaints.clear()
    browser.open(pages["compare"])
    assert browser.run("window.hacked") is None
    browser.run("const s = document.createElement('script'); s.textContent = 'window.hacked = 3'; document.body.append(s)")
    assert browser.run("window.hacked") is None
    assert "Content Security Policy" in json.dumps(browser.complaints)


def test_print_opens_the_data(browser, pages):
    browser.open(pages["compare"], emulated="print")
    shown = "Array.from(document.querySelectorAll('.data'), t => t.getBoundingClientRect().height > 20).every(x => x)"
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(shown)
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run("document.querySelectorAll('details[open]').length") == 0
    assert browser.pdf().startswith(b"%PDF")


def test_a_screen_reader_gets_names(browser, pages):
    browser.open(pages["compare"])
    nodes = browser.tree()
    images = [name for role, name in nodes if role in ("image", "img")]
    assert len(images) >= 8 and all(images)
    regions = [name for role, name in nodes if role == "region"]
    assert {"Figures", "Routes", "Charts"} <= set(regions)
    assert not [role for role, name in nodes if role in ("button", "link", "columnheader", "searchbox") and not name]
