"""A request's time on a CPU, its wait for the GIL and for the event loop, against what the servers' own threads see."""

import time
from concurrent.futures import ThreadPoolExecutor

import load
import pytest
import raw_client
from go_servers import ask, column, median
from python_servers import assert_sums
from raw_client import Connection
from recording import ended_trace, recorded, report

MS = 1_000_000  # ns
QUANTISATION = 2**-9
BUSY = 5 * MS  # what a request may take beside its work, on a busy machine

# Their requests run on threads of their own, or all on one loop's.
THREADED = ("threaded", "flask-gthread", "flask-cheroot", "django-dev")
LOOPS = ("asyncio", "fastapi-asyncio", "fastapi-uvloop", "aiohttp", "tornado")


def contend(name: str, trace, ms: int, times: int) -> list[tuple[float, float, float]]:
    """Of requests that spin beside three threads: GIL wait by the agent, by the thread itself, and with waits for a CPU."""
    with recorded(name, trace, "run") as server:
        seen = [ask(server, f"/contended?ms={ms}") for _ in range(times)]
    measured = column(ended_trace(trace), "/contended", "gil_wait")
    assert len(measured) == times
    return [(ns / 1e9, own["gil_wait"], own["gil_wait"] + own["run_delay"]) for ns, own in zip(measured, seen)]


@pytest.mark.parametrize("name", (*THREADED[:2], *LOOPS[:3]))
def test_four_threads_spin(name, trace):
    """Three quarters of the time is waited for; a wait may or may not have in it what the thread then waits for a CPU."""
    for measured, least, most in contend(name, trace, ms=400, times=3):
        assert least > 0.02  # on a busy machine they wait for a CPU, too
        assert 0.9 * least <= measured <= 1.1 * most


@pytest.mark.parametrize("name", THREADED)
def test_requests_wait_for_each_other(name, trace):
    """Four requests that spin at once, each on its thread, twice."""
    with recorded(name, trace, "run", workers=1) as server, ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: ask(server, "/spin?ms=200"), range(8)))
        ask(server, "/sleep?ms=50")
    done = ended_trace(trace)
    measured = [(request.values["gil_wait"], request.handler) for request in done.requests if request.route == "/spin"]
    assert len(measured) == 8
    # Before and after a handler they wait for it as well.
    assert sum(ns for ns, _ in measured) / 1e9 >= 0.9 * sum(own["gil_wait"] for own in seen)
    assert all(ns <= handler * (1 + QUANTISATION) + BUSY for ns, handler in measured)
    assert max(column(done, "/sleep", "gil_wait")) < 25 * MS


@pytest.mark.parametrize("name", (*THREADED[:2], "flask-sync", *LOOPS))
def test_cpu_time(name, trace):
    """Two at once, so that one's time could be taken for the other's; a sleeper's is next to nothing."""
    with recorded(name, trace, "run") as server, ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(lambda _: ask(server, "/spin?ms=20"), range(20)))
        assert load.fixed(server.url + "/sleep?ms=20", 40, clients=8).succeeded == 40
    done = ended_trace(trace)
    spinners, sleepers = column(done, "/spin", "cpu_time"), column(done, "/sleep", "cpu_time")
    assert len(spinners) == 20 and len(sleepers) == 40 and None not in spinners + sleepers
    # A loop's time between polls is no less than its CPU time, and no more than the time that went by.
    own, wall = (sum(one[what] for one in seen) * 1e9 for what in ("cpu", "wall"))
    assert 0.9 * own <= sum(spinners) <= 1.1 * wall + len(seen) * BUSY
    assert median(sleepers) < 10 * MS
    told = {route["route"]: route["cpu_time"] for route in report(trace)["routes"]}
    assert told["/spin"]["count"] == 20
    assert told["/spin"]["mean"] * 1e9 == pytest.approx(sum(spinners) / 20, rel=0.01)
    assert_sums(done, report(trace))


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_that_is_blocked(name, trace):
    """A request that arrives 10 ms after another began to block the loop for 200 ms has waited 190 for it."""
    with recorded(name, trace, "run") as server:
        with Connection(server.port) as blocking, Connection(server.port) as waiting:
            waiting.exchange(raw_client.get("/json"))
            for _ in range(5):
                blocking.send(raw_client.get("/spin?ms=200"))
                time.sleep(0.01)
                waiting.exchange(raw_client.get("/users/7"))
                blocking.receive(raw_client.now())
            for _ in range(20):
                waiting.exchange(raw_client.get("/empty"))
    done = ended_trace(trace)
    queues = [request.queue for request in done.requests if request.route == "/users/{}"]
    delays = column(done, "/users/{}", "loop_delay")
    assert len(delays) == 5 and median(delays) >= 100 * MS
    assert median(column(done, "/empty", "loop_delay")) < 10 * MS
    assert all(delay <= queue * (1 + QUANTISATION) for delay, queue in zip(delays, queues))
    assert median(delays) >= 0.75 * median(queues), "it waited for nothing else"


@pytest.mark.parametrize("name", ("threaded", "flask-sync"))
def test_no_loop_no_delay(name, trace):
    with recorded(name, trace, "run") as server:
        assert load.fixed(server.url + "/json", 50).succeeded == 50
    assert set(column(ended_trace(trace), "/json", "loop_delay")) == {None}
    assert report(trace)["loop_delay"] is None
