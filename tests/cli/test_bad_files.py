"""Files that are empty, foreign, cut, flipped or made to hurt: one clear line, the right status, little memory."""

import json
import os
import random
import resource
import struct
import subprocess

import pytest
from reqscope_cli import REQSCOPE, one_line, report, run

import make_trace as make
from make_trace import END, REQUESTS, RUN, SAMPLES, START, Request, column, columns, frame, json_frame, requests_frame
from make_trace import run_frame, totals, trace, varint

REQUESTS_MADE = [Request(START + i * 1000, route=f"/r{i % 3}", queue=i * 7) for i in range(40)]
WHOLE = trace(REQUESTS_MADE, rows=10)


def frames_of(data):
    """(offset, length) of each frame of a correct trace."""
    found, at = [], 0
    while at < len(data):
        length = 40 + struct.unpack_from("<I", data, at + 8)[0]
        found.append((at, length))
        at += length
    return found


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "t.rqs"
        path.write_bytes(data)
        return path

    return write


def shown_and_complained(path, command="report"):
    """The parsed stdout and the one line on stderr of a damaged file: status 2."""
    out, err = run(command, "--format", "json", path, status=2)
    return json.loads(out), one_line(err)


# ---- nothing readable ----


@pytest.mark.parametrize("command", ["report", "info"])
@pytest.mark.parametrize("data, says", [
    (b"", "is empty"),
    (b"RQSF", "is not a reqscope trace"),
    (b"\x7fELF" + bytes(1000), "is not a reqscope trace"),
    (os.urandom(200_000), "is not a reqscope trace"),
    (b"RQSF" * 10_000, "is not a reqscope trace"),
    (json_frame(RUN, {}, START)[:-1], "ends inside a frame"),
    (frame(RUN, b"{}", version=2), "newer reqscope: format version 2, and this one reads 1"),
])  # fmt: skip
def test_nothing_readable(file, command, data, says):
    path = file(data)
    out, err = run(command, path, status=2)
    assert not out and says in one_line(err) and str(path) in err


@pytest.mark.parametrize("command", ["report", "info"])
def test_no_file(tmp_path, command):
    assert "No such file" in one_line(run(command, tmp_path / "none.rqs", status=2)[1])
    assert "is a directory" in one_line(run(command, tmp_path, status=2)[1])


def test_compare_needs_all_sides(file, tmp_path):
    path = file(WHOLE)
    out, err = run("compare", path, tmp_path / "none.rqs", status=2)
    assert not out and "none.rqs: No such file" in one_line(err)


# ---- truncated ----


def test_cut_at_every_offset(file):
    """Between frames: truncated, and good. Inside of one: damaged, at the frame's offset. Never a request too many."""
    frames = frames_of(WHOLE)
    borders = {offset for offset, _ in frames}
    rows = {offset: 10 for offset, _ in frames if WHOLE[offset + 4] == REQUESTS}
    for cut in [*range(1, len(WHOLE), 13), *borders]:
        if cut == 0:
            continue
        path = file(WHOLE[:cut])
        before = max(o for o in borders if o < cut)
        readable = sum(n for o, n in rows.items() if o + dict(frames)[o] <= cut)
        if cut in borders:
            out, err = run("report", "--format", "json", path)
            assert "no end frame" in one_line(err)
            got = json.loads(out)["traces"][0]
        elif before == 0:
            run("report", path, status=2)
            continue
        else:
            shown, err = shown_and_complained(path)
            assert f"offset {before}: the file ends inside a frame" in err
            got = shown["traces"][0]
        assert got["truncated"] is True and got["requests"] == readable


# ---- damaged ----


def test_a_flipped_bit_costs_its_frame_and_no_other(file):
    dice = random.Random(5)
    frames = frames_of(WHOLE)
    for offset, length in frames:
        for _ in range(8):
            at = offset + dice.randrange(length)
            data = bytearray(WHOLE)
            data[at] ^= 1 << dice.randrange(8)
            shown, err = shown_and_complained(file(data))
            assert f"offset {offset}: " in err
            got = shown["traces"][0]
            lost = 10 if WHOLE[offset + 4] == REQUESTS else 0
            assert (got["requests"], got["truncated"]) == (40 - lost, True)
            info, _ = shown_and_complained(file(data), "info")
            assert [d["offset"] for d in info["damage"]] == [offset] and info["integrity"] == "damaged"


