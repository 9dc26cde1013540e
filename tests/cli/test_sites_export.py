"""`export` of call sites: read back by `go tool pprof`, by an own decoder, and by the rules of the other two formats."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import read_pprof
from reqscope_cli import REQSCOPE, one_line, report, run
from site_traces import MEAN, MIXED_SECONDS, PATHS, estimates, mixed_requests, same, summed, write_mixed

from make_trace import REALTIME, SECOND, START, trace


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(file, its sites, their stacks)"""
    path = tmp_path_factory.mktemp("sites") / "app.rqs"
    return path, *write_mixed(path)


# ---- pprof ----


def export(form, *args, **how):
    return run("export", "--format", form, *args, **how)[0]


@pytest.fixture(scope="module")
def profile_file(made):
    path = made[0].with_suffix(".pb.gz")
    run("export", "--format", "pprof", "-o", path, made[0])
    return path


@pytest.fixture(scope="module")
def profile(profile_file):
    return read_pprof.read(profile_file.read_bytes())


def label_of(sample):
    if "reqscope.owner" in sample.labels:
        return sample.labels["reqscope.owner"]
    return f"{sample.labels['http.request.method']} {sample.labels['http.route']}"


def of_profile(profile):
    found = {}
    for s in profile.samples:
        key = label_of(s), tuple((line.function, line.file, line.line) for line in s.lines)
        assert key not in found
        found[key] = s.values
    return found


def test_pprof_has_the_estimates(made, profile):
    path, sites, stacks = made
    same(of_profile(profile), estimates(sites, stacks), 0.51)
    assert profile.types == [
        ("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")]  # fmt: skip
    assert profile.default_type == "alloc_space"
    assert (profile.period_type, profile.period) == (("space", "bytes"), MEAN)
    assert profile.time == REALTIME and profile.duration == pytest.approx((MIXED_SECONDS + 1) * SECOND, rel=0.01)
    assert any("estimates from" in comment for comment in profile.comments)


def test_figures_are_those_of_the_report(made, profile):
    """Of each route, and of each of its lines."""
    (seen,) = report("--sites", made[0])
    assert sum(s.values[1] for s in profile.samples) == pytest.approx(seen["sites"]["all"]["bytes"], abs=len(profile.samples))
    for route in seen["routes"]:
        mine = [s for s in profile.samples if label_of(s) == f"{route['method']} {route['route']}"]
        assert len(route["sites"]) == len(PATHS)
        for site in route["sites"]:
            name = site["function"] or read_pprof.NOWHERE, site["line"] or 0
            at_it = [s for s in mine if place_of(s.lines) == name]
            for figure, index in (("bytes_per_request", 1), ("count_per_request", 0), ("retained_bytes_per_request", 3)):
                want = (site[figure] or 0) * route["requests"]
                assert sum(s.values[index] for s in at_it) == pytest.approx(want, abs=1), (name, figure)


def place_of(lines):
    """What a site is named by: not an allocator's own frame, nor the standard library's."""
    (first, *_) = [line for line in lines if not line.function.startswith(("malloc", "std::"))]
    return (read_pprof.NOWHERE if first.function == "(unknown)" else first.function), first.line


def test_pprof_knows_modules_and_what_is_inlined(profile):
    lines = {line.function: line for s in profile.samples for line in s.lines}
    assert [lines[name].inlined for name in ("tiny", "small", "big", "main")] == [True, True, False, False]
    assert lines["malloc"].module == "libc.so.6" and lines["leaf"].module == "app" and lines["load"].module == ""


def test_pprof_labels(profile):
    keys = {frozenset(s.labels) for s in profile.samples}
    assert keys == {frozenset({"http.request.method", "http.route"}), frozenset({"reqscope.owner"})}


