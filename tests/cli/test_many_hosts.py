"""Requests of many hosts in one place, queried by DuckDB: percentiles are those of `reqscope merge`. Spark: tests/long."""

import contextlib
import os
import subprocess
import sys
from bisect import bisect_left

import duckdb
import pytest
from reqscope_cli import REQSCOPE, ROOT, ask_duckdb, bucket_middle, run

import host_traces
from host_traces import QUANTILES, RECORDINGS, expected, told, write_traces
from make_trace import REALTIME, SECOND

EXAMPLES = ROOT / "tests/many_hosts"
PERCENTILES = ", ".join(f"{q}_ns" for q in QUANTILES)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_traces(tmp_path_factory.mktemp("hosts"))


def connect():
    """Hours in UTC: without its ICU extension, which the wheel hasn't, DuckDB knows no other zone."""
    db = duckdb.connect()
    with contextlib.suppress(duckdb.Error):
        db.execute("set TimeZone = 'UTC'")
    return db


def lake(pattern):
    db = connect()
    db.execute(f"create view requests as from read_parquet('{pattern}')")
    db.execute((EXAMPLES / "histogram.sql").read_text())
    return db


def query(db, name):
    return db.sql((EXAMPLES / f"{name}.sql").read_text())


def check_percentiles(rows, want):
    found = {(r[0], r[1], r[2], r[3]): r[4:] for r in rows}
    assert len(found) == len(rows) and found.keys() == want.keys()
    for group, row in found.items():
        assert row == pytest.approx(want[group], rel=1e-14), group


@pytest.mark.parametrize("layout", ["one file", "a file a host", "merged"])
def test_percentiles_are_those_of_merge(files, tmp_path, layout):
    """Of all requests, each host, each route, and each route of a service."""
    files = list(files)
    if layout == "a file a host":  # of hosts that name their routes alike
        files = [f for i, f in enumerate(files) if i % 2 == 0]
    parts = {"one file": [files], "a file a host": [[f] for f in files], "merged": [files]}[layout]
    for i, part in enumerate(parts):
        folder = tmp_path / f"lake/date=2026-01-01/part={i}"
        folder.mkdir(parents=True)
        if layout == "merged":
            run("merge", "-o", tmp_path / "some.rqs", *part[:4])
            part = [tmp_path / "some.rqs", *part[4:]]
        run("export", "--format", "parquet", "-o", folder / "requests.parquet", *part)
    db = lake(tmp_path / "lake/*/*/*.parquet")
    want = expected(REQSCOPE, tmp_path, files, recordings=[RECORDINGS[int(f.stem)] for f in files])
    assert len(want) > 20 and want[None, None, None, None][0] > 4000
    check_percentiles(query(db, "percentiles").fetchall(), want)


def test_what_one_export_names_is_what_merge_names(files, tmp_path):
    """A host on which a route got nothing but 404 knows its name only together with another."""
    for name, part in (("alone", files[1:2]), ("together", files)):
        run("export", "--format", "parquet", "-o", tmp_path / name, *part)
        rows = ask_duckdb(f"select distinct route from read_parquet('{tmp_path}/{name}') where trace = '{files[1]}'")
        assert (("/moved",) in rows) == (name == "together") and ("(unmatched)",) in rows


