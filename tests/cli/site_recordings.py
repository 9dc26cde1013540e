"""Simulated recordings of programs whose allocations are known: Poisson sampling over bytes, as the format defines it."""

import numpy

from make_trace import FREED, SECOND, START, Request, Site, Stacks, requests_frame, run_frame, process_frame, sites_frame
from make_trace import END, json_frame, totals

MILLISECOND = 10**6


class Recording:
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
        for i in numpy.flatnonzero(self.dice.random(len(sizes)) < -numpy.expm1(-sizes / self.mean)):
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
        end = json_frame(END, totals(requests, reason="exited"), START + 60 * SECOND)
        return run_frame() + process_frame() + requests_frame(requests) + self.stacks.frame() + sites_frame(rows) + end


# Programs. Each takes a recording and a name; `arrivals` are the requests' times.


def arrivals(recording):
    return (numpy.arange(recording.count) + 0.2) / 1000


def leak(recording, name, size=1024):
    recording.allocate(name, arrivals(recording), size, numpy.inf)


def freed_with_the_request(recording, name, size=4096):
    times = arrivals(recording)
    recording.allocate(name, times, size, times + 0.0003)


def freed_later(recording, name, size=4096, delay=0.05):
    """Each after an exponential time: a share of the recording on average."""
    times = arrivals(recording)
    recording.allocate(name, times, size, times + recording.dice.exponential(delay * recording.seconds, len(times)))


def cache_that_fills(recording, name, size=4096, full=0.3):
    """The first requests each add an entry that stays."""
    times = arrivals(recording)[: int(full * recording.count)]
    recording.allocate(name, times, size, numpy.inf)


def cache_of_keys(recording, name, size=4096, keys=0.2):
    """An entry for each key when it is first asked for; so many keys as a share of the requests."""
    asked = recording.dice.integers(0, max(1, int(keys * recording.count)), recording.count)
    first = numpy.unique(asked, return_index=True)[1]
    recording.allocate(name, arrivals(recording)[numpy.sort(first)], size, numpy.inf)


def least_recently_used(recording, name, size=4096, entries=0.1):
    """A cache that is full early, and then drops one entry for each that it takes."""
    times = arrivals(recording)
    keep = int(entries * recording.count)
    ends = numpy.concatenate([times[keep:], numpy.full(keep, numpy.inf)])
    recording.allocate(name, times, size, ends)


def collected_garbage(recording, name, size=4096, every=0.07):
    """All that was allocated since the last collection goes with the next one."""
    times = arrivals(recording)
    period = every * recording.seconds
    phase = recording.dice.random() * period
    recording.allocate(name, times, size, numpy.ceil((times + phase) / period) * period - phase + 1e-4)


def wandering_queue(recording, name, size=4096, wanted=0.1):
    """First in, first out; its length is a random walk that is held back a little, and never below 0."""
    times, steps = arrivals(recording), recording.dice
    length, ends, out = 0, numpy.full(recording.count, numpy.inf), 0
    goal = wanted * recording.count
    for i in range(recording.count):
        length += 1
        # One leaves for each that comes on average, and more the longer the queue is.
        leave = min(length, steps.poisson(max(0.0, 1 + (length - goal) / goal * 0.05) * min(1, i / goal)) if i else 0)
        ends[out : out + leave] = times[i]
        out, length = out + leave, length - leave
    recording.allocate(name, times, size, ends)


HARMLESS = {
    "freed_with_the_request": freed_with_the_request,
    "freed_later": freed_later,
    "freed_much_later": lambda recording, name: freed_later(recording, name, delay=0.2),
    "cache_that_fills": cache_that_fills,
    "cache_half": lambda recording, name: cache_that_fills(recording, name, full=0.5),
    "cache_most": lambda recording, name: cache_that_fills(recording, name, full=0.7),
    "cache_of_keys": cache_of_keys,
    "least_recently_used": least_recently_used,
    "collected_garbage": collected_garbage,
    "wandering_queue": wandering_queue,
}  # fmt: skip
