"""The sentences of `make table`'s three questions turn round when the numbers do. Numbers here are made up."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))

import answers  # noqa: E402


def against(times, sure=True):
    return {"throughput": {"times": times, "low": times, "high": times, "sure": sure}}


def one_core(throughput, cpu, times=1.0, *, sure=True, cores=0.98, cpu_time=None, gil_wait=None, alloc=None):
    latency = 64 / throughput
    own = cpu if cpu_time is None else cpu_time
    return {
        "throughput": throughput, "cpu": cpu, "cores": cores, "latency": latency, "queue": 0.9 * latency, "handler": own + (gil_wait or 0),
        "send": 0.0, "cpu_time": own, "sched_wait": None, "gil_wait": gil_wait, "alloc_bytes": alloc,
        "alloc_count": alloc and alloc / 100, "against": against(times, sure),
    }  # fmt: skip


def lead(*sides):
    return " ".join(answers.lead(dict(sides), 64))


GO = ("Go", one_core(20_000, 50e-6, alloc=4_000))


def test_a_lead_that_is_cpu():
    said = lead(GO, ("Py", one_core(4_000, 245e-6, 0.2, alloc=60_000)))
    assert "On one core Go answers 20,000 requests a second: 5.0 times as many as Py." in said
    assert "The difference is CPU a request: 50.0 µs for Go, 4.9 times for Py (245 µs). All keep their core busy" in said
    assert "0.05 with Go and 0.24 with Py" in said or "0.05 with Go and 0.25 with Py" in said
    assert "Py 15 times the bytes in 15 times the allocations" in said


def test_a_lead_that_is_none():
    said = lead(GO, ("Py", one_core(40_000, 25e-6, 2.0, alloc=2_000)))
    assert "0.50 times as many as Py" in said
    assert "0.50 times for Py (25.0 µs)" in said
    assert "Py 0.50 times the bytes" in said


def test_chance_is_no_lead():
    said = lead(GO, ("Py", one_core(19_000, 52e-6, 0.95, sure=False)))
    assert "Whether Go answers more than Py (1.05 times) can't be told from chance." in said
    assert "difference is CPU" not in said
    assert "times (~) as many as Py" in lead(GO, ("Py", one_core(4_000, 245e-6, 0.2, sure=None)))


def test_an_idle_core_is_told_from_cpu():
    said = lead(GO, ("Py", one_core(4_000, 100e-6, 0.2, cores=0.4)))
    assert "For Py CPU a request is 2.0 times Go's (100 µs), which makes 43 % of the difference" in said
    assert "the rest is that it uses 0.40 of its core, Go 0.98" in said
    assert "which makes nothing of the difference" in lead(GO, ("Py", one_core(4_000, 40e-6, 0.2, cores=0.16)))
    assert "They don't keep their core busy (0.40 to 0.40 of it)" in lead(
        ("Go", one_core(8_000, 50e-6, cores=0.4)), ("Py", one_core(2_000, 200e-6, 0.25, cores=0.4))
    )


def test_what_a_request_waits_for():
    assert "a request mostly waits for others: its own CPU is 2 % of 3.20 ms in Go (most: the queue," in lead(GO, ("Py", one_core(4_000, 245e-6, 0.2)))
    said = lead(GO, ("Py", one_core(4_000, 245e-6, 0.2, cpu_time=14e-3, gil_wait=7e-3)))
    assert "In Py a request's latency is mostly its own CPU: 88 %." in said
    assert "Waiting for the GIL, also of what comes behind the first byte, takes 33 % of Py's time in the handler." in said
    assert "GIL" not in lead(GO, ("Py", one_core(4_000, 245e-6, 0.2, gil_wait=0.0)))


def asked(database, latency, *, times=1.0, cores=0.99, cpu=1e-3, queue=0.1, throughput=1_000):
    return {
        "throughput": throughput, "latency": latency, "queue": queue * latency, "cores": cores, "cpu": cpu,
        "db": {"latency": database, "in_flight": 3.0}, "against": against(times),
    }  # fmt: skip


def database(few, many, threads=None):
    """few and many: Python's latencies with a database of 1 and of 20 ms."""
    go = {1: asked(1e-3, 1.1e-3), 20: asked(20e-3, 21e-3)}
    numbers = {
        clients: {ms: {"Go": go[ms], "Py": py} for ms, py in zip((1, 20), side)} for clients, side in ((4, few), (64, many))
    }
    return " ".join(answers.database(numbers, ["Py"], {"Go": 1, "Py": 1}, threads or {}))


