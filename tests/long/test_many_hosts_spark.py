"""Requests of many hosts queried by Spark, as README.md shows it: percentiles are those of `reqscope merge`."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import time
from bisect import bisect_left
from pathlib import Path

import duckdb
import pytest

import host_traces
from host_traces import QUANTILES, expected, told, write_traces
from make_trace import SECOND

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
REQSCOPE = BUILD / "reqscope"
SPARK = ROOT / "build/spark"
REQUESTS = int(os.environ.get("RQS_SPARK_REQUESTS", "6000000"))
WINDOW = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")


def export(out, *files):
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([REQSCOPE, "export", "--format", "parquet", *WINDOW, "-o", out, *files], check=True)


@pytest.fixture
def place(tmp_path):
    """A folder where the page's commands can run, and Spark leaves what it leaves."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/spark-defaults.conf").write_text(
        f"spark.ui.enabled false\nspark.local.dir {tmp_path}\nspark.sql.warehouse.dir {tmp_path}/warehouse\n"
        f"spark.driver.extraJavaOptions -Djava.io.tmpdir={tmp_path}\n"
    )
    return tmp_path


def spark(place, command):
    """(rows, what it took): what a command prints; time, CPU time and the most memory of its Java process."""
    env = {
        **os.environ, "SPARK_CONF_DIR": str(place / "conf"), "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(SPARK),
        "SPARK_HOME": str(SPARK / "pyspark"), "PYSPARK_PYTHON": sys.executable,
        "PATH": f"{SPARK}/pyspark/bin:{os.environ['PATH']}",
    }  # fmt: skip
    with open(place / "out", "w+") as out, open(place / "err", "w+") as err:
        start = time.monotonic()
        process = subprocess.Popen(["timeout", "900", "bash", "-euc", "exec " + command], cwd=place, env=env, stdout=out,
                                   stderr=err)  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - start
        out.seek(0)
        err.seek(0)
        assert process.returncode == 0, err.read()[-5000:]
        cpu = used.ru_utime + used.ru_stime
        return list(csv.reader(io.StringIO(out.read())))[1:], f"{took:.1f} s, {cpu:.0f} s of CPU, {used.ru_maxrss >> 10} MiB"


def command_of_the_page():
    return re.search(r"`(spark-submit [^`]+)`", host_traces.page())[1]


def check(rows, want):
    """Those of percentiles.sql; in CSV a group's null is '', as is what a recording doesn't say. The latter are left out."""
    found = {}
    for row in rows:
        found.setdefault(tuple(v or None for v in row[:4]), []).append([float(v) for v in row[4:]])
    want = {k: v for k, v in want.items() if "" not in k}
    assert found.keys() == want.keys() and len(want) > 10
    for group, known in found.items():
        assert any(row == pytest.approx(want[group], rel=1e-14) for row in known), group
    return len(want)


def test_percentiles_are_those_of_merge(place):
    files = write_traces(place / "traces")
    export(place / "lake/date=2026-01-01/requests.parquet", *files)
    rows, _ = spark(place, command_of_the_page())
    check(rows, expected(REQSCOPE, place, files, *WINDOW))


def test_histograms_add_up_and_ranks_are_exact(place):
    """The histogram of half the hosts, then that of the others added to it; and what Spark itself finds."""
    files = write_traces(place / "traces")
    for i, part in enumerate((files[::2], files[1::2])):
        subprocess.run([REQSCOPE, "merge", "-o", place / f"{i}.rqs", *part], check=True)
        export(place / f"half-{i}/requests.parquet", place / f"{i}.rqs")
        rows, _ = spark(place, f"{command_of_the_page().removesuffix(' lake')} half-{i} --histogram histogram")
    # Of /moved one half knows no name: its requests there are (unmatched).
    want = {k: v for k, v in expected(REQSCOPE, place, files, *WINDOW).items() if k[3] not in ("/moved", "(unmatched)")}
    check([r for r in rows if r[3] not in ("/moved", "(unmatched)")], want)
    export(place / "lake/requests.parquet", *files)
    rows, _ = spark(place, command_of_the_page() + " --exact")
    db = duckdb.connect()
    db.execute(f"create view requests as from read_parquet('{place}/lake/requests.parquet')")
    same = db.sql((ROOT / "tests/many_hosts/exact.sql").read_text()).fetchall()
    assert [[*r[:2], *map(float, r[2:])] for r in rows] == [[*r[:2], *map(float, r[2:])] for r in same] and len(same) > 20


