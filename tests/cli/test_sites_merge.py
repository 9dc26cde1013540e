"""`merge` of traces with sampled allocations: what is read of the united one is what was read of its parts."""

import itertools
from collections import Counter, defaultdict

import pytest
import read_trace
from reqscope_cli import report, run
from site_traces import PATHS, c, mixed_requests, mixed_sites, same, write_mixed

from make_trace import REALTIME, SECOND, Stacks, trace

PARTS = 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Recordings of three hosts, a minute apart; the last one's program has more code than the others' have."""
    folder, found = tmp_path_factory.mktemp("parts"), []
    for i in range(PARTS):
        paths = {"new": [c("new", "app", 8), *PATHS["leaf"][1:]], **PATHS} if i == 2 else PATHS
        clock = {"start_realtime_ns": str(REALTIME + i * 60 * SECOND)}
        found.append(folder / f"{i}.rqs")
        write_mixed(found[-1], label=f"host{i}", seed=i, count=900 + i, paths=paths, run=clock)
    return found


def merge(out, *files):
    run("merge", "-o", out, *files)
    return out


def stack_of(trace, number):
    return tuple(tuple(sorted(frame.items())) for frame in trace.stack(number))


def rows(trace):
    """Of each row what must stay; processes and numbers of stacks are the trace's own."""
    return Counter(
        (trace.realtime(s.time) // 1000, s.event, s.number, s.owner, s.method, s.route,
         stack_of(trace, s.stack), s.bytes, s.sample_bytes, s.followed)
        for s in trace.sites
    )  # fmt: skip


def test_rows_stay_what_they_were(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    whole, parts = read_trace.read(tmp_path / "all.rqs"), [read_trace.read(f) for f in files]
    assert rows(whole) == sum(map(rows, parts), Counter())
    ids = Counter((s.process, s.number, s.event) for s in whole.sites)
    assert max(ids.values()) == 1 and len({s.process for s in whole.sites}) == 2 * PARTS


def test_the_same_stack_is_there_once(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    whole = read_trace.read(tmp_path / "all.rqs")
    frames = [tuple(sorted(f.items())) for f in whole.frames.values()]
    assert len(set(frames)) == len(frames) == len(read_trace.read(files[2]).frames)
    assert len(set(whole.stacks.values())) == len(whole.stacks)


def folded(*args):
    lines = (line.rsplit(" ", 1) for line in run("export", "--format", "collapsed", *args)[0].splitlines())
    return {stack: [int(value)] for stack, value in lines}


def test_exports_of_it_are_the_sums(files, tmp_path):
    merge(tmp_path / "all.rqs", *files)
    sums = defaultdict(lambda: [0])
    for file in files:
        for stack, (value,) in folded(file).items():
            sums[stack][0] += value
    same(folded(tmp_path / "all.rqs"), sums, PARTS)


def test_in_any_order_and_number_of_steps(files, tmp_path):
    once = folded(merge(tmp_path / "once.rqs", *files))
    for i, order in enumerate(itertools.permutations(files)):
        merge(tmp_path / f"two{i}.rqs", *order[:2])
        same(folded(merge(tmp_path / f"steps{i}.rqs", tmp_path / f"two{i}.rqs", order[2])), once, 0)


def test_with_a_trace_that_has_none(files, tmp_path):
    bare = tmp_path / "bare.rqs"
    bare.write_bytes(trace(mixed_requests(), label="bare"))
    same(folded(merge(tmp_path / "all.rqs", files[0], bare)), folded(files[0]), 0)
    assert report(tmp_path / "all.rqs")[0]["requests"] == report(files[0])[0]["requests"] + 1000


def test_a_stack_that_was_not_told_is_unknown(tmp_path):
    """Its frame is damaged; the other trace's stacks with the same numbers are not taken for it."""
    paths = [tmp_path / f"{i}.rqs" for i in range(2)]
    for i, path in enumerate(paths):
        stacks = Stacks()
        made = mixed_sites(stacks, seed=i, count=500)
        data = trace(mixed_requests(), sites=made, stacks=stacks, label=str(i))
        if i:
            at = data.index(b"RQSF\x07")
            data = data[: at + 50] + bytes([data[at + 50] ^ 1]) + data[at + 51 :]
        path.write_bytes(data)
    _, err = run("merge", "-o", tmp_path / "all.rqs", *paths, status=2)
    assert "wrong checksum" in err
    got = read_trace.read(tmp_path / "all.rqs").sites
    first = read_trace.read(paths[0]).sites
    assert sum(bool(s.stack) for s in got) == sum(bool(s.stack) for s in first)
    assert len(got) == len(first) + len(made)
