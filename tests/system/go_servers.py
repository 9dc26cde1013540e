"""What the tests of Go servers share: questions to the servers, and distributions of what was recorded."""

import json
import statistics

import raw_client
from raw_client import Connection


def ask(server, path: str):
    """The JSON that a Go server answers, on a connection of its own."""
    with Connection(server.port) as client:
        answer = client.exchange(raw_client.get(path))
    assert answer.status == 200, answer
    return json.loads(answer.body)


def quantile(values, part: float):
    """An observed value: of 101 the 51st is the median."""
    ordered = sorted(values)
    return ordered[round(part * (len(ordered) - 1))]


def median(values):
    return quantile(values, 0.5)


def usual(values):
    """The most frequent value: what a handler takes when nothing is in its way, such as a pool that was just emptied."""
    return statistics.mode(values)


def column(trace, route: str, name: str) -> list:
    """One figure of a route's requests."""
    return [request.values[name] for request in trace.requests if request.route == route]