def test_garbage_between_frames_is_skipped(file):
    (a, b), garbage = frames_of(WHOLE)[3:5], b"RQSF" * 30 + os.urandom(100_000).replace(b"RQSF", b"rqsf")
    shown, err = shown_and_complained(file(WHOLE[: a[0]] + garbage + WHOLE[a[0] :]))
    assert f"offset {a[0]}: " in err and shown["traces"][0]["requests"] == 40
    info, _ = shown_and_complained(file(WHOLE[: a[0]] + garbage + WHOLE[a[0] : b[0]] + garbage + WHOLE[b[0] :]), "info")
    assert [d["offset"] for d in info["damage"]] == [a[0], b[0] + len(garbage)]


def test_joined_traces_are_not_added_up(file):
    shown, err = shown_and_complained(file(WHOLE + WHOLE))
    assert f"offset {len(WHOLE)}: " in err and "separate files" in err
    assert shown["traces"][0]["requests"] == 40


def test_a_newer_frame_in_the_middle(file):
    first = frames_of(WHOLE)[3][0]
    newer = frame(REQUESTS, b"whatever it holds", START, version=3)
    shown, err = shown_and_complained(file(WHOLE[:first] + newer + WHOLE[first:]))
    assert "format version 3" in err and shown["traces"][0]["requests"] == 10


# ---- made to hurt: a right checksum around wrong contents ----

TIME, STATUS = column("time", [1, 2, 3]), column("status", [200, 200, 404])
ROUTE = (0, b"/")


def raw_column(number, encoding, data, length=None):
    return struct.pack("<BBI", number, encoding, len(data) if length is None else length) + data


def payload(rows=3, routes=1, table=b"\x00\x01\x00/", count=None, cols=(TIME, STATUS), tail=b""):
    head = struct.pack("<II", rows, routes) + table
    return head + bytes([len(cols) if count is None else count]) + b"".join(cols) + tail


BAD_PAYLOADS = {
    "empty": b"\0",
    "no rows": payload(rows=0),
    "too many rows": payload(rows=(1 << 20) + 1),
    "all rows": payload(rows=1 << 20),
    "no routes": payload(routes=0, table=b""),
    "too many routes": payload(routes=65537),
    "table cut": payload(routes=2),
    "template cut": payload(table=b"\x00\xff\xff/"),
    "fewer columns": payload(count=3),
    "more columns": payload(count=1),
    "bytes behind": payload(tail=b"x"),
    "column too long": payload(cols=[TIME, raw_column(4, 0, b"\1", 1 << 31)]),
    "column head cut": payload(cols=[TIME, b"\4\0"]),
    "column twice": payload(cols=[TIME, TIME]),
    "unknown encoding": payload(cols=[raw_column(1, 9, b"abc")]),
    "constant of two": payload(cols=[raw_column(4, 0, b"\1\1")]),
    "constant of none": payload(cols=[raw_column(4, 0, b"")]),
    "varint cut": payload(cols=[raw_column(4, 1, b"\1\1\x80")]),
    "varints left": payload(cols=[raw_column(4, 1, b"\1\1\1\1")]),
    "varint too long": payload(cols=[raw_column(9, 1, b"\x80" * 10 + b"\1\1\1")]),
    "varint too great": payload(cols=[raw_column(9, 1, b"\xff" * 9 + b"\2\1\1")]),
    "quantised cut": payload(cols=[raw_column(6, 3, b"abcde")]),
    "quantised bytes": payload(cols=[raw_column(9, 3, b"abcdef")]),
    "quantised code": payload(cols=[raw_column(6, 3, b"\xff\xff\xff\xfe\xfe\xfe")]),
    "delta nullable": payload(cols=[raw_column(6, 2, b"\1\1\1")]),
    "goroutines cut": payload(cols=[raw_column(44, 1, b"\1\1\xff")]),
    "children delta": payload(cols=[raw_column(20, 2, b"\1\1\1")]),
    "children code": payload(cols=[raw_column(20, 3, b"\xff\xff\xff\xfe\xfe\xfe")]),
    "route beyond": payload(cols=[raw_column(3, 1, b"\0\1\0")]),
    "process beyond": payload(cols=[raw_column(2, 0, varint(65536))]),
    "status beyond": payload(cols=[raw_column(4, 0, varint(1000))]),
    "time beyond": payload(cols=[raw_column(1, 2, varint((1 << 64) - 1) * 3)]),
    "time negative": payload(cols=[raw_column(1, 2, b"\1\1\1")]),
}


NOT_IN_SAMPLES = ("no routes", "route beyond", "quantised bytes")


