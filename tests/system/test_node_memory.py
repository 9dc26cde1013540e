"""Node: V8 has a heap of its own, in which a request's part can't be seen. What isn't measured is null, not zero."""

import load
import pytest
from recording import ended_trace, recorded, report

FIGURES = ("alloc_bytes", "alloc_count", "peak_bytes", "gil_wait", "cpu_time")


@pytest.mark.parametrize("name", ("express", "express-cluster"))
def test_no_figures_of_a_requests_memory(name, trace):
    with recorded(name, trace, "run") as server:
        assert load.fixed([server.url + path for path in ("/json", "/alloc?kb=500")], 400, 50).succeeded == 400
    for request in ended_trace(trace).requests:
        assert {request.values[figure] for figure in FIGURES} == {None}
    seen = report(trace)
    assert seen["requests"] == 400
    for told in (seen, *seen["routes"]):
        assert {told.get(figure) for figure in FIGURES} == {None}
    assert any("alloc" in one["what"] or "memory" in one["what"] for one in seen["not_measured"]), seen["not_measured"]
