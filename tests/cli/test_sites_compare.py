"""compare --sites: the right sites are found, matched and told apart, and no others."""

import json
import os
import random
import re
from pathlib import Path

import pytest
from reqscope_cli import run, simulated
from scipy.stats import binom
from site_traces import LIBRARY, MEAN, Allocates, c, go, py, recording, usual

from make_trace import AFTER_RESPONSE, SECOND, UNATTRIBUTED

GOLDEN = Path(__file__).parent / "golden"
AUDIT = [Allocates("/orders", [py("audit", "/srv/app/audit.py", 5), py("orders", line=40), *LIBRARY], 1024)]


@pytest.fixture
def side(tmp_path):
    """side(name, sites, runs=1): an argument of compare. Runs of the same name differ by chance alone."""

    def write(name, sites, runs=1, seed="", **more):
        paths = [tmp_path / f"{name}-{i}.rqs" for i in range(runs)]
        for i, path in enumerate(paths):
            start = str((1_767_225_600 + 60 * i) * SECOND)
            path.write_bytes(recording(f"{seed}{name}{i}", sites, start_realtime_ns=start, **more))
        return f"{name}=" + ",".join(map(str, paths))

    return write


def compare(*sides, more=()):
    out, err = run("compare", "--sites", "--format", "json", *more, *sides)
    return json.loads(out)["sites"]


def rows(sites):
    """(route, function) -> the row."""
    found = {(r["route"], s["function"]): s for r in sites["routes"] for s in r["sites"]}
    assert len(found) == sum(len(r["sites"]) for r in sites["routes"])  # one a function
    return found


def verdicts(sites, side=1):
    return {key: s["against_base"][side]["verdict"] for key, s in rows(sites).items()}


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_a_planted_kilobyte_is_found_and_nothing_else(side, runs):
    sites = compare(side("old", usual(), runs), side("new", usual(31, AUDIT), runs))
    planted = rows(sites).pop(("/orders", "audit"))
    difference = planted["against_base"][1]
    assert [key for key, verdict in verdicts(sites).items() if verdict in ("regressed", "improved")] == (
        [("/orders", "audit")] if runs != 2 else []  # two runs a side say little of how they vary
    )
    assert difference["basis"] == ("within-run" if runs == 1 else "between-runs") and not difference["relative"]
    low, high = difference["interval"]
    assert low < 1024 < high and (low > 700 or runs == 2)
    assert sites["tested"] == len(rows(sites)) and sites["p_adjusted_by"] == "benjamini-hochberg"
    assert sites["sides"] == ["compared", "compared"]


def test_what_went_away_is_an_improvement(side):
    sites = compare(side("old", usual(31, AUDIT)), side("new", usual()))
    row = rows(sites)[("/orders", "audit")]
    assert row["against_base"][1]["verdict"] == "improved" and row["against_base"][1]["estimate"] < -700
    assert row["bytes_per_request"][1]["samples"] == 0


@pytest.mark.parametrize(("nowhere", "differs"), ((0, True), (4500, False)))
def test_what_has_no_stack_is_no_difference(side, nowhere, differs):
    """Half of a site's samples without one: it seems to allocate less, and that may be what is missing."""
    at = [py("orders", line=19), *LIBRARY]
    less = [Allocates("/orders", at, 9000, 0.5)]
    if nowhere:
        less.append(Allocates("/orders", [{"function": "(no room for its stack)", "kind": "note"}], nowhere, 1))
    sites = compare(side("old", [Allocates("/orders", at, 9000)]), side("new", less))
    found = verdicts(sites)
    assert (found.pop(("/orders", "orders")) == "improved") == differs
    assert not set(found.values()) & {"improved", "regressed"}


def test_estimates_are_those_of_the_samples(side):
    """Against the sum over the rows, made here again."""
    old = usual()
    sites = compare(side("old", old), side("new", usual(31)))
    total = sum(s["bytes_per_request"][0]["estimate"] for s in rows(sites).values())
    for key, wanted in {("/orders", "orders"): 9000, ("/orders", "query"): 2100, ("/health", "health"): 400}.items():
        estimate = rows(sites)[key]["bytes_per_request"][0]
        assert estimate["interval"][0] <= estimate["estimate"] <= estimate["interval"][1]
        assert estimate["estimate"] == pytest.approx(wanted, rel=0.25)
    assert total == pytest.approx(sum(site.bytes for site in old), rel=0.1)