def go_tool(*args):
    """What `go tool pprof` says; Debian's has it built."""
    go = next((p for p in ("/usr/lib/go-1.19/bin/go", shutil.which("go")) if p and Path(p).exists()), None)
    if not go:
        pytest.skip("no Go")
    environment = {**os.environ, "HOME": "/dev/null", "PPROF_TMPDIR": "/dev/null", "GOFLAGS": ""}
    done = subprocess.run([go, "tool", "pprof", *map(str, args)], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def top(*args):
    """(flat, cumulative) by function."""
    text = go_tool("-top", "-nodefraction=0", "-unit=bytes", *args)
    number, share = r" *(\d+)(?:B|bytes)?", r" +[\d.]+%?"
    rows = re.findall(f"^{number}{share}{share}{number}{share} +(.+?)(?: \\(inline\\))?$", text, re.M)
    return {name: (int(flat), int(cumulative)) for flat, cumulative, name in rows}


@pytest.mark.parametrize("index", range(4))
def test_go_tool_pprof_top(made, profile_file, index):
    values = estimates(*made[1:])
    flat = summed(values, lambda owner, path: path[0][0])
    got = top(f"-sample_index={index}", profile_file)
    for name, value in flat.items():
        assert got.get(name, (0,))[0] == pytest.approx(value[index], abs=30), name
    everywhere = sum(v[index] for (_, path), v in values.items() if ("main", "/src/app.c", 7) in path)
    assert got["main"][1] == pytest.approx(everywhere, abs=60)


def test_go_tool_pprof_by_route(made, profile_file):
    values = estimates(*made[1:])
    by_route = summed(values, lambda owner, path: owner)
    text = go_tool("-tags", "-unit=bytes", profile_file)
    assert "http.route" in text and "reqscope.owner" in text
    assert re.search(r"POST\b", text)
    got = top("-tagfocus=http.request.method=^POST$", profile_file)
    assert sum(flat for flat, _ in got.values()) == pytest.approx(by_route["POST /users/{}"][1], abs=30)
    got = top("-tagfocus=reqscope.owner=after_response", profile_file)
    assert sum(flat for flat, _ in got.values()) == pytest.approx(by_route["after_response"][1], abs=30)


def test_go_tool_pprof_traces(profile_file):
    """Each stack with its labels, inlined ones told as such."""
    text = go_tool("-traces", "-unit=bytes", profile_file)
    assert re.search(r"\d+B +tiny \(inline\)\n +small \(inline\)\n +big\n +main\n", text)
    assert "http.route" in text and "(unknown)" in text
    # Names are as they are, and the file that is named is the program.
    assert "std::vector<int, A;B>::grow() const" in text and "<lambda>" in text and "File: app\n" in text


def test_pprof_without_followed_allocations_has_no_retained_ones(tmp_path):
    """Instead of zeros."""
    write_mixed(tmp_path / "go.rqs", followed=False)
    run("export", "--format", "pprof", "-o", tmp_path / "go.pb.gz", tmp_path / "go.rqs")
    profile = read_pprof.read((tmp_path / "go.pb.gz").read_bytes())
    assert [name for name, _ in profile.types] == ["alloc_objects", "alloc_space"]
    assert {len(s.values) for s in profile.samples} == {2}
    assert "alloc_space" in go_tool("-top", tmp_path / "go.pb.gz")


def test_pprof_tells_several_traces_apart(tmp_path):
    both = {}
    for i in range(2):
        path = tmp_path / f"{i}.rqs"
        both[str(path)] = write_mixed(path, seed=i, label=("old", "new")[i])
    run("export", "--format", "pprof", "-o", tmp_path / "both.pb.gz", *both)
    profile = read_pprof.read((tmp_path / "both.pb.gz").read_bytes())
    for (path, what), label in zip(both.items(), ("old", "new")):
        mine = [s for s in profile.samples if s.labels["reqscope.trace"] == path]
        assert {s.labels["service.name"] for s in mine} == {label}
        want = estimates(*what)
        assert sum(s.values[1] for s in mine) == pytest.approx(sum(v[1] for v in want.values()), abs=len(mine))
    assert "old" in go_tool("-tags", tmp_path / "both.pb.gz")


# ---- collapsed ----


def folded(text):
    lines = [re.fullmatch(r"(.+) (\d+)", line) for line in text.splitlines()]
    found = {m[1]: int(m[2]) for m in lines}
    assert len(found) == len(lines)  # a stack is one line
    return found


def safe(name):
    return name.replace(";", ":")


def names_of(path):
    """Without lines; of Python with the file."""
    return [safe(f"{name} ({Path(file).name})" if file.endswith(".py") else name) for name, file, _ in path]


def test_collapsed(made):
    got = folded(export("collapsed", made[0]))
    want = summed(estimates(*made[1:]), lambda owner, path: ";".join([safe(owner), *reversed(names_of(path))]))
    same({k: [v] for k, v in got.items()}, {k: [v[1]] for k, v in want.items()}, 0.51)
    assert any(line.endswith(";main;std::vector<int, A:B>::grow() const") for line in got)
    assert any(line.endswith(";<lambda> (main.py);load (a:b.py)") for line in got)


def test_collapsed_of_several_traces(tmp_path):
    """Those of one service are united, others are told apart."""
    paths = [tmp_path / f"{i}.rqs" for i in range(3)]
    whats = [write_mixed(p, seed=i, label=("old", "old", "new")[i]) for i, p in enumerate(paths)]
    alone = folded(export("collapsed", paths[0], paths[1]))
    two = summed(estimates(*whats[0]), lambda *key: 0)[0][1] + summed(estimates(*whats[1]), lambda *key: 0)[0][1]
    assert sum(alone.values()) == pytest.approx(two, abs=len(alone))
    assert not any(line.startswith("old;") for line in alone)
    services = Counter()
    for line, value in folded(export("collapsed", *paths)).items():
        services[line.split(";")[0]] += value
    assert set(services) == {"old", "new"} and services["old"] == pytest.approx(two, abs=len(alone))


# ---- speedscope ----


def check_schema(value):
    """The essentials of speedscope's file-format-schema.json."""
    assert value["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert set(value) <= {"$schema", "shared", "profiles", "name", "activeProfileIndex", "exporter"}
    assert set(value["shared"]) == {"frames"} and 0 <= value["activeProfileIndex"] < len(value["profiles"])
    for frame in value["shared"]["frames"]:
        assert isinstance(frame["name"], str) and frame["name"] and set(frame) <= {"name", "file", "line", "col"}
        assert isinstance(frame.get("file", ""), str) and isinstance(frame.get("line", 0), int)
    for p in value["profiles"]:
        assert set(p) == {"type", "name", "unit", "startValue", "endValue", "samples", "weights"}
        assert p["type"] == "sampled" and p["unit"] == "bytes" and isinstance(p["name"], str)
        assert len(p["samples"]) == len(p["weights"]) > 0 and min(p["weights"]) >= 0
        assert p["startValue"] == 0 and p["endValue"] == sum(p["weights"])
        assert all(0 <= at < len(value["shared"]["frames"]) for stack in p["samples"] for at in stack)


def of_speedscope(value):
    check_schema(value)
    frames = [(f["name"], f.get("file", ""), f.get("line", 0)) for f in value["shared"]["frames"]]
    assert len(set(frames)) == len(frames)
    found = {}
    for p in value["profiles"]:
        for stack, weight in zip(p["samples"], p["weights"], strict=True):
            key = p["name"], tuple(frames[at] for at in reversed(stack))
            assert key not in found
            found[key] = [weight]
    return found


def test_speedscope(made):
    got = of_speedscope(json.loads(export("speedscope", made[0])))
    want = {key: [value[1]] for key, value in estimates(*made[1:]).items()}
    same(got, want, 0.51)


def test_speedscope_of_several_traces(tmp_path):
    paths = [tmp_path / f"{i}.rqs" for i in range(2)]
    for i, path in enumerate(paths):
        write_mixed(path, seed=i, label=("old", "new")[i])
    value = json.loads(export("speedscope", *paths))
    check_schema(value)
    names = [p["name"] for p in value["profiles"]]
    assert len(set(names)) == len(names) == 12 and {n.split(": ")[0] for n in names} == {"old", "new"}


# ---- all ----

SITE_FORMATS = ("pprof", "collapsed", "speedscope")


@pytest.mark.parametrize("form", SITE_FORMATS)
def test_one_route(made, tmp_path, form):
    want = {k: v for k, v in estimates(*made[1:]).items() if k[0] == "GET /users/{}"}
    out = tmp_path / "out"
    run("export", "--format", form, "--route", "GET /users/{}", "-o", out, made[0])
    assert out.stat().st_mode & 0o777 == 0o600
    if form == "pprof":
        same(of_profile(read_pprof.read(out.read_bytes())), want, 0.51)
    elif form == "speedscope":
        same(of_speedscope(json.loads(out.read_text())), {k: [v[1]] for k, v in want.items()}, 0.51)
    else:
        got = folded(out.read_text())
        assert {line.split(";")[0] for line in got} == {"GET /users/{}"}
        assert sum(got.values()) == pytest.approx(sum(v[1] for v in want.values()), abs=len(got))


def test_windows(made, tmp_path):
    """Allocations inside of it count."""
    half = START + MIXED_SECONDS * SECOND // 2
    path, sites, stacks = made
    inside = [s for s in sites if s.event or s.time < half]
    got = folded(export("collapsed", "--to", MIXED_SECONDS / 2, path))
    want = sum(v[1] for v in estimates(inside, stacks).values())
    assert sum(got.values()) == pytest.approx(want, rel=0.01)


@pytest.mark.parametrize("form", SITE_FORMATS)
def test_traces_without_sites(made, tmp_path, form):
    bare, out = tmp_path / "bare.rqs", tmp_path / "out"
    bare.write_bytes(trace(mixed_requests()))
    _, err = run("export", "--format", form, "-o", out, bare, status=2)
    assert "bare.rqs: has no call sites: it was recorded without --sites" in one_line(err) and not out.exists()
    _, err = run("export", "--format", form, "-o", out, bare, made[0])
    assert "bare.rqs: has no call sites" in one_line(err) and out.stat().st_size > 100


def test_pprof_is_nothing_for_a_terminal(made):
    done = subprocess.run(
        ["script", "-qec", f"{REQSCOPE} export --format pprof {made[0]}", "/dev/null"], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2 and "pprof is nothing for a terminal" in done.stdout


def test_the_same_bytes_each_time(made):
    command = [REQSCOPE, "export", "--format", "pprof", made[0]]
    assert len({subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)}) == 1
