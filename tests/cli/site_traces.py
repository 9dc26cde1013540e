"""Traces with sampled allocations of known sites, as a sampler would have made them."""

import math
import random

from make_trace import AFTER_RESPONSE, SECOND, START, Request, Site, Stacks, trace

MEAN = 4096  # so that few requests make enough samples


def py(function, file="/srv/app/views.py", line=10):
    return {"function": function, "file": file, "line": line, "kind": "python"}


def c(function, module="libjson.so.3"):
    return {"function": function, "module": module, "kind": "native"}


def go(function, file="/go/pkg/mod/github.com/gin-gonic/gin@v1.9.1/context.go", line=7):
    return {"function": function, "file": file, "line": line, "kind": "go"}


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
        chance = -math.expm1(-site.size / mean)
        for _ in range(poisson(dice, requests * site.count * chance)):
            at = START + int(dice.random() * seconds * SECOND)
            number = len(rows) + 1
            rows.append(Site(at, number, route=None if site.owner == AFTER_RESPONSE else site.route, owner=site.owner,
                             stack=stacks.number(*site.stack), bytes=site.size, sample_bytes=mean, followed=site.followed))  # fmt: skip
            if site.followed and dice.random() >= site.leaks:
                rows.append(Site(at + 1000, number, event=1))
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