def test_each_bound_of_a_bucket_is_met(place):
    bounds = host_traces.bounds(47)
    values = sorted({v + more for v in bounds for more in (0, 1)} | {0})
    values = [v for v in values if v <= 24 * 3600 * SECOND]
    db = duckdb.connect()
    (place / "lake").mkdir()
    db.execute("create table requests as select null::varchar as host, null::varchar as label, 'GET' as method, '/' as route, "
               "now() as time, unnest(?) as latency_ns", [values])  # fmt: skip
    # Not snappy, whose library for Java takes a machine that has musl, too, for one that has nothing else.
    db.execute(f"copy requests to '{place}/lake/requests.parquet' (compression zstd)")
    spark(place, command_of_the_page() + " --histogram histogram")
    rows = db.sql(f"select bucket, shortest, longest from read_parquet('{place}/histogram/*.parquet')").fetchall()
    assert len(rows) > 10_000
    for bucket, shortest, longest in rows:
        assert {bisect_left(bounds, v) if v else -1 for v in (shortest, longest)} == {bucket}, (bucket, shortest, longest)


def timed(name, call):
    start = time.monotonic()
    result = call()
    print(f"{name}: {time.monotonic() - start:.1f} s")
    return result


def test_millions_of_requests(place):
    """Three hosts' traces in folders of their own; time and memory are printed."""
    files = [place / f"web-{i}.rqs" for i in range(3)]
    for i, file in enumerate(files):
        subprocess.run([BUILD / "bench/gen_trace", file, str(REQUESTS // 3), str(i + 1)], check=True)
    print(f"{REQUESTS // 3 * 3:,} requests, {sum(f.stat().st_size for f in files) / 1e6:.0f} MB of traces")
    timed("reqscope export", lambda: [export(place / f"lake/host={f.stem}/requests.parquet", f) for f in files])
    print(f"Parquet: {sum(p.stat().st_size for p in place.glob('lake/*/*.parquet')) / 1e6:.0f} MB")
    whole = timed("reqscope merge and report", lambda: told(REQSCOPE, place, files, *WINDOW))
    want = {(None, None, *k): v for k, v in whole.items()}
    want |= {(f.stem, None, None, None): told(REQSCOPE, place, [f], *WINDOW)[None, None] for f in files}
    rows, took = spark(place, command_of_the_page() + " --histogram histogram")
    groups = check(rows, want)
    print(f"Spark, histogram and percentiles: {took}; all of {groups} groups equal to merge's")
    buckets = duckdb.sql(f"select count(*), sum(requests) from '{place}/histogram/*.parquet'").fetchall()[0]
    assert buckets[1] == whole[None, None][0]
    print(f"histogram: {buckets[0]:,} rows, {sum(p.stat().st_size for p in place.glob('histogram/*.parquet')) / 1e6:.2f} MB")
    exact, took = spark(place, command_of_the_page() + " --exact")
    print(f"Spark, exact: {took}")
    for method, route, _, _, *values in exact:
        assert [float(v) for v in values] == pytest.approx(whole[method, route][1:], rel=2 ** (1 / 512) - 1)
    timed("DuckDB, histogram and percentiles", lambda: by_duckdb(place, want))
    shutil.rmtree(place / "lake")


def by_duckdb(place, want):
    db = duckdb.connect()
    db.execute(f"create view requests as from read_parquet('{place}/lake/*/*.parquet')")
    db.execute((ROOT / "tests/many_hosts/histogram.sql").read_text())
    rows = db.sql((ROOT / "tests/many_hosts/percentiles.sql").read_text()).fetchall()
    assert len(rows[0]) == 5 + len(QUANTILES)
    check([[v or "" for v in r] for r in rows], want)