def test_histograms_of_days_add_up(files, tmp_path):
    """Each day exported by itself, and only its histogram kept, in Parquet."""
    midnight = ["2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]
    for day in range(2):
        out = tmp_path / f"{day}.parquet"
        run("export", "--format", "parquet", "--from", midnight[day], "--to", midnight[day + 1], "-o", out, *files)
        db = lake(out)
        db.execute(f"copy (from histogram) to '{tmp_path}/histogram-{day}.parquet'")
        assert db.sql("select distinct hour::varchar from histogram").fetchall() == [
            (("2025-12-31 23:00:00+00", "2026-01-01 00:00:00+00")[day],)]  # fmt: skip
    db = duckdb.connect()
    db.execute(f"create view histogram as from read_parquet('{tmp_path}/histogram-*.parquet')")
    check_percentiles(query(db, "percentiles").fetchall(), expected(REQSCOPE, tmp_path, files))


def test_exact_percentiles_are_in_the_bucket_that_merge_tells(files, tmp_path):
    run("export", "--format", "parquet", "-o", tmp_path / "all.parquet", *files)
    db = lake(tmp_path / "all.parquet")
    rows = query(db, "exact").fetchall()
    want = told(REQSCOPE, tmp_path, files)
    del want[None, None]
    assert {r[:2] for r in rows} == want.keys()
    for method, route, _, errors, *exact in rows:
        longest, shortest, wrong = db.execute(
            "select max(latency_ns), min(latency_ns), count(*) filter (where status >= 500 or aborted) from requests "
            "where method = ? and route = ?", [method, route]).fetchall()[0]  # fmt: skip
        told_of = [min(longest, max(shortest, bucket_middle(v))) for v in exact]
        assert told_of == pytest.approx(want[method, route][1:], rel=1e-12) and errors == wrong


def test_each_bound_of_a_bucket_is_met(tmp_path):
    """Up to a day in ns the query's bucket is that of whole numbers, at each bucket's last integer and the next one."""
    bounds = host_traces.bounds(47)
    values = sorted({v + more for v in bounds for more in (0, 1)} | {0})
    values = [v for v in values if v <= 24 * 3600 * SECOND]
    db = duckdb.connect()
    db.execute("create table requests as select null::varchar as host, null::varchar as label, 'GET' as method, '/' as route, "
               "now() as time, unnest(?) as latency_ns", [values])  # fmt: skip
    db.execute((EXAMPLES / "histogram.sql").read_text())
    rows = db.sql("select bucket, shortest, longest from histogram").fetchall()
    assert len(rows) > 10_000
    for bucket, shortest, longest in rows:
        assert {bisect_left(bounds, v) if v else -1 for v in (shortest, longest)} == {bucket}, (bucket, shortest, longest)


# ---- the page ----


SERVER = """#!{python}
# Serves three requests, its own.
import http.server, threading, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for i in range(3):
    urllib.request.urlopen("http://127.0.0.1:%d/" % server.server_port).read()
server.shutdown()
"""


@pytest.fixture(scope="module")
def page(files, tmp_path_factory):
    """The folder in which README.md's commands have run: a recording on "each host", then where traces come together."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / "bin").mkdir()
    (folder / "bin/reqscope").symlink_to(REQSCOPE)
    (folder / "bin/gunicorn").write_text(SERVER.format(python=sys.executable))
    (folder / "bin/gunicorn").chmod(0o755)
    write_traces(folder / "traces")
    env = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    for command in host_traces.blocks("sh"):
        subprocess.run(["bash", "-euc", command], cwd=folder, env=env, check=True, timeout=60)
    return folder


def test_commands_of_the_page(page):
    (recorded,) = page.glob("shop-*.rqs")
    out = page / "recorded.parquet"
    run("export", "--format", "parquet", "-o", out, recorded)
    rows = ask_duckdb(f"select host, label, count(*) from '{out}' group by all")
    assert rows == [(os.uname().nodename, "shop", 3)]
    db = connect()
    db.execute(f"create view requests as from read_parquet('{page}/lake/*/*.parquet')")
    ((first, count),) = db.sql("select min(time)::varchar, count(*) from requests").fetchall()
    assert first.startswith("2026-01-01 00:00:00") and 0.5 < count / (len(RECORDINGS) * 1500) < 0.7


def test_sql_of_the_page(page, tmp_path, monkeypatch):
    """Of one day, which is a part of each trace, and of one service."""
    monkeypatch.chdir(page)
    db = duckdb.connect()
    (text,) = host_traces.blocks("sql")
    view, query = text.split(";\n")
    db.execute(view)
    rows = db.sql(query).fetchall()
    assert sorted(r[0] for r in rows) == ["web-1", "web-2", "web-3"]
    for host, count, errors, p99 in rows:
        (file,) = [page / f"traces/{i}.rqs" for i, names in enumerate(RECORDINGS) if names == (host, "shop")]
        window = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")
        want = told(REQSCOPE, tmp_path, [file], *window)[None, None]
        assert 800 < want[0] <= count < 1100 and 0 < errors < count / 2
        assert p99 * 1e6 == pytest.approx(want[3], rel=2 ** (1 / 512) - 1)


def test_python_of_the_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(page)
    (text,), printed = host_traces.blocks("python"), []
    exec(text, {"print": printed.append})
    files = [page / f"traces/{i}.rqs" for i in range(len(RECORDINGS))]
    window = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")
    check_percentiles(printed[0].fetchall(), expected(REQSCOPE, tmp_path, files, *window))


@pytest.mark.parametrize("more, status, message", [(0, 0, "no end frame"), (20, 2, "offset")])
def test_a_trace_that_is_being_recorded(files, tmp_path, more, status, message):
    """What is there is exported, also of a copy that ends within a frame."""
    data = files[0].read_bytes()
    (tmp_path / "live.rqs").write_bytes(data[: data.rindex(b"RQSF") + more])
    _, err = run("export", "--format", "parquet", "-o", tmp_path / "live.parquet", tmp_path / "live.rqs", status=status)
    assert message in err
    assert ask_duckdb(f"select count(*) from '{tmp_path}/live.parquet'") == [(1500,)]
