"""What the tests of Python servers share: who serves how, whose memory each work is, and that the sums are right."""

import read_trace
import works

# Requests interleave on one thread, in tasks.
LOOPS = ("asyncio", "fastapi-asyncio", "fastapi-uvloop", "fastapi-hypercorn", "aiohttp", "tornado", "django-asgi")
# A thread, a process or (gevent) a greenlet serves one at a time.
THREADS = ("threaded", "flask-sync", "flask-gthread", "flask-gevent", "flask-cheroot", "flask-dev", "django-sync")
# What passes between who reads and who serves can't be seen: one thread reads, another serves, and between them is
# a queue; or each connection has a task, which uvloop starts in a context that all connections share.
HIDDEN = ("flask-waitress", "fastapi-gunicorn-asgi", "aiohttp-uvloop")

# Whose a work's bytes are: the request's that asked for it, its after it was answered, or what can't be known.
OWN, AFTER, UNKNOWN = "own", "after", "unknown"

FIRST = "/json"  # what a connection needs goes to its first request, which nothing is compared with
HALVES = {"/empty": 0, "/small": works.SMALL, "/big": works.BIG}


def parts(server: str) -> dict[str, str]:
    """path -> whose the PART bytes are that its work takes."""
    found = {"/stream": OWN, "/error": OWN}
    if server in LOOPS or server in ("fastapi-gunicorn-asgi", "aiohttp-uvloop"):
        found |= {"/gather": OWN, "/nested": OWN, "/to_thread": OWN, "/late": AFTER, "/executor": UNKNOWN, "/queued": UNKNOWN}
    else:
        found |= {"/thread": UNKNOWN}
    if server.startswith("fastapi") or server == "django-asgi":
        found |= {"/sync": OWN}
    if server.startswith(("flask", "django")) and server != "flask-gevent":  # where asgiref finds a loop on its thread
        found |= {"/async": OWN}
    # The last, so that FIRST follows: a connection's next request may arrive while its task still does this.
    # Flask's development server looks for more from the client before it closes the response.
    found |= {"/background": UNKNOWN if server == "flask-dev" else AFTER}
    if server in HIDDEN:
        found = dict.fromkeys(found, UNKNOWN)
    return found


def outside(seen: dict, what: str) -> int:
    """Of a report: what is no open request's."""
    return seen["unattributed"][what] + seen["after_response"][what]


def assert_sums(trace, seen: dict):
    """Requests, what came after them and what is nobody's are the whole, to the byte."""
    for what in ("alloc_bytes", "alloc_count"):
        requests = sum(request.values[what] or 0 for request in trace.requests)
        assert requests + outside(seen, what) == seen["process_alloc"][what] > 0, what


def shown(stack: list[dict]) -> list[tuple]:
    """The Python functions of a recorded stack, the innermost first, as a traceback would have them."""
    return [
        (frame["function"].rpartition(".")[2], frame["file"], frame["line"]) for frame in stack if frame["kind"] == "python"
    ]


def assert_marks(trace, made: list[dict]):
    """Each block of tests/servers/python/marks.py was sampled at the place where the program says that it made it."""
    for mark in made:
        sites = [site for site in trace.sites if site.event == read_trace.ALLOCATED and site.bytes == mark["size"]]
        assert len(sites) == 1, mark["how"]
        (site,) = sites
        own = [tuple(frame) for frame in mark["stack"]]
        frames = shown(trace.stack(site.stack))
        assert frames == own[: len(frames)] and len(frames) == min(len(own), 64), mark["how"]
