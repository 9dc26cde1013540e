"""
Traces with sampled allocations in them, as a sampler of Poisson's over bytes makes them (trace_format.md), of three kinds:

- recording(): servers with known sites, which allocate so many times so many bytes a request;
- Simulation: programs whose allocations also end at known times, for what stays and what leaks;
- write_mixed(): rows of all kinds of owners, frames and ends, and estimates() of what they stand for.
"""

import json
import math
import random
from collections import defaultdict

import numpy
import pytest

from make_trace import AFTER_RESPONSE, FREED, SECOND, START, WITHDRAWN, Request, Site, Stacks, trace

MEAN = 4096  # bytes between samples; so that few requests make enough of them
MILLISECOND = 10**6


def chance(size, mean):
    """That an allocation is sampled."""
    return -numpy.expm1(-size / mean)


# Frames of a stack.


def py(function, file="/srv/app/views.py", line=10):
    return {"function": function, "file": file, "line": line, "kind": "python"}


def c(function, module="libjson.so.3", line=0, **more):
    file = {"file": "/src/app.c", "line": line} if line else {}
    return {"function": function, **file, **({"module": module} if module else {}), "kind": "native", **more}


def go(function, file="/go/pkg/mod/github.com/gin-gonic/gin@v1.9.1/context.go", line=7):
    return {"function": function, "file": file, "line": line, "kind": "go"}


# Servers.


class Allocates:
    """A route's site: a stack from the innermost frame outwards, which allocates `count` times `size` bytes a request."""

    def __init__(self, route, stack, size, count=1.0, *, followed=False, leaks=0.0, owner=None):
        self.route, self.stack, self.size, self.count = route, stack, size, count
        self.followed, self.leaks, self.owner = followed, leaks, owner

    @property
    def bytes(self):
        return self.size * self.count


def poisson(dice, mean):
    if mean > 50:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    least, n, product = math.exp(-mean), 0, dice.random()
    while product > least:
        n, product = n + 1, product * dice.random()
    return n


def sampled(dice, sites, requests, stacks, seconds, mean):
    """Rows of the samples of so many requests of each route; allocations come at random."""
    rows = []
    for site in sites:
        for _ in range(poisson(dice, requests * site.count * chance(site.size, mean))):
            at = START + int(dice.random() * seconds * SECOND)
            number = len(rows) + 1
            rows.append(Site(at, number, route=None if site.owner == AFTER_RESPONSE else site.route, owner=site.owner,
                             stack=stacks.number(*site.stack), bytes=site.size, sample_bytes=mean, followed=site.followed))  # fmt: skip
            if site.followed and dice.random() >= site.leaks:
                rows.append(Site(at + 1000, number, FREED))
    return rows


