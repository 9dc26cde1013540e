"""`export`, read back by what others read it with: pyarrow, DuckDB, csv, Prometheus' and OpenTelemetry's own parsers."""

import csv
import io
import json
import math
import random
import resource
import signal
import subprocess
from collections import Counter, defaultdict

import pyarrow.parquet
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from reqscope_cli import COUNTS, REQSCOPE, TIMES, ask_duckdb, one_line, report, run

import make_trace as make
from make_trace import END, REALTIME, SECOND, START, Request, json_frame, requests_frame, run_frame, totals, trace

FORMATS = ("parquet", "csv", "hgrm", "openmetrics", "otlp")
METRICS = {**{name: name + "_ns" for name in TIMES}, **{name: name for name in COUNTS}}


def make_requests(n, seed=1):
    """Requests with everything in them: nulls, aborted ones, two processes, many values."""
    dice, found = random.Random(seed), []
    for i in range(n):
        aborted = dice.random() < 0.05
        found.append(Request(
            START + i * 500_000 + dice.randrange(1000),
            method=dice.choice(("GET", "POST")),
            route=dice.choice(("/", "/users/{}", "/a/b")),
            status=dice.choice((200, 200, 201, 404, 500)) if dice.random() < 0.97 else 0,
            queue=dice.choice((None, dice.randrange(100_000))),
            handler=int(dice.lognormvariate(13, 1)),
            send=None if aborted else dice.randrange(50_000),
            aborted=aborted,
            process=dice.randrange(2),
            request_bytes=dice.randrange(100, 400),
            response_bytes=int(dice.lognormvariate(8, 2)),
            more={
                "alloc_bytes": dice.choice((None, dice.randrange(10**6))),
                "alloc_count": dice.choice((None, dice.randrange(100))),
                "cpu_time": dice.randrange(10**7),
            },
        ))  # fmt: skip
    return found


def value(request, name):
    """What a table must have of a request."""
    if name == "latency":
        return request.latency
    if name in TIMES:
        return request.recorded(name)
    return getattr(request, name) if hasattr(request, name) else request.more.get(name)


def text_of(time):
    return REALTIME + (time - time % 1000 - START)


@pytest.fixture(scope="module")
def made():
    return make_requests(8_000)