@pytest.mark.parametrize("kind, name", [
    *((REQUESTS, name) for name in BAD_PAYLOADS),
    *((SAMPLES, name) for name in BAD_PAYLOADS if name not in NOT_IN_SAMPLES),
])  # fmt: skip
def test_bad_columns(file, name, kind):
    bad = frame(kind, BAD_PAYLOADS[name], START)
    end = len(run_frame())
    data = run_frame() + bad + WHOLE[frames_of(WHOLE)[1][0] :]
    shown, err = shown_and_complained(file(data))
    assert f"offset {end}: {'requests' if kind == REQUESTS else 'samples'} frame: " in err
    assert shown["traces"][0]["requests"] == 40


@pytest.mark.parametrize("bad", [
    frame(REQUESTS, payload(), START, stored_length=0xFFFFFFFF),
    frame(REQUESTS, payload(), START, stored_length=(64 << 20) + 1),
    frame(REQUESTS, payload(), START, raw_length=0xFFFFFFFF),
    frame(REQUESTS, payload(), START, raw_length=0),
    frame(REQUESTS, payload(), START, raw_length=5),
    frame(REQUESTS, payload(), START, raw_length=5000),
    frame(REQUESTS, payload(), START, stored=b"not zstd at all"),
    frame(REQUESTS, payload(), START, stored=make.compress(payload()) * 2),
    frame(REQUESTS, payload(), START, stored=make.compress(payload()) + b"x"),
    frame(REQUESTS, payload(), START, START - 1),
    frame(REQUESTS, payload(), (1 << 64) - 1),
    frame(REQUESTS, payload(), START, checksum=0),
    frame(END, b"[" * 100_000, START),
    frame(END, b"[1,2,3]", START),
    frame(END, b'{"a":', START),
    frame(make.PROCESS, b"\xff\0", START),
])  # fmt: skip
def test_bad_frames(file, bad):
    start = len(run_frame())
    rest = WHOLE[frames_of(WHOLE)[1][0] : frames_of(WHOLE)[-1][0]]
    out, err = run("report", "--format", "json", file(run_frame() + rest + bad), status=2)
    assert f"offset {start + len(rest)}: " in one_line(err)
    assert json.loads(out)["traces"][0]["requests"] == 40


@pytest.mark.parametrize("value", [
    {"completeness": 5, "processes": 7, "notes": {"what": 1}},
    {"completeness": {"started": "x", "finished": -1, "dropped": 1e300, "unfinished": None}, "processes": [1, None, {}]},
    {"notes": [{"what": 5}, {"why": "no what"}, 3], "processes": [{"process_alloc": 5, "events": [1], "rss_peak": "x"}]},
])  # fmt: skip
def test_odd_json_is_read_as_far_as_it_goes(file, value):
    data = WHOLE[: frames_of(WHOLE)[-1][0]] + json_frame(END, value, START)
    (got,) = report(file(data))
    assert got["requests"] == 40 and got["truncated"] is False


# ---- export and merge read by the same rules ----

FORMATS = ("parquet", "csv", "hgrm", "openmetrics", "otlp")


def damaged_traces():
    """name -> a trace that is cut, flipped or made to hurt, with its first request frames readable."""
    head, rest = run_frame(), WHOLE[frames_of(WHOLE)[1][0] : frames_of(WHOLE)[-1][0]]
    dice, found = random.Random(11), {}
    for i in range(12):
        data = bytearray(WHOLE)
        data[dice.randrange(len(run_frame()), len(data))] ^= 1 << dice.randrange(8)
        found[f"flipped {i}"] = bytes(data)
    for i in range(8):
        found[f"cut {i}"] = WHOLE[: dice.randrange(len(run_frame()) + 1, len(WHOLE))]
    for name, bad in BAD_PAYLOADS.items():
        found[name] = head + rest + frame(REQUESTS, bad, START) + WHOLE[frames_of(WHOLE)[-1][0] :]
        if name not in NOT_IN_SAMPLES:
            found[name + " of samples"] = head + rest + frame(SAMPLES, bad, START)
    zeros = make.compress(bytes(64 << 20), 19)
    found["bomb"] = head + rest + frame(REQUESTS, b"", START, stored=zeros, raw_length=64 << 20)
    found["lying bomb"] = head + rest + frame(REQUESTS, b"", START, stored=zeros, raw_length=1000)
    found["bomb of JSON"] = head + rest + frame(END, b"[" + b"0," * 2_000_000 + b"0]", START)
    found["bomb of a process"] = head + frame(make.PROCESS, b"[" * 3_000_000, START) + rest
    found["odd totals"] = head + rest + json_frame(END, {"completeness": 5, "processes": [1, None, {"process": -1}], "notes": [3]})
    found["odd process"] = head + json_frame(make.PROCESS, {"process": 1e300, "runtime": 5}) + rest
    found["far in the future"] = head + requests_frame([Request((1 << 62) - 1)])
    return found


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """name -> (file, status of a report on it, the requests it has)."""
    folder, found = tmp_path_factory.mktemp("damaged"), {}
    for name, data in damaged_traces().items():
        path = folder / (name.replace(" ", "-") + ".rqs")
        path.write_bytes(data)
        status, told, _ = limited("report", "--format", "json", path)
        assert status in (0, 2), name
        found[name] = path, status, json.loads(told)["traces"][0]["requests"]
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_export_of_damaged_traces(damaged, tmp_path, format):
    """What is readable comes out, as many requests as the report has; the status is its status."""
    out = tmp_path / "out"
    for i, (name, (path, status, requests)) in enumerate(damaged.items()):
        if i % len(FORMATS) != FORMATS.index(format) and "bomb" not in name and "odd" not in name:
            continue  # how a trace is read is the same for all of them
        done, shown, err = limited("export", "--format", format, "-f", "-o", out, path)
        assert (done, shown) == (status, "") and err.count("\n") <= 1, (name, done, err)
        if format == "csv":
            assert out.read_bytes().count(b"\r\n") - 1 == requests, name