def recording(seed, sites, *, requests=1000, seconds=20, runtime="python", mean=MEAN, **run):
    """A run of so many requests of each route, bytes of a trace; `sites` None: recorded without --sites."""
    dice, stacks = random.Random(seed), Stacks()
    routes = list(dict.fromkeys(site.route for site in sites or ())) or ["/"]
    total = requests * len(routes)
    made = [Request(START + i * seconds * SECOND // total, route=routes[i % len(routes)], handler=1_000_000)
            for i in range(total)]  # fmt: skip
    rows = sampled(dice, sites, requests, stacks, seconds, mean) if sites else ()
    return trace(made, sites=rows, stacks=stacks if rows else None, runtime=runtime, **run)


LIBRARY = [py("dispatch", "/usr/lib/python3.11/site-packages/flask/app.py", 900), py("__call__", "/usr/lib/python3.11/wsgi/serving.py", 30)]


def usual(line=10, more=()):
    """A server's sites: three routes, stacks of a framework, Python over C."""
    render = [py("render", "/srv/app/templates.py", 44), py("users", line=line), *LIBRARY]
    return [
        Allocates("/users/{}", [c("json_encode"), *render], 300, 10),
        Allocates("/users/{}", render, 2000, 1.5),
        Allocates("/users/{}", [py("query", "/srv/app/db.py", 80 + line), py("users", line=line + 2), *LIBRARY], 900, 2),
        Allocates("/orders", [py("query", "/srv/app/db.py", 80 + line), py("orders", line=line + 9), *LIBRARY], 700, 3),
        Allocates("/orders", [py("orders", line=line + 9), *LIBRARY], 9000, 1),
        Allocates("/health", [py("health", line=line + 20), *LIBRARY], 200, 2, followed=True, leaks=0.5),
        *more,
    ]  # fmt: skip


# Programs with lifetimes.


class Simulation:
    """A request a millisecond on one route; sites by name, each a list of (time in s, bytes, end in s or infinity)."""

    def __init__(self, requests, mean, dice, route="/r"):
        self.count, self.mean, self.dice, self.route = requests, mean, dice, route
        self.stacks, self.rows, self.number = Stacks(), [], 0
        self.true_bytes, self.true_live = {}, {}

    @property
    def seconds(self):
        return self.count / 1000

    def allocate(self, name, times, sizes, ends, followed=True):
        """What the site `name` allocates; its samples are drawn here."""
        times, sizes, ends = (numpy.broadcast_to(numpy.asarray(v, float), numpy.shape(times)) for v in (times, sizes, ends))
        end_of_all = self.seconds
        self.true_bytes[name] = float(sizes.sum())
        self.true_live[name] = float(sizes[ends > end_of_all].sum())
        stack = self.stacks.number("malloc", {"function": name, "file": f"{name}.c", "line": 1}, "main")
        for i in numpy.flatnonzero(self.dice.random(len(sizes)) < chance(sizes, self.mean)):
            self.number += 1
            time = START + int(times[i] * SECOND)
            self.rows.append(Site(time, self.number, route=self.route, stack=stack, bytes=int(sizes[i]),
                                  sample_bytes=self.mean, followed=followed))  # fmt: skip
            if followed and ends[i] < end_of_all:
                self.rows.append(Site(START + int(ends[i] * SECOND), self.number, FREED))

    def bytes(self):
        """The trace."""
        requests = [Request(START + i * MILLISECOND, route=self.route, handler=MILLISECOND // 2) for i in range(self.count)]
        rows = sorted(self.rows, key=lambda row: row.time)
        return trace(requests, sites=rows, stacks=self.stacks)


# Programs. Each takes a simulation and a name; `arrivals` are the requests' times.


def arrivals(simulation):
    return (numpy.arange(simulation.count) + 0.2) / 1000


def leak(simulation, name, size=1024):
    simulation.allocate(name, arrivals(simulation), size, numpy.inf)


def freed_with_the_request(simulation, name, size=4096):
    times = arrivals(simulation)
    simulation.allocate(name, times, size, times + 0.0003)


def freed_later(simulation, name, size=4096, delay=0.05):
    """Each after an exponential time: a share of the simulation on average."""
    times = arrivals(simulation)
    simulation.allocate(name, times, size, times + simulation.dice.exponential(delay * simulation.seconds, len(times)))


def cache_that_fills(simulation, name, size=4096, full=0.3):
    """The first requests each add an entry that stays."""
    times = arrivals(simulation)[: int(full * simulation.count)]
    simulation.allocate(name, times, size, numpy.inf)


def cache_of_keys(simulation, name, size=4096, keys=0.2):
    """An entry for each key when it is first asked for; so many keys as a share of the requests."""
    asked = simulation.dice.integers(0, max(1, int(keys * simulation.count)), simulation.count)
    first = numpy.unique(asked, return_index=True)[1]
    simulation.allocate(name, arrivals(simulation)[numpy.sort(first)], size, numpy.inf)


def least_recently_used(simulation, name, size=4096, entries=0.1):
    """A cache that is full early, and then drops one entry for each that it takes."""
    times = arrivals(simulation)
    keep = int(entries * simulation.count)
    ends = numpy.concatenate([times[keep:], numpy.full(keep, numpy.inf)])
    simulation.allocate(name, times, size, ends)


def collected_garbage(simulation, name, size=4096, every=0.07):
    """All that was allocated since the last collection goes with the next one."""
    times = arrivals(simulation)
    period = every * simulation.seconds
    phase = simulation.dice.random() * period
    simulation.allocate(name, times, size, numpy.ceil((times + phase) / period) * period - phase + 1e-4)


def wandering_queue(simulation, name, size=4096, wanted=0.1):
    """First in, first out; its length is a random walk that is held back a little, and never below 0."""
    times, steps = arrivals(simulation), simulation.dice
    length, ends, out = 0, numpy.full(simulation.count, numpy.inf), 0
    goal = wanted * simulation.count
    for i in range(simulation.count):
        length += 1
        # One leaves for each that comes on average, and more the longer the queue is.
        leave = min(length, steps.poisson(max(0.0, 1 + (length - goal) / goal * 0.05) * min(1, i / goal)) if i else 0)
        ends[out : out + leave] = times[i]
        out, length = out + leave, length - leave
    simulation.allocate(name, times, size, ends)


HARMLESS = {
    "freed_with_the_request": freed_with_the_request,
    "freed_later": freed_later,
    "freed_much_later": lambda simulation, name: freed_later(simulation, name, delay=0.2),
    "cache_that_fills": cache_that_fills,
    "cache_half": lambda simulation, name: cache_that_fills(simulation, name, full=0.5),
    "cache_most": lambda simulation, name: cache_that_fills(simulation, name, full=0.7),
    "cache_of_keys": cache_of_keys,
    "least_recently_used": least_recently_used,
    "collected_garbage": collected_garbage,
    "wandering_queue": wandering_queue,
}  # fmt: skip


# Rows of all kinds.

MIXED_SECONDS = 10
MAIN = c("main", "app", 7)
PATHS = {
    # From the innermost frame on.
    "leaf": [c("malloc", "libc.so.6"), c("leaf", "app", 30), MAIN],
    "other line": [c("malloc", "libc.so.6"), c("leaf", "app", 31), MAIN],
    "inlined": [c("tiny", "app", 3, inlined=True), c("small", "app", 13, inlined=True), c("big", "app", 23), MAIN],
    "python": [py("load", "/app/a;b.py", 12), py("<lambda>", "/app/main.py", 99), c("0xdead", None)],
    "template": [c("std::vector<int, A;B>::grow() const", "app", 5), MAIN],
    "unknown": [],
}
ROUTES = [("GET", "/"), ("GET", "/users/{}"), ("POST", "/users/{}"), ("GET", 'a"\\;b')]


def mixed_sites(stacks, seed=5, count=3000, followed=True, paths=PATHS, processes=2):
    dice, sites = random.Random(seed), []
    for number in range(1, count):
        path = dice.choice(list(paths))
        owner = dice.random()
        method, route = dice.choice(ROUTES)
        made = Site(START + number * MIXED_SECONDS * SECOND // count, number, process=number % processes, method=method,
                    route=route, stack=stacks.number(*paths[path]), bytes=dice.choice((10, 500, 5000, 200_000)),
                    sample_bytes=MEAN, followed=followed and path != "python")  # fmt: skip
        if owner < 0.2:
            made.route, made.owner = None, (AFTER_RESPONSE if owner < 0.1 else None)
        sites.append(made)
        end = dice.random()
        if made.followed and end < 0.55:
            sites.append(Site(made.time + 1000, number, FREED if end < 0.5 else WITHDRAWN, made.process))
    return sites


def mixed_requests():
    return [Request(START + i * SECOND // 100, *ROUTES[i % len(ROUTES)], process=i % 2) for i in range(MIXED_SECONDS * 100)]


def write_mixed(path, label="app", run={}, **how):
    stacks = Stacks()
    sites = mixed_sites(stacks, **how)
    # The request that ends last is behind the last sample: what is freed counts as such.
    requests = mixed_requests() + [Request(START + (MIXED_SECONDS + 1) * SECOND)]
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
        weight = 1 / chance(s.bytes, s.sample_bytes)
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
