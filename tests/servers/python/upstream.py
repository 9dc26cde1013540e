"""What the threaded Python servers' /db asks. Each thread keeps its connection, as it would keep a database's."""

import os
import threading

import requests

Failure = requests.RequestException
SLEEP = f"http://127.0.0.1:{os.environ.get('UPSTREAM', '9')}/sleep"

_of_thread = threading.local()


def row(ms: int) -> dict:
    """The upstream answers after ms milliseconds."""
    if not hasattr(_of_thread, "session"):
        _of_thread.session = requests.Session()
    return _of_thread.session.get(SLEEP, params={"ms": ms}, timeout=10).json()
