"""Traces with sampled allocations in them, and by Horvitz and Thompson what these stand for, for the tests of call sites."""

import json
import math
import random
from collections import defaultdict

import pytest

from make_trace import AFTER_RESPONSE, FREED, SECOND, START, WITHDRAWN, Request, Site, Stacks, trace

MEAN = 4096
SECONDS = 10


def native(function, line=0, module="app", **more):
    file = {"file": "/src/app.c", "line": line} if line else {}
    return {"function": function, **file, **({"module": module} if module else {}), **more}


def python(function, file, line):
    return {"function": function, "file": file, "line": line, "kind": "python"}


MAIN = native("main", 7)
PATHS = {
    # From the innermost frame on.
    "leaf": [native("malloc", module="libc.so.6"), native("leaf", 30), MAIN],
    "other line": [native("malloc", module="libc.so.6"), native("leaf", 31), MAIN],
    "inlined": [native("tiny", 3, inlined=True), native("small", 13, inlined=True), native("big", 23), MAIN],
    "python": [python("load", "/app/a;b.py", 12), python("<lambda>", "/app/main.py", 99), native("0xdead", module=None)],
    "template": [native("std::vector<int, A;B>::grow() const", 5), MAIN],
    "unknown": [],
}
ROUTES = [("GET", "/"), ("GET", "/users/{}"), ("POST", "/users/{}"), ("GET", 'a"\\;b')]


def make_sites(stacks, seed=5, count=3000, followed=True, paths=PATHS, processes=2):
    dice, sites = random.Random(seed), []
    for number in range(1, count):
        path = dice.choice(list(paths))
        owner = dice.random()
        method, route = dice.choice(ROUTES)
        made = Site(START + number * SECONDS * SECOND // count, number, process=number % processes, method=method,
                    route=route, stack=stacks.number(*paths[path]), bytes=dice.choice((10, 500, 5000, 200_000)),
                    sample_bytes=MEAN, followed=followed and path != "python")  # fmt: skip
        if owner < 0.2:
            made.route, made.owner = None, (AFTER_RESPONSE if owner < 0.1 else None)
        sites.append(made)
        end = dice.random()
        if made.followed and end < 0.55:
            sites.append(Site(made.time + 1000, number, FREED if end < 0.5 else WITHDRAWN, made.process))
    return sites


def make_requests():
    return [Request(START + i * SECOND // 100, *ROUTES[i % len(ROUTES)], process=i % 2) for i in range(SECONDS * 100)]


def make_file(path, label="app", run={}, **how):
    stacks = Stacks()
    sites = make_sites(stacks, **how)
    # The request that ends last is behind the last sample: what is freed counts as such.
    requests = make_requests() + [Request(START + (SECONDS + 1) * SECOND)]
    path.write_bytes(trace(requests, sites=sites, stacks=stacks, label=label, **run))
    return sites, stacks


def owner_of(site):
    if site.route is not None:
        return f"{site.method} {site.route}"
    return "after_response" if site.owner == AFTER_RESPONSE else "unattributed"


def estimates(sites, stacks):
    """By owner and stack: alloc_objects, alloc_space, inuse_objects, inuse_space; Horvitz and Thompson's, not rounded."""
    ended = {(s.process, s.number): s.event for s in sites if s.event}
    frames = [json.loads(text) for text in stacks.frames]
    paths = {0: []}
    for (caller, own), number in stacks.stacks.items():
        paths[number] = [frames[own], *paths[caller]]
    sums = defaultdict(lambda: [0, 0, 0, 0])
    for s in sites:
        event = ended.get((s.process, s.number))
        if s.event or event == WITHDRAWN:
            continue
        weight = 1 / -math.expm1(-s.bytes / s.sample_bytes)
        names = [(f["function"], f.get("file", ""), f.get("line", 0)) for f in paths[s.stack]]
        own = sums[owner_of(s), tuple(names) or (("(unknown)", "", 0),)]
        live = s.followed and event != FREED
        for i, value in enumerate((weight, weight * s.bytes, weight * live, weight * s.bytes * live)):
            own[i] += value
    return sums


def summed(values, key):
    """The same by key(owner, path)."""
    found = defaultdict(lambda: [0, 0, 0, 0])
    for (owner, path), value in values.items():
        for i in range(4):
            found[key(owner, path)][i] += value[i]
    return dict(found)


def same(got, want, tolerance):
    """Rounded figures may be off by a half a sample of the file."""
    assert set(got) == set(want)
    for key in want:
        assert got[key] == pytest.approx(want[key], abs=tolerance), key