def test_merge_of_damaged_traces(damaged, tmp_path):
    good, out = tmp_path / "good.rqs", tmp_path / "out.rqs"
    good.write_bytes(trace(REQUESTS_MADE[:7], label="good"))
    for name, (bad, status, requests) in damaged.items():
        out.unlink(missing_ok=True)
        done, shown, err = limited("merge", "-o", out, bad, good)
        if name == "far in the future":
            assert done == 2 and err.endswith("out.rqs: a time in the traces is impossible\n") and not out.exists()
            continue
        assert (done, shown) == (status, "") and err.count("\n") <= 1, (name, done, err)
        assert report(out)[0]["requests"] == requests + 7, name  # and it is a correct trace itself


def limited(*args, megabytes=256):
    """As run, with the memory of the process limited; its peak is measured, too."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    done = subprocess.run([REQSCOPE, *map(str, args)], capture_output=True, timeout=120, preexec_fn=limit)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_bombs_stay_small(file):
    """64 MiB of zeros in a few KiB, honest and lying about it."""
    zeros = make.compress(bytes(64 << 20), 19)
    for bad in (
        frame(REQUESTS, b"", START, stored=zeros, raw_length=64 << 20),
        frame(REQUESTS, b"", START, stored=zeros, raw_length=1000),
        frame(END, b"", START, stored=zeros, raw_length=64 << 20),
        frame(END, b"[" + b"0," * 2_000_000 + b"0]", START),
    ):
        status, out, err = limited("report", "--format", "json", file(run_frame() + bad))
        assert status == 2 and f"offset {len(run_frame())}: " in one_line(err)
        assert json.loads(out)["traces"][0]["requests"] == 0


def test_a_million_rows_of_everything_stay_small(file):
    """The longest frame, and values spread over all octaves on all the routes there can be."""
    rows, dice = 1 << 20, random.Random(1)
    routes = [(0, f"/{a:x}x/{b:x}y".encode()) for a in range(14) for b in range(14)]
    cols = [raw_column(1, 0, b"\0"), raw_column(3, 1, bytes(range(128)) * (rows // 128))]
    for number in (6, 7, 8, 13, 14, 15, 16, 17):
        high = dice.randbytes(rows).translate(bytes(b % 52 for b in range(256)))
        cols.append(raw_column(number, 3, high + dice.randbytes(rows)))
    big = frame(REQUESTS, columns(rows, cols, routes), START)
    data = run_frame() + big + json_frame(END, totals([], reason="exited"), START)
    path = file(data)
    status, out, err = limited("report", "--format", "json", path)
    assert status == 0, err
    assert json.loads(out)["traces"][0]["requests"] == rows
    for format in ("parquet", "otlp"):  # the others keep no more than these
        assert limited("export", "--format", format, "-o", "/dev/null", path)[::2] == (0, ""), format
    merged = path.with_name("merged.rqs")
    assert limited("merge", "-o", merged, path)[::2] == (0, "")
    status, again, err = limited("report", "--format", "json", merged)
    assert status == 0 and json.loads(again)["traces"][0]["latency"] == json.loads(out)["traces"][0]["latency"], err


def test_false_heads_cost_no_hours(file):
    """Each offers a huge frame behind it, to be hashed in vain."""
    head = struct.pack("<4sBBHIIQQQ", b"RQSF", REQUESTS, 1, 0, 2 << 20, 100, START, START, 1)
    status, out, err = limited("report", file(run_frame() + head * 100_000))
    assert status == 2 and "ends inside" not in one_line(err)
