"""`merge`: one trace of many is as one pass over all of them, in any order and in any number of steps."""

import itertools
import json
import random
import resource
import struct
import subprocess
from collections import Counter
from dataclasses import astuple

import pytest
from reqscope_cli import REQSCOPE, assert_counts, assert_metrics, one_line, report, run

import make_trace as make
import read_trace
from make_trace import END, REALTIME, REQUESTS, SECOND, START, Request, json_frame, process_frame, requests_frame
from make_trace import run_frame, samples_frame, totals, trace

HOSTS = 3


def make_requests(n, seed, gap=1_000_000):
    dice, found = random.Random(seed), []
    for i in range(n):
        found.append(Request(
            START + i * gap + dice.randrange(1000),
            method=dice.choice(("GET", "POST", "PURGE")), route=f"/r{dice.randrange(4)}",
            status=dice.choice((0, 200, 404, 503)), queue=dice.choice((None, dice.randrange(10**6))),
            handler=dice.choice((None, dice.randrange(1 << 40))), send=dice.randrange(600), process=dice.randrange(3),
            aborted=dice.random() < 0.1, response_bytes=dice.randrange(1 << 45),
            more={"alloc_bytes": dice.choice((None, dice.randrange(1 << 50))), "peak_bytes": dice.choice((None, 5)),
                  "downstream": dice.choice((None, dice.randrange(10**9)))},
        ))  # fmt: skip
    return found


def host_clock(host):
    """Hosts boot at different times, and have been recorded a little after another."""
    monotonic = START + host * 777_000 * SECOND + host
    return {"start_monotonic_ns": str(monotonic), "start_realtime_ns": str(REALTIME + host * 1_234_567)}


def host_trace(requests, samples=(), host=0, **more):
    """As recorded there: its own clock, a label of its own."""
    shift = host * 777_000 * SECOND
    moved = [Request(**{**vars(r), "time": r.time + shift}) for r in requests]
    samples = [{**s, "time": s["time"] + shift} for s in samples]
    return trace(moved, samples, label=f"host {host}", **host_clock(host), **more)