def test_lines_and_versions_may_move(side):
    """The same function of the same file, in another Python or another version of a module, is the same site."""
    old = [Allocates("/", [py("f", "/usr/lib/python3.11/site-packages/flask/app.py", 10)], 500, 4),
           Allocates("/", [go("gin.(*Context).JSON", "/go/pkg/mod/github.com/gin-gonic/gin@v1.9.1/context.go", 70)], 500, 4)]  # fmt: skip
    new = [Allocates("/", [py("f", "/usr/lib/python3.12/site-packages/flask/app.py", 12)], 500, 4),
           Allocates("/", [go("gin.(*Context).JSON", "/go/pkg/mod/github.com/gin-gonic/gin@v1.10.0/context.go", 75)], 500, 4)]  # fmt: skip
    found = rows(compare(side("old", old), side("new", new)))
    assert found[("/", "f")]["lines"] == [[10, 10], [12, 12]]
    assert found[("/", "gin.(*Context).JSON")]["lines"] == [[70, 70], [75, 75]]
    out, _ = run("compare", "--sites", side("old", old), side("new", new))
    assert "f (flask/app.py:10, 12)" in out and "gin.(*Context).JSON (gin/context.go:70, 75)" in out


def test_same_names_elsewhere_are_other_sites(side):
    old = [Allocates("/", [py("get", "/srv/app/users.py", 10)], 500, 4)]
    new = [Allocates("/", [py("get", "/srv/app/orders.py", 10)], 500, 4), Allocates("/", [c("get")], 500, 4)]
    both = compare(side("old", [*old, *usual()]), side("new", [*new, *usual()]))
    assert len([s for r in both["routes"] for s in r["sites"] if s["function"] == "get"]) == 3


def test_no_samples_is_not_nothing(side):
    """Where none was seen three could have been expected (rule of three)."""
    row = rows(compare(side("old", usual(), requests=500), side("new", usual(31, AUDIT))))[("/orders", "audit")]
    assert row["bytes_per_request"][0] == {"estimate": 0, "interval": [0, 3 * MEAN / 500], "samples": 0}
    assert row["lines"][0] is None and row["lines"][1] == [5, 5]
    out, _ = run("compare", "--sites", side("old", usual(), requests=500), side("new", usual(31, AUDIT)))
    (line,) = [line for line in out.splitlines() if "audit" in line]
    assert "<24.6 B" in line


def test_few_samples_are_not_judged(side):
    rare = [Allocates("/", [py("rare")], 8, 0.8), Allocates("/", [py("f")], 1000, 2)]
    found = rows(compare(side("old", rare), side("new", rare)))
    row = found[("/", "rare")]["against_base"][1]
    assert row["verdict"] == "unresolved" and row["p"] is None
    assert found[("/", "f")]["against_base"][1]["p"] is not None


def test_threshold(side):
    """An increase by less than what is allowed is none."""
    old, new = [Allocates("/", [py("f")], 1000, 2)], [Allocates("/", [py("f")], 1000, 2.6)]
    sides = side("old", old, requests=3000), side("new", new, requests=3000)
    assert verdicts(compare(*sides)) == {("/", "f"): "regressed"}
    assert verdicts(compare(*sides, more=["--threshold", "60%"])) == {("/", "f"): "ok"}


def test_other_runtimes_are_shown_and_not_compared(side):
    mine = [Allocates("/users/{}", [go("main.users", "/src/main.go", 3)], 2000, 2)]
    sides = side("py", usual()), side("go", mine, runtime="go"), side("new", usual(31, AUDIT))
    sites = compare(*sides)
    assert sites["sides"] == ["compared", "not shared", "compared"]
    assert set(verdicts(sites, 1).values()) == {"not comparable"}
    assert verdicts(sites, 2)[("/orders", "audit")] == "regressed"
    out, _ = run("compare", "--sites", *sides)
    assert "go has no site in common with py, or runs on another runtime" in out
    assert out.index("go by itself:") < out.index("main.users (src/main.go:3)")
    alone, _ = run("compare", "--sites", *sides[:2])
    assert "py by itself:" in alone and "CHANGE/REQ" not in alone


def test_a_side_without_samples_is_named(side):
    sides = side("old", usual()), side("new", None)
    assert compare(*sides)["sides"] == ["compared", "not recorded"]
    out, _ = run("compare", "--sites", *sides)
    assert "new has no sampled allocations" in out and "--sites" in out
    assert compare(sides[1], sides[1].replace("new=", "other="))["routes"] == []


