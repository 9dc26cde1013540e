"""Requests of which it may be hidden whose an allocation is: their figures are null, or right."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import raw_client
from python_servers import HALVES, HIDDEN, LOOPS, THREADS, assert_sums
from recording import assert_balanced, ended_trace, recorded, report, route_counts

CLOSING = ("flask-sync", "flask-dev", "django-sync")  # they close each connection after its first answer
CONNECTIONS, ROUNDS = 8, 10
OTHERS = 45_000  # bytes: what a server does between two requests is less, and half of /big is more
PATHS = ("/empty", "/big", "/small", "/small", "/big", "/empty")


def in_one_write(client: raw_client.Connection, paths: tuple) -> set[int]:
    return {exchange.status for exchange in client.pipeline([raw_client.get(path) for path in paths])}


def one_by_one(client: raw_client.Connection, paths: tuple) -> set[int]:
    return {client.exchange(raw_client.get(path)).status for path in paths}


def record(name: str, trace, how) -> list:
    """Each path once, as servers fill caches then; afterwards all of them in turn on several connections at a time."""
    with recorded(name, trace, "run", workers=1) as server:
        for path in HALVES:
            with raw_client.Connection(server.port) as client:
                one_by_one(client, (path,))

        def rounds(shift: int) -> set[int]:
            with raw_client.Connection(server.port) as client:
                paths = PATHS[shift % len(PATHS) :] + PATHS[: shift % len(PATHS)]
                return set().union(*(how(client, paths) for _ in range(ROUNDS)))

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            assert set().union(*pool.map(rounds, range(CONNECTIONS))) == {200}
    seen, told = ended_trace(trace), report(trace)
    each = CONNECTIONS * ROUNDS * len(PATHS) // len(HALVES) + 1
    assert route_counts(told) == {("GET", path): each for path in HALVES}
    assert_balanced(told["completeness"])
    assert_sums(seen, told)
    return sorted(seen.requests, key=lambda request: request.time)[len(HALVES) :]


def known(requests: list, path: str) -> list[int]:
    values = [request.values["alloc_bytes"] for request in requests if request.route == path]
    return [value for value in values if value is not None]


def assert_right_where_known(requests: list):
    """Beside its work a request takes what the server takes for any."""
    least = min(known(requests, "/empty"), default=0)
    for path, size in HALVES.items():
        for value in known(requests, path):
            assert size + least * 0.8 <= value < 1.1 * size + 1.3 * least + OTHERS, (path, value)


def count_known(requests: list) -> int:
    return sum(len(known(requests, path)) for path in HALVES)


@pytest.mark.parametrize("how", (one_by_one, in_one_write))
@pytest.mark.parametrize("name", ("asyncio-thread", "fastapi-thread"))
def test_a_loop_in_another_thread(name, how, trace):
    """A task for each request is followed there; of one for all of a connection's requests the first is known."""
    requests = record(name, trace, how)
    assert_right_where_known(requests)
    if (name, how) == ("fastapi-thread", one_by_one):
        assert count_known(requests) == len(requests)
    else:
        assert 0 < count_known(requests) < len(requests)


@pytest.mark.parametrize("name", (*LOOPS, *HIDDEN, *(name for name in THREADS if name not in CLOSING)))
def test_pipelined(name, trace):
    """On an event loop it is hidden which of those that were read together a task is for, and who goes on with it.

    A pool's threads hand a connection on to each other between two requests; one thread keeps it.
    """
    requests = record(name, trace, in_one_write)
    assert_right_where_known(requests)
    if name == "threaded":
        assert count_known(requests) == len(requests)
    elif name not in HIDDEN:
        assert count_known(requests) > 0