def make_samples(n, every=SECOND // 10, phase=0, rss=1000):
    return [{"time": START + phase + i * every, "process": p, "rss": rss * (p + 1), "cpu_user": i * 500, "threads": 3}
            for i in range(n) for p in range(3)]  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return [make_requests(1500, seed) for seed in range(HOSTS)]


@pytest.fixture(scope="module")
def files(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    for i, requests in enumerate(made):
        samples = make_samples(15, phase=i * 30_000_000)
        (folder / f"h{i}.rqs").write_bytes(host_trace(requests, samples, host=i, rows=[400, 100, 1500][i]))
    return [folder / f"h{i}.rqs" for i in range(HOSTS)]


def merge(out, *files, status=0, options=()):
    return run("merge", *options, "-o", out, *files, status=status)


def shown(path):
    """The report without the file's name."""
    (got,) = report(path)
    del got["file"]
    return got


# ---- what it says ----


def test_distributions_are_those_of_all_requests(made, files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    whole = [r for requests in made for r in requests]
    got = shown(tmp_path / "all.rqs")
    assert_metrics(got, whole)
    assert_counts(got, whole)
    assert {(r["method"], r["route"]) for r in got["routes"]} >= {("_OTHER", "/r0"), ("GET", "/r1")}
    for row in got["routes"]:
        method = "PURGE" if row["method"] == "_OTHER" else row["method"]
        mine = [r for r in whole if (r.method, r.route) == (method, row["route"])]
        assert_metrics(row, mine, row["route"])
        assert_counts(row, mine)
    assert got["completeness"] == {"started": 4500, "finished": 4500, "dropped": 0, "unfinished": 0, "given_up": 0}
    assert got["processes"] == 9 and got["truncated"] is False


def test_it_is_what_compare_takes_several_runs_for(files, tmp_path):
    """Bit for bit: compare adds the histograms up, merge the requests."""
    merge(tmp_path / "all.rqs", *files)
    out, _ = run("compare", "--format", "json", "A=" + ",".join(map(str, files)), f"B={tmp_path / 'all.rqs'}")
    a, b = json.loads(out)["sides"]
    distributions = [k for k, v in a.items() if isinstance(v, dict) and "p99" in v]
    assert len(distributions) >= 8
    for side in (a, b):
        side["routes"] = {(r["method"], r["route"]): {k: r[k] for k in distributions} for r in side.get("routes", [])}
    assert {k: a[k] for k in (*distributions, "routes")} == {k: b[k] for k in (*distributions, "routes")}


def test_any_order_and_any_number_of_steps(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    want = shown(tmp_path / "all.rqs")
    for i, (a, b, c) in enumerate(itertools.permutations(files)):
        merge(tmp_path / f"{i}.rqs", a, b, c)
        assert shown(tmp_path / f"{i}.rqs") == want
        merge(tmp_path / f"{i}-two.rqs", b, c)
        merge(tmp_path / f"{i}-three.rqs", tmp_path / f"{i}-two.rqs", a)
        assert shown(tmp_path / f"{i}-three.rqs") == want
    merge(tmp_path / "one.rqs", tmp_path / "all.rqs")
    assert shown(tmp_path / "one.rqs") == want


# ---- what is in the file, read by the tests' own reader ----


def rows_at(path, process_of=None):
    """All requests of a trace, as (wall clock, pid, everything else)."""
    t = read_trace.read(path)
    pids = {p["process"]: p["pid"] for p in t.processes}
    assert len(pids) == len(t.processes)
    return Counter(
        (t.realtime(r.time) // 1000, pids[r.process], *astuple(r)[2:-1], *sorted(r.values.items(), key=str))
        for r in t.requests
    ), t  # fmt: skip


def test_every_row_is_kept(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    whole, merged = rows_at(tmp_path / "all.rqs")
    parts = Counter()
    for path in files:
        parts += rows_at(path)[0]
    assert whole == parts and merged.ended
    assert len({p["process"] for p in merged.processes}) == 9
    assert [p["process"] for p in merged.totals["processes"]] == list(range(9))
    starts = {int(p["start_monotonic_ns"]) for p in merged.processes}
    assert starts == {START + between(i) for i in range(HOSTS)}


def between(host):
    """The wall clock less the host's, a whole µs."""
    times = host_clock(host)
    return (int(times["start_realtime_ns"]) - int(times["start_monotonic_ns"])) // 1000 * 1000


def test_the_run_frame_tells_of_all(files, tmp_path):
    merge(tmp_path / "all.rqs", files[2], files[0], files[1])
    got = read_trace.read(tmp_path / "all.rqs").run
    assert [r["label"] for r in got["merged_from"]] == ["host 0", "host 1", "host 2"]
    assert (got["schema"], got["mode"], got["label"], got["command"]) == ("reqscope.run/1", "merge", None, ["./server"])
    assert got["start_monotonic_ns"] == got["start_realtime_ns"] == str(REALTIME)
    merge(tmp_path / "part.rqs", files[1])
    part = read_trace.read(tmp_path / "part.rqs").run
    assert part["label"] == "host 1" and part["host"]["cpu"] == "Some CPU" and len(part["merged_from"]) == 1


def test_what_the_machines_agree_on_is_told(tmp_path):
    for i in range(2):
        host = {"name": f"web-{i}", "kernel": "6.1", "cpus": 2}
        (tmp_path / f"{i}.rqs").write_bytes(trace([Request(START)], host=host, label=str(i)))
    merge(tmp_path / "all.rqs", tmp_path / "0.rqs", tmp_path / "1.rqs")
    got = read_trace.read(tmp_path / "all.rqs")
    assert got.run["host"] == {"name": None, "kernel": "6.1", "cpus": 2}
    assert [(p["host"], p["label"]) for p in got.processes] == [("web-0", "0"), ("web-1", "1")]


def test_servers_that_have_nothing_in_common(tmp_path):
    """What differs is null in the run frame, and every command can show it."""
    for i in range(2):
        more = {"command": [f"./server{i}"], "host": {"cpu": str(i)} if i else {"cpu": "0", "name": "a"}, "clock": ("tsc", "monotonic")[i], "agent_version": f"0.{i}"}
        (tmp_path / f"{i}.rqs").write_bytes(trace([Request(START)], runtime=("go", "python")[i], **more))
    merge(tmp_path / "all.rqs", tmp_path / "0.rqs", tmp_path / "1.rqs")
    got = read_trace.read(tmp_path / "all.rqs").run
    assert [got[k] for k in ("command", "host", "clock", "agent_version", "label")] == [None] * 5
    for command in (["report"], ["info"], ["compare", tmp_path / "0.rqs"], ["export"]):
        for format in ("text", "json", "md", "html") if command[0] != "export" else ("otlp",):
            out, err = run(*command, "--format", format, tmp_path / "all.rqs")
            assert out and not err


def test_samples_are_in_the_order_of_time(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    samples = read_trace.read(tmp_path / "all.rqs").samples
    times = [s["time"] for s in samples]
    assert times == sorted(times) and len(times) == HOSTS * 45


def test_what_hosts_take_at_one_time_is_added_up(tmp_path, made):
    """Their samplers are not in step: three hosts, a third of the period apart."""
    paths = []
    for i in range(HOSTS):
        path = tmp_path / f"{i}.rqs"
        path.write_bytes(host_trace(made[i], make_samples(100, phase=i * 33_000_000), host=i))
        paths.append(path)
    merge(tmp_path / "all.rqs", *paths)
    memory = shown(tmp_path / "all.rqs")["memory"]
    assert memory["rss_peak"] == HOSTS * 6000 and memory["rss_mean"] == pytest.approx(HOSTS * 6000, rel=0.02)


def test_recordings_one_after_another(tmp_path):
    """Of one server on one day: the time between them is part of the whole."""
    paths = []
    for i in range(3):
        path = tmp_path / f"{i}.rqs"
        start = START + i * 100 * SECOND
        requests = [Request(start + k * 10_000_000) for k in range(100)]
        path.write_bytes(trace(requests, start_monotonic_ns=str(start), start_realtime_ns=str(REALTIME + start - START)))
        paths.append(path)
    merge(tmp_path / "all.rqs", *reversed(paths))
    got = shown(tmp_path / "all.rqs")
    assert got["requests"] == 300 and got["duration"] == pytest.approx(200.99, abs=0.001)
    window = ("--from", "2026-01-01T00:01:40Z", "--to", "2026-01-01T00:01:40.5Z")
    assert report(*window, tmp_path / "all.rqs")[0]["requests"] == 50


def test_totals_are_added_and_notes_are_united(tmp_path):
    paths = []
    for i, reason in enumerate(("exited", "duration")):
        end = totals([1], (0,), reason=reason, unplaced=2, connections={"peak": 5 + i}, notes=[{"what": "queue", "why": "x"}, {"what": f"n{i}", "why": ""}])
        end["processes"][0] |= {"process_alloc": {"alloc_bytes": 10**i, "alloc_count": 1}, "events": {"odd": i + 1}}
        path = tmp_path / f"{i}.rqs"
        path.write_bytes(run_frame(label=str(i)) + process_frame(0, "go") + requests_frame([Request(START)])
                         + json_frame(END, end, START))  # fmt: skip
        paths.append(path)
    merge(tmp_path / "all.rqs", *paths)
    got = read_trace.read(tmp_path / "all.rqs").totals
    assert got["reason"] == "merged" and got["unplaced"] == 4 and got["connections"] == {"peak": 11} and got["completeness"]["finished"] == 2
    assert [n["what"] for n in got["notes"]] == ["queue", "n0", "n1"]
    assert [(p["process"], p["process_alloc"]["alloc_bytes"], p["events"]["odd"]) for p in got["processes"]] == [
        (0, 1, 1), (1, 10, 2)]  # fmt: skip
    assert shown(tmp_path / "all.rqs")["process_alloc"]["alloc_bytes"] == 11


# ---- what isn't whole ----


def test_without_an_end_frame_there_is_none(files, tmp_path, made):
    cut = tmp_path / "cut.rqs"
    cut.write_bytes(host_trace(made[0][:100], host=7, end=False) + json_frame(make.TOTALS, totals(made[0][:100]), START))
    _, err = merge(tmp_path / "all.rqs", files[0], cut)
    assert "cut.rqs: warning: no end frame" in one_line(err)
    got = read_trace.read(tmp_path / "all.rqs")
    assert not got.ended and got.totals["completeness"]["finished"] == 1600 and "reason" not in got.totals
    assert any(n["what"] == "the whole of each trace" for n in got.totals["notes"])
    assert shown(tmp_path / "all.rqs")["truncated"] is True


def test_what_is_unknown_of_one_is_unknown_of_all(files, tmp_path, made):
    bare = tmp_path / "bare.rqs"
    bare.write_bytes(host_trace(made[0][:100], host=7, end=False))
    merge(tmp_path / "all.rqs", files[0], bare)
    assert "completeness" not in read_trace.read(tmp_path / "all.rqs").totals
    merge(tmp_path / "bare-alone.rqs", bare)
    assert read_trace.read(tmp_path / "bare-alone.rqs").totals is None


def test_of_a_damaged_trace_the_readable_part_is_taken(files, tmp_path):
    data = bytearray(files[0].read_bytes())
    at = data.index(b"RQSF", data.index(b"RQSF", 2000) + 1)
    while data[at + 4] != REQUESTS:
        at = data.index(b"RQSF", at + 1)
    data[at + 60] ^= 1
    (tmp_path / "bad.rqs").write_bytes(data)
    _, err = merge(tmp_path / "all.rqs", tmp_path / "bad.rqs", files[1], status=2)
    assert f"bad.rqs: offset {at}: wrong checksum. The readable part is merged" in one_line(err)
    got = shown(tmp_path / "all.rqs")
    assert got["truncated"] is True and got["requests"] == 1500 + report(tmp_path / "bad.rqs", status=2)[0]["requests"]


@pytest.mark.parametrize("data, says", [
    (None, "No such file"),
    (b"", "is empty"),
    (b"no trace" * 100, "is not a reqscope trace"),
    (make.frame(make.RUN, b"{}", version=2), "newer reqscope: format version 2"),
    (run_frame() + make.frame(REQUESTS, b"?", START, version=9), "newer reqscope: format version 9"),
    (requests_frame([Request(START)]), "doesn't say when it was recorded"),
    (run_frame(start_realtime_ns="0"), "doesn't say when it was recorded"),
])  # fmt: skip
def test_nothing_is_written_without_all_of_them(files, tmp_path, data, says):
    bad = tmp_path / "bad.rqs"
    if data is not None:
        bad.write_bytes(data)
    _, err = merge(tmp_path / "all.rqs", files[0], bad, status=2)
    assert "bad.rqs: " in err and says in one_line(err)
    assert {p.name for p in tmp_path.iterdir()} <= {"bad.rqs"}


def test_a_recording_counts_once(files, tmp_path):
    merge(tmp_path / "two.rqs", *files[:2])
    for twice in ((files[0], files[0]), (tmp_path / "two.rqs", files[1]), (tmp_path / "two.rqs", tmp_path / "two.rqs")):
        _, err = merge(tmp_path / "all.rqs", *twice, status=2)
        assert "the same recording is in these files twice" in one_line(err)
    assert not (tmp_path / "all.rqs").exists()


def test_so_many_processes_that_only_their_sums_are_told(tmp_path):
    """In any number of steps; a trace of them all stays readable."""
    count, files = 8000, [tmp_path / f"{i}.rqs" for i in range(3)]
    for i, file in enumerate(files):
        value = totals([None] * 5, range(count), reason="exited")
        for process in value["processes"]:
            process["process_alloc"] = {"alloc_bytes": 3, "alloc_count": 1} if process["process"] % 2 else None
            process["events"] = {"odd": 1}
        numbers = make.columns(count, [make.column("process", list(range(count)))], [(0, b"/")])
        parts = [run_frame(label=str(i)), *(process_frame(p) for p in range(count)), make.frame(REQUESTS, numbers, START)]
        file.write_bytes(b"".join(parts) + json_frame(END, value, START))
    two, three, once = (tmp_path / name for name in ("two.rqs", "three.rqs", "once.rqs"))
    merge(two, *files[:2])
    merge(three, two, files[2])
    merge(once, *files)
    for merged in (three, once):
        listed = read_trace.read(merged).totals["processes"]
        assert len(listed) == 4097 and [p["process"] for p in listed[:-1]] == list(range(4096))
        rest = listed[-1]
        assert not rest.keys() & {"process", "rss_peak"}
        assert rest["process_alloc"]["alloc_count"] + 2048 == 3 * count // 2
        assert rest["events"]["odd"] + 4096 == 3 * count and rest["connections"]["accepted"] == 4 * (3 * count - 4096)
        known = 3 * count // 2
        got = shown(merged)
        assert got["processes"] == 3 * count
        assert got["process_alloc"] == {"alloc_bytes": 3 * known, "alloc_count": known}


def test_more_processes_than_a_trace_can_have(tmp_path):
    column = make.column("process", list(range(40_000)))
    for i in range(2):
        frame = make.frame(REQUESTS, make.columns(40_000, [column], [(0, b"/")]), START)
        (tmp_path / f"{i}.rqs").write_bytes(run_frame(label=str(i)) + frame)
    _, err = merge(tmp_path / "all.rqs", tmp_path / "0.rqs", tmp_path / "1.rqs", status=2)
    assert "more than 65536 processes" in err and not (tmp_path / "all.rqs").exists()


# ---- the command ----


def test_output(files, tmp_path):
    out = tmp_path / "all.rqs"
    merge(out, files[0])
    assert out.stat().st_mode & 0o777 == 0o600
    assert "exists; -f replaces it" in one_line(merge(out, files[1], status=2)[1])
    merge(out, out, files[1], options=["-f"])
    assert report(out)[0]["requests"] == 3000
    assert list(tmp_path.iterdir()) == [out]


def test_pipes(files, tmp_path):
    done = subprocess.run([REQSCOPE, "merge", "/dev/stdin", files[1]], stdin=files[0].open("rb"), capture_output=True)
    assert done.returncode == 0 and not done.stderr
    (tmp_path / "p.rqs").write_bytes(done.stdout)
    merge(tmp_path / "f.rqs", files[0], files[1])
    assert done.stdout == (tmp_path / "f.rqs").read_bytes()


@pytest.mark.parametrize("args, says", [
    ([], "which traces?"),
    (["-o"], "'-o' needs a value"),
    (["--what", "x.rqs"], "unknown option '--what'"),
])  # fmt: skip
def test_mistakes(args, says):
    assert says in one_line(run("merge", *args, status=2)[1])


def test_many_traces_take_little(tmp_path):
    """More than a shell lets be open at first, and under a limit of memory."""
    for i in range(1100):
        data = host_trace([Request(START + i * 1000, process=0)], host=i, rows=1)
        (tmp_path / f"{i}.rqs").write_bytes(data)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))

    done = subprocess.run([REQSCOPE, "merge", "-o", tmp_path / "all.rqs", *sorted(tmp_path.glob("*.rqs"))],
                          capture_output=True, timeout=120, preexec_fn=limit)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert report(tmp_path / "all.rqs")[0]["requests"] == 1100


def test_a_trace_of_samples_alone_and_one_far_behind(tmp_path):
    """One host sampled for long, the other's samples come late: no more than a few thousand are ever kept waiting."""
    long = [samples_frame(make_samples(4000, phase=k * 400 * SECOND)) for k in range(4)]
    (tmp_path / "a.rqs").write_bytes(run_frame(label="a") + b"".join(long))
    late = samples_frame([{"time": START + 1600 * SECOND + i, "process": 0, "rss": 5} for i in range(50)])
    (tmp_path / "b.rqs").write_bytes(run_frame(label="b") + late)
    merge(tmp_path / "all.rqs", tmp_path / "a.rqs", tmp_path / "b.rqs")
    samples = read_trace.read(tmp_path / "all.rqs").samples
    assert len(samples) == 48_050 and samples == sorted(samples, key=lambda s: s["time"])


def frames(path):
    """(type, rows) of each frame."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        _, kind, _, _, stored, raw = struct.unpack_from("<4sBBHII", data, at)
        found.append(kind)
        at += 40 + stored
    return found


def test_frames_are_in_the_order_that_the_format_asks_for(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    kinds = frames(tmp_path / "all.rqs")
    assert kinds[:10] == [make.RUN] + [make.PROCESS] * 9 and kinds[-1] == END
    assert set(kinds[10:-1]) == {REQUESTS, make.SAMPLES}