def test_after_responses_have_their_own_rows(side):
    later = [Allocates("/", [py("send_mail")], 1000, 2, owner=AFTER_RESPONSE), Allocates("/", [py("f")], 1000, 2),
             Allocates("/", [py("at_import")], 1000, 9, owner=UNATTRIBUTED)]  # fmt: skip
    more = [Allocates("/", [py("send_mail")], 1000, 4, owner=AFTER_RESPONSE), *later[1:]]
    sites = compare(side("old", later), side("new", more))
    assert [(r["of"], r["route"], [s["function"] for s in r["sites"]]) for r in sites["routes"]] == [
        ("after responses", None, ["send_mail"]), ("requests", "/", ["f"])]  # fmt: skip
    assert sites["routes"][0]["sites"][0]["against_base"][1]["verdict"] == "regressed"
    assert "after responses, of all routes" in run("compare", "--sites", side("old", later), side("new", more))[0]


def test_not_asked_for(side):
    out, _ = run("compare", "--format", "json", side("old", usual()), side("new", usual()))
    assert "sites" not in json.loads(out)
    assert "Memory by call site" not in run("compare", side("old", usual()), side("new", usual()))[0]


def test_hostile_names_are_texts(side):
    name = "\x1b[31m<b>|`x`\u202e"
    sites = [Allocates("/", [py(name, "/a/|b|/<i>.py", 1)], 1000, 2)]
    for form in ("text", "md"):
        out, _ = run("compare", "--sites", "--format", form, side("old", sites), side("new", sites))
        assert "\x1b" not in out and "\u202e" not in out
        assert form == "text" or not {"<b>", "<i>"} & set(re.findall("<.>", out))


# ---- as a whole ----


@pytest.mark.parametrize("form", ["text", "md", "json"])
@pytest.mark.parametrize("kind", ["runs", "single"])
def test_as_it_was(side, tmp_path, kind, form):
    runs = 5 if kind == "runs" else 1
    out, err = run("compare", "--sites", "--format", form, side("old", usual(), runs), side("new", usual(31, AUDIT), runs),
                   env={"COLUMNS": "120"})  # fmt: skip
    if form == "json":
        shown = json.dumps(json.loads(out)["sites"], indent=1) + "\n"
    else:
        shown = out[out.index("Memory by call site") :]
        shown = shown[: shown.index("Charts")].rstrip("# \n") + "\n"
    kept = GOLDEN / f"compare-sites-{kind}.{form}"
    if os.environ.get("RQS_RENEW_GOLDEN"):
        kept.write_text(shown)
    assert not err and shown == kept.read_text(), f"if this is meant, renew {kept.name}: see test_golden.py"


# ---- how often it is right ----


def random_server(seed, count=16):
    """Sites of 30 B to 100 kB, which allocate 10 B to 3 kB a request; two share each name."""
    dice = random.Random(seed)
    made = []
    for i in range(count):
        size, each = int(10 ** dice.uniform(1.5, 5)), 10 ** dice.uniform(1, 3.5)
        made.append(Allocates(f"/{'ab'[i % 2]}", [py(f"f{i // 4}", line=i), *LIBRARY], size, each / size))
    return made


@pytest.mark.parametrize("times", [1, 4])
def test_one_server_is_not_told_apart_from_itself(side, times):
    """Also where one of the runs is longer."""
    pairs, alarms = simulated(100), 0
    for seed in range(pairs):
        server = random_server(seed)
        sites = compare(side("a", server, seed=seed, requests=200), side("b", server, seed=seed, requests=200 * times))
        alarms += any(v in ("regressed", "improved") for v in verdicts(sites).values())
    print(f"{alarms} false alarms in {pairs}, the second run {times} times as long")
    assert alarms <= binom.ppf(0.99, pairs, 0.05)


def test_intervals_hold_the_difference(side):
    """Of 95 % is what is wanted; of few samples of very different weights it is a bit less."""
    held = known = 0
    for seed in range(40):
        old, new = random_server(seed), random_server(seed)
        for site in new[::3]:
            site.count *= 1.5
        found = rows(compare(side("a", old, seed=seed), side("b", new, seed=seed)))
        for (route, function), row in found.items():
            here = [i for i, s in enumerate(old) if (s.route, s.stack[0]["function"]) == (route, function)]
            truth = sum(new[i].bytes - old[i].bytes for i in here)
            low, high = row["against_base"][1]["interval"]
            held, known = held + (low <= truth <= high), known + 1
    assert known > 200 and 0.91 <= held / known <= 0.995
