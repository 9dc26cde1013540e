"""The runtime's own figures, read from outside ten times a second, are those that the runtime tells its program."""

import time

import load
import pytest
from go_servers import ask
from raw_client import Connection
from recording import ended_trace, recorded, report

IDLE = 200
PAGE = 8192  # of Go's heap
KEPT = 64  # dead goroutines that each CPU's scheduler keeps for reuse


def settled_figures(server) -> dict:
    """The figures of a server that rests: no collection came between this question and the one before."""
    for _ in range(10):
        before = ask(server, "/memstats")
        time.sleep(0.3)  # some samples
        after = ask(server, "/memstats")
        if after["NumGC"] == before["NumGC"]:
            return after
    raise AssertionError("a server that nobody loads collects garbage all the time")


@pytest.mark.parametrize("name", ("nethttp", "nethttp-stripped", "nethttp-static-pie", "nethttp-cgo", "nethttp-1.21"))
def test_figures(name, trace):
    with recorded(name, trace, "run", env={"GOMAXPROCS": "2"}) as server:
        assert load.fixed(server.url + "/slices/a?k=100", 3000, clients=50).succeeded == 3000
        idle = [Connection(server.port) for _ in range(IDLE)]
        figures = settled_figures(server)
    for client in idle:
        client.close()
    seen = ended_trace(trace)
    # A process that is ending has given its memory back, when it may be sampled once more.
    last = [sample for sample in seen.samples if sample["gc_cycles"] is not None][-1]
    assert last["gc_cycles"] == figures["NumGC"] > 0
    assert last["gc_pause_total"] == figures["PauseTotalNs"] > 0
    assert last["heap_goal"] == figures["NextGC"]
    # Asking needs a little itself.
    assert abs(last["heap_in_use"] - figures["HeapInuse"]) <= 32 * PAGE
    if last["goroutines"] is None:
        assert "goroutines" in {note["what"] for note in report(trace)["not_measured"]}
    else:
        assert max(IDLE, figures["Goroutines"] - 5) <= last["goroutines"] <= figures["Goroutines"] + 2 * KEPT


def test_reports_have_them(trace):
    """Of the time from the first request to the last: up to a sample's distance at both ends may be missing."""
    with recorded("nethttp", trace, "run", env={"GOGC": "20"}) as server:
        for _ in range(3):
            assert load.fixed(server.url + "/slices/a?k=100", 3000, clients=50).succeeded == 3000
        figures = settled_figures(server)
    ended_trace(trace)
    stats = report(trace)["runtime_stats"]
    assert stats["gc_cycles"] == pytest.approx(figures["NumGC"], rel=0.25)
    assert stats["gc_pause"] == pytest.approx(figures["PauseTotalNs"] / 1e9, rel=0.25)
    assert 0 < stats["heap_in_use"]["mean"] <= stats["heap_in_use"]["peak"]