def test_database_or_python():
    slow = asked(1e-3, 60e-3, times=0.1), asked(20e-3, 61e-3, times=0.3)
    quick = asked(1e-3, 1.5e-3), asked(20e-3, 21e-3)
    said = database((asked(1e-3, 4e-3), asked(20e-3, 24e-3)), slow)
    assert "depends on the load. Py: with 4 connections from 20 ms on and with 64 connections at none of these times." in said
    assert "With 64 connections the database is the larger part of a request from 1 ms on for Go, at none of these times for Py." in said
    assert "At 20 ms Py answers 1,000/s with 3.0 of 64 requests at the database at a time and 0.99 of its core used" in said
    assert "1.00 ms of CPU a request are the limit, until a database takes some 64.0 ms" in said
    assert "Of Go's requests a second Py answers with 64 connections 0.10 times at 1 ms and 0.30 times at 20 ms." in said
    assert "holds in all that was measured" in database(quick, quick)
    assert "are the limit" not in database(quick, quick)
    assert "holds in nothing that was measured" in database(slow, slow)


def test_what_is_the_limit_instead():
    quick = asked(1e-3, 1.5e-3), asked(20e-3, 21e-3)
    threads = asked(20e-3, 320e-3, cores=0.3, queue=0.9)
    assert "90 % of the latency is the queue for its 4 threads." in database(quick, (threads, threads), {"Py": 4})
    assert "90 % of the latency is the queue, until it reads the request." in database(quick, (threads, threads))
    other = asked(20e-3, 320e-3, cores=0.3, queue=0.1)
    assert "neither its CPU nor its queue" in database(quick, (other, other))


def flask(times, *, handler=1e-3, gil_wait=0.0, cpu=1e-3, wait_times=1.0, mixed=5.1e-3, sure=True):
    return {
        "cpu": {"against": against(times, sure), "handler": handler, "gil_wait": gil_wait, "cpu": cpu},
        "wait": {"against": against(wait_times), "handler": 5e-3},
        "mixed": {"handler": mixed, "gil_wait": gil_wait},
    }


def gil(eight, two=None):
    numbers = {"1 thread": flask(1.0), "8 threads": eight} | ({"2 processes": two} if two else {})
    return " ".join(answers.gil(numbers, {"1 thread": 1, "8 threads": 8}, "2 processes", 5))


def test_threads_that_help_nothing():
    said = gil(flask(0.98, handler=8e-3, gil_wait=6.8e-3, cpu=1.1e-3, wait_times=7.8, mixed=20e-3), flask(1.9))
    assert "8 threads answer no more requests that compute than one does (0.98 times as many), 2 processes 1.90 times as many." in said
    assert "With 8 threads each waits for the GIL for 6.80 ms against 8.00 ms in the handler (85 %), with 1 thread less than 1 %" in said
    assert "CPU a request changes by +10 %" in said
    assert "8 threads answer 7.8 times as many as one: who waits doesn't need the GIL." in said
    assert "one that waits for 5 ms takes longer in the handler: 20.0 ms with 8 threads (5.00 ms without them; 6.80 ms for the GIL)" in said


def test_threads_that_help():
    said = gil(flask(7.5, wait_times=3.0))
    assert "8 threads answer 7.5 times as many requests that compute as one." in said
    assert "8 threads answer 3.0 times as many as one, not 8 times." in said
    assert "is not held up" in said
    assert "fewer requests that compute than one (0.50 times as many)" in gil(flask(0.5))
    assert "no more requests that compute than one does (1.40 times (~) as many)" in gil(flask(1.4, sure=False))
    assert "threads don't help them either" in gil(flask(1.0, wait_times=1.0))
    unmeasured = flask(1.0, gil_wait=None)
    assert "was not measured" in gil(unmeasured)


def test_too_little():
    assert answers.lead(dict([GO]), 64) == ["Only one server was measured: nothing to compare it with."]
    assert "nothing to compare" in answers.gil({"8 threads": flask(1.0)}, {"1 thread": 1, "8 threads": 8}, None, 5)[0]
