"""A request's time on a CPU and its wait for one, as Go's scheduler gave it; never asserted but against each other."""

from dataclasses import dataclass

import load
import pytest
from go_servers import column, median, quantile
from read_trace import Trace
from recording import ended_trace, recorded, report

SPIN_MS, SLEEP_MS = 2, 20
SPIN, SLEEP = SPIN_MS * 1_000_000, SLEEP_MS * 1_000_000  # ns, what the handlers themselves wait by their own clock
QUANTISATION = 2**-9

COLUMNS = ("cpu_time", "sched_wait", "children_cpu_time")


@dataclass
class Recording:
    trace: Trace
    report: dict

    def times(self, route: str) -> list[tuple[int, int, int, int]]:
        """cpu, wait, children's cpu, and all from the read to the last byte, of each request."""
        own = [request for request in self.trace.requests if request.route == route]
        return [(*(request.values[name] for name in COLUMNS), request.handler + request.send) for request in own]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """32 at once, more than any machine's test has CPUs to spare for, of each kind in turn."""
    path = tmp_path_factory.mktemp("sched") / "trace.rqs"
    with recorded("nethttp", path, "run", env={"GOMAXPROCS": "2"}) as server:
        for work, count in ((f"/spin?ms={SPIN_MS}", 640), (f"/sleep?ms={SLEEP_MS}", 320), ("/json", 640)):
            assert load.fixed(server.url + work, count, clients=32).succeeded == count
        assert load.fixed(server.url + f"/children/spin?ms={SPIN_MS}", 100, clients=1).succeeded == 100
        assert load.fixed(server.url + "/pull?k=20000", 50, clients=1).succeeded == 50
    return Recording(ended_trace(path), report(path))


def assert_two_milliseconds(cpu: list, times=1):
    """What else the machine does can only add to it: a thread that the kernel keeps waiting runs, for Go."""
    assert 0.9 * times * SPIN <= quantile(cpu, 0.25) <= 1.5 * times * SPIN


def test_spinners_run_as_long_as_they_spin(loaded):
    assert_two_milliseconds([times[0] for times in loaded.times("/spin")])


def test_spinners_wait_for_each_other(loaded):
    """32 on two CPUs: most of a handler's time is spent ready to run; running and that are nearly all of it."""
    times = loaded.times("/spin")
    assert median([wait for _, wait, _, _ in times]) > 2 * SPIN
    # The last write is the request's, too, but an answer counts from when it began.
    assert 0.9 <= median([(cpu + wait) / whole for cpu, wait, _, whole in times]) <= 1.05


def test_sleepers_neither_run_nor_wait(loaded):
    times = loaded.times("/sleep")
    assert min(whole for *_, whole in times) >= SLEEP * (1 - QUANTISATION)
    assert median([(cpu + wait) / whole for cpu, wait, _, whole in times]) < 0.2


def test_children_run_apart(loaded):
    """Two goroutines that spin, and a handler that waits for them."""
    times = loaded.times("/children/spin")
    assert_two_milliseconds([children for _, _, children, _ in times], times=2)
    assert median([cpu for cpu, *_ in times]) < 0.25 * SPIN
    assert median([children for _, _, children, _ in loaded.times("/spin")]) < 0.25 * SPIN


def test_a_coroutine_runs_in_its_callers_time(loaded):
    """iter.Pull: neither twice nor as a child's."""
    times = loaded.times("/pull")
    busy = [(cpu + wait) / whole for cpu, wait, _, whole in times]
    # A part of it is lost where a collection of garbage meets a switch.
    assert quantile(busy, 0.5) <= 1.05 and quantile(busy, 0.9) >= 0.8
    assert median([children / whole for _, _, children, whole in times]) < 0.2


def test_reports_have_them(loaded):
    routes = {route["route"]: route for route in loaded.report["routes"]}
    spin = routes["/spin"]
    assert spin["cpu_time"]["count"] == spin["sched_wait"]["count"] == spin["requests"] == 640
    nanoseconds = median([times[0] for times in loaded.times("/spin")])
    assert spin["cpu_time"]["p50"] == pytest.approx(nanoseconds / 1e9, rel=0.05)
    assert routes["/children/spin"]["children_cpu_time"]["p50"] > routes["/children/spin"]["cpu_time"]["p50"]


@pytest.mark.parametrize("name", ("gin", "fiber"))
def test_frameworks(name, trace):
    with recorded(name, trace, "run", env={"GOMAXPROCS": "2"}) as server:
        assert load.fixed(f"{server.url}/spin?ms={SPIN_MS}", 320, clients=32).succeeded == 320
        assert load.fixed(f"{server.url}/sleep?ms={SLEEP_MS}", 160, clients=32).succeeded == 160
    seen = ended_trace(trace)
    assert_two_milliseconds(column(seen, "/spin", "cpu_time"))
    assert median(column(seen, "/spin", "sched_wait")) > 2 * SPIN
    busy = [cpu + wait for cpu, wait in zip(column(seen, "/sleep", "cpu_time"), column(seen, "/sleep", "sched_wait"))]
    assert median(busy) < 0.2 * SLEEP


def test_switched_off(trace):
    """No times then; which goroutines a request started is still known."""
    with recorded("nethttp", trace, "run", run_options=["--no-sched"]) as server:
        urls = [server.url + path for path in ("/slices/a?k=000", "/children?k=008")]
        assert load.fixed(urls, 400, clients=16).succeeded == 400
    seen = ended_trace(trace)
    assert {request.values[name] for request in seen.requests for name in COLUMNS} == {None}
    more = [value - median(column(seen, "/slices/a", "alloc_bytes")) for value in column(seen, "/children", "alloc_bytes")]
    assert median(more) >= 80_000 and quantile(more, 0.01) > 79_500
    told = report(trace)
    assert told["routes"][0]["cpu_time"] is None and told["routes"][0]["sched_wait"] is None
