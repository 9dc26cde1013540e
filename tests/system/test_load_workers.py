"""Workers that end after a few requests, hundreds of them: all requests counted, each with the process that served it.

RQS_LOAD_WORKERS and RQS_LOAD_GUNICORN set how many (`make load-long`: 5,000, which is more than there is room for at a
time, and 200).
"""

import os
import threading
from collections import Counter

import load
import pytest
import raw_client
from raw_client import Connection
from recording import assert_balanced, ended_trace, recorded, report

WORKERS = int(os.environ.get("RQS_LOAD_WORKERS", "200"))
GUNICORN = int(os.environ.get("RQS_LOAD_GUNICORN", "4"))
EACH = 5  # requests
CLIENTS = 4


def ask_all(port: int, requests: int):
    """So many requests by several clients, each of which connects anew when a worker is done."""
    left = iter(range(requests))
    taking = threading.Lock()
    answers = []

    def ask():
        connection = None
        while True:
            with taking:
                if next(left, None) is None:
                    break
            connection = connection or Connection(port)
            answer = connection.exchange(raw_client.get("/json"))
            answers.append(answer.status)
            if "connection" in answer.headers:
                connection.close()
                connection = None
        if connection:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * requests


def recorded_by_process(trace, requests: int) -> list[int]:
    """How many requests each process served, those that served some; all of them are in the trace."""
    seen = ended_trace(trace)
    completeness = report(trace)["completeness"]
    assert_balanced(completeness)
    assert completeness["finished"] == completeness["started"] == len(seen.requests) == requests
    by_process = Counter(request.process for request in seen.requests)
    assert by_process.keys() <= {process["process"] for process in seen.processes}
    return list(by_process.values())


@pytest.mark.parametrize("at_once", (4, 100))
@pytest.mark.parametrize("how", ("fork", "exec"))
def test_short_lived_workers(how, at_once, trace, mode):
    env = {"WORKERS": str(WORKERS), "REQUESTS": str(EACH)}
    with recorded(f"shortlived-{how}", trace, mode, workers=at_once, env=env) as server:
        ask_all(server.port, WORKERS * EACH)
        assert server.wait() == 0
    assert recorded_by_process(trace, WORKERS * EACH) == [EACH] * WORKERS


def test_gunicorn_replaces_its_workers(trace):
    with recorded("flask-shortlived", trace, "run") as server:
        done = load.fixed(server.url + "/json", GUNICORN * EACH, clients=4, seconds=900)
        assert (done.succeeded, done.errored) == (GUNICORN * EACH, 0)
    served = recorded_by_process(trace, GUNICORN * EACH)
    assert max(served) == EACH and len(served) >= GUNICORN