@pytest.fixture(scope="module")
def file(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "app.rqs"
    path.write_bytes(trace(made, rows=1500, runtime="go", label="app", host={"name": "web-1", "kernel": "6.1.0"}))
    return path


@pytest.fixture(scope="module")
def table(file):
    """The Parquet file of the trace."""
    path = file.with_suffix(".parquet")
    run("export", "--format", "parquet", "-o", path, file)
    return path


# ---- Parquet ----


def rows_of(path):
    return pyarrow.parquet.read_table(path).to_pylist()


def test_parquet_rows_are_the_requests(made, table, file):
    at = START - START % 1000
    times = pyarrow.parquet.read_table(table, columns=["time"])["time"].cast("int64").to_pylist()
    assert times == [text_of(r.time) // 1000 for r in made] and at == START
    for row, r in zip(rows_of(table), made, strict=True):
        assert row["trace"] == str(file) and row["label"] == "app" and row["runtime"] == "go" and row["host"] == "web-1"
        assert (row["method"], row["route"], row["status"]) == (r.method, r.route, r.status or None)
        assert (row["pid"], row["aborted"]) == (1000 + r.process, r.aborted)
        origin = None if r.latency is None else "read" if r.queue is None else "kernel"
        assert row["latency_from"] == origin
        assert {c: row[c] for c in METRICS.values()} == {c: value(r, n) for n, c in METRICS.items()}


def test_parquet_schema_and_statistics(made, table):
    file = pyarrow.parquet.ParquetFile(table)
    assert file.metadata.metadata[b"reqscope.schema"] == b"reqscope.requests/2"
    assert file.metadata.created_by == "reqscope version 0.1.0"
    types = {f.name: str(f.type) for f in file.schema_arrow}
    assert types["time"] == "timestamp[us, tz=UTC]" and types["route"] == "string" and types["aborted"] == "bool"
    assert types["latency_ns"] == types["status"] == "int64"
    assert [f.name for f in file.schema_arrow if not f.nullable] == ["trace", "method", "route", "aborted"]
    group = file.metadata.row_group(0)
    for i in range(group.num_columns):
        column = group.column(i)
        values = file.read(columns=[column.path_in_schema])[column.path_in_schema]
        assert column.compression == "ZSTD" and column.statistics.null_count == values.null_count, column.path_in_schema
        if values.null_count < len(values) and types[column.path_in_schema] in ("int64", "string"):
            known = [v for v in values.to_pylist() if v is not None]
            assert (column.statistics.min, column.statistics.max) == (min(known), max(known))


@pytest.mark.parametrize("read", ["pyarrow", "duckdb"])
def test_parquet_agrees_with_the_report(file, table, read):
    """Counts and means of each route and metric exactly; quantiles within the report's bucket of 0.27 %."""
    names = ["method", "route", "aborted", "status", *METRICS.values()]
    if read == "pyarrow":
        rows = pyarrow.parquet.read_table(table, columns=names).to_pylist()
    else:
        found = ask_duckdb(f"select {', '.join(names)} from read_parquet(?)", str(table))
        rows = [dict(zip(names, row)) for row in found]
    by_route = defaultdict(list)
    for row in rows:
        by_route[row["method"], row["route"]].append(row)
    (whole,) = report(file)
    assert len(by_route) == len(whole["routes"]) == 6
    for route in whole["routes"]:
        mine = by_route[route["method"], route["route"]]
        assert len(mine) == route["requests"]
        for name, column in METRICS.items():
            check_metric(route[name], [r[column] for r in mine], 1e-9 if name in TIMES else 1)


def check_metric(told, values, unit):
    known = sorted(v for v in values if v is not None)
    if not known:
        assert told is None
        return
    assert told["count"] == len(known) and told["max"] == pytest.approx(known[-1] * unit, rel=1e-12)
    assert told["mean"] == pytest.approx(sum(known) / len(known) * unit, rel=1e-12)
    for name, q in (("p50", 50_000), ("p99", 99_000), ("p999", 99_900)):
        exact = known[-(-len(known) * q // 100_000) - 1]
        assert told[name] == pytest.approx(exact * unit, rel=2 ** (1 / 256) - 1), name


def test_duckdb_counts_nulls_and_knows_the_time(made, table):
    (counts,) = ask_duckdb(
        "select count(*), count(alloc_bytes), count(queue_ns), count(downstream_ns), count(status), "
        "epoch_ns(min(time)), count(*) filter (aborted) from read_parquet(?)", str(table))  # fmt: skip
    assert counts == (
        len(made), sum(r.more["alloc_bytes"] is not None for r in made), sum(r.queue is not None for r in made), 0,
        sum(r.status > 0 for r in made), text_of(made[0].time), sum(r.aborted for r in made),
    )  # fmt: skip


def test_parquet_of_several_row_groups_and_texts(tmp_path):
    """More rows than a group has, dictionaries that change from group to group, a page of one text and of many."""
    requests = [Request(START + i * 1000, route="/one" if i < 133_000 else f"/r/{i % 90}x", queue=i % 7 or None)
                for i in range(150_000)]  # fmt: skip
    path, out = tmp_path / "t.rqs", tmp_path / "t.parquet"
    path.write_bytes(trace(requests, rows=50_000))
    run("export", "--format", "parquet", "-o", out, path)
    file = pyarrow.parquet.ParquetFile(out)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sum(sizes) == 150_000 and len(sizes) == 2 and max(sizes) < 133_000
    assert file.read(columns=["route"])["route"].to_pylist() == [r.route for r in requests]
    sums = ask_duckdb("select sum(latency_ns), count(queue_ns) from read_parquet(?) where route <> '/one'", str(out))
    assert sums == [(sum(r.latency for r in requests[133_000:]), sum(r.queue is not None for r in requests[133_000:]))]


def test_a_folder_that_is_read_meanwhile_has_no_half_file(tmp_path, file):
    """Spark reads each file of a folder but the hidden ones. Here the export dies while it writes, by its limit of 4 KiB."""
    done = subprocess.run([REQSCOPE, "export", "--format", "parquet", "-o", tmp_path / "app.parquet", file],
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))  # fmt: skip
    (left,) = tmp_path.iterdir()
    assert done.returncode == -signal.SIGXFSZ and left.name.startswith(".app.parquet.")


def test_host_and_label_of_each_recording_outlive_a_merge(tmp_path, made):
    """merge, then export, has the rows of export, then union: also in several steps, and of recordings without names."""
    hosts = [("web-1", "shop"), ("web-2", "shop"), (None, None), ("web-1", "admin")]
    paths = []
    for i, (host, label) in enumerate(hosts):
        paths.append(tmp_path / f"{i}.rqs")
        clock = {"start_monotonic_ns": str(START + i * 77), "start_realtime_ns": str(REALTIME + i * 1_234_567)}
        paths[i].write_bytes(trace(made[i * 500 : i * 500 + 500], label=label, host={"name": host, "cpus": 2}, **clock))
    run("merge", "-o", tmp_path / "part.rqs", paths[2], paths[0])
    run("merge", "-o", tmp_path / "all.rqs", paths[3], tmp_path / "part.rqs", paths[1])
    tables = []
    for out, files in (("union", paths), ("merged", [tmp_path / "all.rqs"])):
        run("export", "--format", "parquet", "-o", tmp_path / out, *files)
        rows = [{k: v for k, v in r.items() if k != "trace"} for r in rows_of(tmp_path / out)]
        tables.append(sorted(rows, key=str))
    assert tables[0] == tables[1]
    found = Counter((r["host"], r["label"]) for r in tables[1])
    assert found == {host: 500 for host in hosts}


def test_several_files_are_told_apart(tmp_path, made):
    paths = [tmp_path / "a.rqs", tmp_path / "b,=.rqs"]
    paths[0].write_bytes(trace(made[:3000], label="a"))
    paths[1].write_bytes(trace(made[3000:4000]))
    out = tmp_path / "both.parquet"
    run("export", "--format", "parquet", "-o", out, *paths)
    rows = rows_of(out)
    assert Counter((r["trace"], r["label"]) for r in rows) == {(str(paths[0]), "a"): 3000, (str(paths[1]), None): 1000}
    text, _ = run("export", "--format", "csv", *paths)
    assert Counter(r["trace"] for r in read_csv(text)) == {str(paths[0]): 3000, str(paths[1]): 1000}
    metrics = families(run("export", "--format", "openmetrics", *paths)[0])
    totals = Counter()
    for s in metrics["reqscope_requests"].samples:
        totals[s.labels["trace"]] += s.value
    assert totals == {str(paths[0]): 3000, str(paths[1]): 1000}
    assert "is given twice" in one_line(run("export", "--format", "csv", paths[0], paths[0], status=2)[1])


@pytest.mark.parametrize("format", FORMATS)
def test_no_requests(tmp_path, format):
    path, out = tmp_path / "none.rqs", tmp_path / "out"
    path.write_bytes(trace([]))
    run("export", "--format", format, "-o", out, path)
    if format == "parquet":
        assert rows_of(out) == [] and ask_duckdb("select count(*) from read_parquet(?)", str(out)) == [(0,)]
    elif format == "csv":
        assert read_csv(out.read_text()) == []
    elif format == "hgrm":
        assert parse_hgrm(out.read_text())[1]["Total count"] == 0
    elif format == "openmetrics":
        assert out.read_text().endswith("# EOF\n") and families(out.read_text())
    else:
        assert out.read_text() == ""


def test_without_a_run_frame_there_is_no_time(tmp_path):
    path, out = tmp_path / "t.rqs", tmp_path / "t.parquet"
    path.write_bytes(requests_frame([Request(START)]))
    run("export", "--format", "parquet", "-o", out, path, status=2)
    (row,) = rows_of(out)
    assert (row["time"], row["pid"], row["runtime"], row["latency_ns"]) == (None, None, None, 1100)


# ---- CSV ----


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_csv_has_the_same_rows(made, file, table):
    text, err = run("export", "--format", "csv", file)
    assert not err and text.count("\r\n") == text.count("\n") == len(made) + 1
    rows = read_csv(text)
    times = pyarrow.parquet.read_table(table, columns=["time"])["time"].cast("int64").to_pylist()
    for row, same, time in zip(rows, rows_of(table), times, strict=True):
        assert int(row.pop("time_unix_ns")) // 1000 == time
        del same["time"]
        want = {k: "" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for k, v in same.items()}
        assert row == want


def test_csv_texts_are_no_formulas(tmp_path):
    """A spreadsheet would calculate them. Quotes, commas and line ends survive."""
    routes = ["=HYPERLINK(1)", "+1", "-2", "@x", "/a,b", '/say "x"', "/two\r\nlines", "/plain", "/\x1b[31m"]
    path = tmp_path / "t.rqs"
    path.write_bytes(trace([Request(START + i, route=r) for i, r in enumerate(routes)], label="=1+1"))
    rows = read_csv(run("export", "--format", "csv", path)[0])
    assert [r["route"] for r in rows] == ["'" + r if r[0] in "=+-@" else r for r in routes]
    assert {r["label"] for r in rows} == {"'=1+1"}


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_no_text_is_valid_all_the_same(tmp_path, format):
    path, out = tmp_path / "t.rqs", tmp_path / "out"
    cols = [make.column("time", [0]), make.column("status", [200]), make.column("handler", [7]), make.column("send", [8])]
    data = make.columns(1, cols, [(0, b"/\xff\xc0\x80\xed\xa0\x80\x07")])
    path.write_bytes(run_frame() + make.frame(make.REQUESTS, data, START) + json_frame(END, totals([1], reason="exited"), START))
    run("export", "--format", format, "-o", out, path)
    if format == "parquet":
        (row,) = rows_of(out)
        assert row["route"].startswith("/\ufffd") and row["route"].endswith("\x07")
    elif format == "csv":
        assert read_csv(out.read_text())[0]["route"].startswith("/\ufffd")
    elif format == "openmetrics":
        assert families(out.read_text())["reqscope_requests"].samples[0].labels["http_route"].startswith("/\ufffd")
    elif format == "otlp":
        (point,) = otlp_metrics(out.read_text())["reqscope.requests"].sum.data_points
        assert attributes(point)["http.route"].startswith("/\ufffd") and attributes(point)["http.route"].endswith("\x07")
    else:
        assert parse_hgrm(out.read_text())[1]["Total count"] == 1


def test_a_number_that_no_table_can_hold_is_unknown(tmp_path):
    path, out = tmp_path / "t.rqs", tmp_path / "t.parquet"
    process = json_frame(make.PROCESS, {"process": 0, "pid": "-5", "start_monotonic_ns": str(START)}, START)
    path.write_bytes(run_frame() + process + requests_frame([Request(START)]) + json_frame(END, totals([1], reason="exited"), START))
    run("export", "--format", "parquet", "-o", out, path)
    (row,) = rows_of(out)
    assert row["pid"] is None


# ---- windows and routes ----


@pytest.mark.parametrize("format", FORMATS)
def test_window_and_route(file, made, tmp_path, format):
    """Those that --skip and --to leave, of one route."""
    out = tmp_path / "out"
    options = ("--skip", 1, "--to", "2026-01-01T00:00:03Z", "--route", "POST /users/{}")
    run("export", "--format", format, *options, "-o", out, file)
    first = min(r.time for r in made) // 1000 * 1000
    chosen = [r for r in made if first + SECOND <= r.time // 1000 * 1000 < START + 3 * SECOND
              and (r.method, r.route) == ("POST", "/users/{}")]  # fmt: skip
    timed = sum(r.latency is not None for r in chosen)
    assert 300 < timed < len(chosen) < 2000
    if format == "parquet":
        assert len(rows_of(out)) == len(chosen)
    elif format == "csv":
        assert len(read_csv(out.read_text())) == len(chosen)
    elif format == "hgrm":
        assert parse_hgrm(out.read_text())[1]["Total count"] == timed
    elif format == "openmetrics":
        found = families(out.read_text())
        assert sum(s.value for s in found["reqscope_requests"].samples) == len(chosen)
        assert {s.labels["http_route"] for s in found["reqscope_request_handler_seconds"].samples} == {"/users/{}"}
    else:
        found = otlp_metrics(out.read_text())
        assert sum(p.count for p in found["http.server.request.duration"].exponential_histogram.data_points) == timed
        (point,) = found["reqscope.request.handler"].exponential_histogram.data_points
        assert point.count == len(chosen)


# ---- HdrHistogram ----


def parse_hgrm(text):
    """(rows of numbers, the figures at the end), as HdrHistogram's own tools read them."""
    lines = text.splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"] and not lines[1]
    rows = [tuple(map(float, line.split())) for line in lines[2:] if not line.startswith("#")]
    figures = {}
    for line in lines:
        if line.startswith("#["):
            for part in line[2:-1].split(","):
                name, number = part.split("=")
                figures[name.strip()] = float(number)
    return rows, figures


def test_hgrm(file, made):
    rows, figures = parse_hgrm(run("export", "--format", "hgrm", file)[0])
    latencies = sorted(r.latency for r in made if r.latency is not None)
    n = len(latencies)
    assert figures["Total count"] == n and figures["Max"] == latencies[-1] / 1e6
    assert figures["Mean"] == pytest.approx(sum(latencies) / n / 1e6, abs=1e-6)
    deviation = math.sqrt(sum((v - sum(latencies) / n) ** 2 for v in latencies) / n) / 1e6
    assert figures["StdDeviation"] == pytest.approx(deviation, rel=0.003)
    assert len(rows) > 50 and rows == sorted(rows) and rows[-1][:3] == (latencies[-1] / 1e6, 1.0, n)
    for value_ms, part, count, *inverse in rows:
        rank = max(math.ceil(part * n - 1e-6), 1)
        assert value_ms * 1e6 == pytest.approx(latencies[rank - 1], rel=0.003)
        assert count >= rank and (not inverse or inverse[0] == pytest.approx(1 / (1 - part), abs=0.01))
    levels = [row[1] for row in rows]
    assert levels[:7] == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55]


# ---- OpenMetrics ----


def families(text):
    assert text.endswith("\n# EOF\n")
    return {f.name: f for f in text_string_to_metric_families(text)}


def test_openmetrics(file, made):
    found = families(run("export", "--format", "openmetrics", file)[0])
    duration = found["http_server_request_duration_seconds"]
    assert (duration.type, duration.unit) == ("histogram", "seconds")
    groups = defaultdict(list)
    for r in made:
        error = "aborted" if r.aborted else str(r.status) if r.status >= 500 else None
        groups[r.method, r.route, str(r.status) if r.status else None, error].append(r)
    seen = set()
    for s in duration.samples:
        key = tuple(s.labels.get(k) for k in
                    ("http_request_method", "http_route", "http_response_status_code", "error_type"))  # fmt: skip
        latencies = [r.latency for r in groups[key] if r.latency is not None]
        seen.add(key)
        if s.name.endswith("_bucket"):
            assert s.value == sum(v <= float(s.labels["le"]) * 1e9 for v in latencies)
        elif s.name.endswith("_count"):
            assert s.value == len(latencies)
        else:
            assert s.value == pytest.approx(sum(latencies) / 1e9, rel=1e-12)
    assert seen == {k for k, v in groups.items() if any(r.latency is not None for r in v)}
    assert sum(s.value for s in found["reqscope_requests"].samples) == len(made)


def test_openmetrics_of_other_metrics_and_processes(tmp_path, made):
    path = tmp_path / 't"\\\n.rqs'
    samples = [{"time": START + i * SECOND // 10, "rss": 1000 + i, "cpu_user": i * 1000, "cpu_system": 0} for i in range(9)]
    path.write_bytes(trace(made[:500], samples))
    found = families(run("export", "--format", "openmetrics", path)[0])
    allocs = [s for s in found["reqscope_request_alloc_bytes"].samples if s.name.endswith("_sum")]
    assert sum(s.value for s in allocs) == sum(r.more["alloc_bytes"] or 0 for r in made[:500])
    assert found["reqscope_request_cpu_time_seconds"].type == "summary" and "reqscope_request_allocs" in found
    (peak,) = [s for s in found["reqscope_process_rss_bytes"].samples if s.labels["statistic"] == "peak"]
    assert peak.value == 1008 and peak.labels["trace"] == str(path)
    states = {s.labels["state"]: s.value for s in found["reqscope_recording_requests"].samples}
    assert states["finished"] == 500 and states["dropped"] == 0
    assert "process_cpu_time_seconds" in found and "reqscope_request_downstream_seconds" not in found


# ---- OTLP ----


def otlp_metrics(text):
    """name -> Metric, read by OpenTelemetry's own definitions; unknown fields are errors."""
    found = {}
    for line in text.splitlines():
        (resource,) = json_format.Parse(line, ExportMetricsServiceRequest()).resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "reqscope"
        for metric in scope.metrics:
            assert metric.name not in found
            found[metric.name] = metric
    return found


def attributes(of):
    return {a.key: a.value.int_value if a.value.HasField("int_value") else a.value.string_value for a in of.attributes}


def exponential_index(v, scale=8):
    """Of the bucket (2^(i / 2^scale), 2^((i + 1) / 2^scale)] that has v."""
    return math.ceil(math.log2(v) * 2**scale - 1e-9) - 1


def buckets(point):
    return Counter({point.positive.offset + i: n for i, n in enumerate(point.positive.bucket_counts) if n})


def test_otlp(file, made):
    text, _ = run("export", "--format", "otlp", file)
    found = otlp_metrics(text)
    duration = found["http.server.request.duration"]
    assert duration.unit == "s" and duration.exponential_histogram.aggregation_temporality == 2
    groups = defaultdict(list)
    for r in made:
        error = {"error.type": "aborted"} if r.aborted else {"error.type": str(r.status)} if r.status >= 500 else {}
        status = {"http.response.status_code": r.status} if r.status else {}
        key = {"http.request.method": r.method, "http.route": r.route, **status, **error}
        groups[tuple(sorted(key.items()))].append(r)
    for point in duration.exponential_histogram.data_points:
        latencies = [r.latency for r in groups[tuple(sorted(attributes(point).items()))] if r.latency is not None]
        assert (point.count, point.scale, point.zero_count) == (len(latencies), 8, 0)
        assert point.sum == pytest.approx(sum(latencies) / 1e9) and point.max == max(latencies) / 1e9
        assert buckets(point) == Counter(exponential_index(v / 1e9) for v in latencies)
        assert START - REALTIME + point.start_time_unix_nano <= min(r.time for r in made)
        assert point.time_unix_nano > point.start_time_unix_nano >= REALTIME
    total = sum(p.count for p in duration.exponential_histogram.data_points)
    assert total == sum(r.latency is not None for r in made)
    counted = {tuple(sorted(attributes(p).items())): p.as_int for p in found["reqscope.requests"].sum.data_points}
    assert counted == {k: len(v) for k, v in groups.items()}


def test_otlp_of_other_metrics(file, made):
    found = otlp_metrics(run("export", "--format", "otlp", file)[0])
    for name, unit in (("cpu_time", "ns"), ("alloc_count", "1"), ("response_bytes", "By")):
        metric = found["reqscope.request." + name]
        assert metric.unit == unit
        for point in metric.exponential_histogram.data_points:
            of = attributes(point)
            values = [value(r, name) for r in made if (r.method, r.route) == (of["http.request.method"], of["http.route"])]
            values = [v for v in values if v is not None]
            assert (point.count, point.sum, point.zero_count) == (len(values), sum(values), values.count(0))
            assert buckets(point) == Counter(exponential_index(v) for v in values if v)
    assert "reqscope.request.downstream" not in found


def test_otlp_resource(file):
    for line in run("export", "--format", "otlp", file)[0].splitlines():
        (resource,) = json.loads(line)["resourceMetrics"]
        names = {a["key"]: a["value"] for a in resource["resource"]["attributes"]}
        assert names["service.name"] == {"stringValue": "app"} and names["reqscope.trace"] == {"stringValue": str(file)}
        assert names["process.runtime.name"] == {"stringValue": "go"} and names["os.version"] == {"stringValue": "6.1.0"}
        assert names["host.name"] == {"stringValue": "web-1"}


# ---- the command ----


def test_output_is_private_and_appears_whole_or_not_at_all(file, tmp_path):
    out = tmp_path / "out.csv"
    run("export", "--format", "csv", "-o", out, file)
    assert out.stat().st_mode & 0o777 == 0o600
    before = out.read_bytes()
    assert "exists; -f replaces it" in one_line(run("export", "--format", "csv", "-o", out, file, status=2)[1])
    run("export", "--format", "csv", "-f", "-o", out, tmp_path / "none.rqs", status=2)
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]
    run("export", "--format", "hgrm", "-f", "-o", out, file)
    assert out.read_bytes() != before


def test_a_pipe_can_be_exported(file, table, tmp_path):
    out = tmp_path / "p.parquet"
    run("export", "--format", "parquet", "-o", out, "/dev/stdin", stdin=file.read_bytes())
    strip = [{k: v for k, v in r.items() if k != "trace"} for r in rows_of(table)]
    assert [{k: v for k, v in r.items() if k != "trace"} for r in rows_of(out)] == strip


@pytest.mark.parametrize("args, says", [
    ([], "which --format?"),
    (["--format", "xml", "t.rqs"], "no format 'xml'; there are parquet, csv, hgrm, openmetrics, otlp"),
    (["--format", "csv"], "which trace?"),
    (["--format", "csv", "--skip", "x", "t.rqs"], "--skip takes seconds"),
    (["--format"], "'--format' needs a value"),
    (["--colour", "t.rqs"], "unknown option '--colour'"),
])  # fmt: skip
def test_mistakes(args, says):
    assert says in one_line(run("export", *args, status=2)[1])


def test_nothing_binary_on_a_terminal(file):
    """script(1) gives the command a terminal."""
    done = subprocess.run(["script", "-qec", f"{REQSCOPE} export --format parquet {file}", "/dev/null"],
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 2 and b"nothing for a terminal; give a file with -o" in done.stdout
    assert b"PAR1" not in done.stdout


def test_truncated_is_exported_with_a_warning(tmp_path, made):
    path = tmp_path / "t.rqs"
    path.write_bytes(trace(made[:100], end=False))
    out, err = run("export", "--format", "csv", path)
    assert "no end frame" in one_line(err) and len(read_csv(out)) == 100
    path.write_bytes(run_frame() + requests_frame(made[:10]) + requests_frame(made[10:20])[:-5])
    out, err = run("export", "--format", "csv", path, status=2)
    assert "ends inside a frame" in one_line(err) and len(read_csv(out)) == 10
