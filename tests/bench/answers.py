"""Answers in words, made of numbers: were the numbers others, the words would be, too.

Figures are those of one side of a comparison (questions.py, figures_of): seconds, bytes and requests a second; None is what
wasn't measured. Some stand against the base: {"times", "low", "high", "sure"}; sure is whether compare's test tells it from
chance, None where there were too few runs for a test.
"""

from math import log

from table_pages import digits, rate, seconds, size

BUSY = 0.8  # of its cores: no more work gets done; a sampled second may miss some percent
HALF = 0.5
NEARLY_ALL = 0.8
ALIKE = 0.1  # ratios that far from 1 are one in words
MENTIONED = 0.05
MAYBE = "(~)"  # behind a number that may be chance


def listed(words) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %") if share >= 0.005 else "less than 1 %"


def number(value: float) -> str:
    """Two digits of a ratio."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1.95 else f"{value:.2f}"


def as_many(times: float, of: dict) -> str:
    return f"{number(times)} times{'' if of['sure'] else ' ' + MAYBE}"


def of_each(names, figures: dict, what) -> str:
    return listed([f"{what(figures[name])} {name}" for name in names])


# ---- how much faster, and why ----


def lead(figures: dict, connections: int) -> list[str]:
    """figures: name -> those of the same load, the base first; each uses one core."""
    base, *others = figures
    if not others:
        return ["Only one server was measured: nothing to compare it with."]
    chance = [name for name in others if figures[name]["against"]["throughput"]["sure"] is False]
    rest = [name for name in others if name not in chance]
    return [
        *how_many(base, rest, chance, figures), *where_from(base, rest, figures), *on_more_cores(figures),
        *what_takes_time(figures, connections), *what_is_allocated(base, others, figures),
    ]  # fmt: skip


def how_many(base: str, names: list, chance: list, figures: dict) -> list[str]:
    def against(name):
        return figures[name]["against"]["throughput"]

    told = [f"{as_many(1 / against(name)['times'], against(name))} as many as {name}" for name in names]
    sentences = [f"On one core {base} answers {rate(figures[base]['throughput'])} requests a second: {listed(told)}."] if told else []
    told = [f"{name} ({number(1 / against(name)['times'])} times)" for name in chance]
    return sentences + ([f"Whether {base} answers more than {listed(told)} can't be told from chance."] if told else [])


def cpu_share(base: dict, other: dict) -> float:
    """How much of the ratio of requests a second is the ratio of CPU a request; the rest is that of cores used."""
    ratio = 1 / other["against"]["throughput"]["times"]
    return log(other["cpu"] / base["cpu"]) / log(ratio) if abs(ratio - 1) > ALIKE else 1.0


def where_from(base: str, names: list, figures: dict) -> list[str]:
    """Requests a second = cores used / CPU a request."""
    own = figures[base]
    cpu = [name for name in names if cpu_share(own, figures[name]) >= NEARLY_ALL]
    sentences = []
    if cpu:
        busy = [figures[name]["cores"] for name in (base, *cpu)]
        used = "All keep their core busy" if min(busy) >= BUSY else "They don't keep their core busy"
        told = [f"{number(figures[name]['cpu'] / own['cpu'])} times for {name} ({seconds(figures[name]['cpu'])})" for name in cpu]
        sentences.append(
            f"The difference is CPU a request: {seconds(own['cpu'])} for {base}, {listed(told)}. "
            f"{used} ({digits(min(busy), '')} to {digits(max(busy), '')} of it)."
        )
    for name in names:
        if name not in cpu:
            sentences.append(idle_too(base, own, name, figures[name]))
    return sentences


def idle_too(base: str, own: dict, name: str, other: dict) -> str:
    share = cpu_share(own, other)
    cpu = f"CPU a request is {number(other['cpu'] / own['cpu'])} times {base}'s ({seconds(other['cpu'])})"
    cores = f"it uses {digits(other['cores'], '')} of its core, {base} {digits(own['cores'], '')}"
    part = f"{percent(share)} of the difference" if share > 0 else "nothing of the difference"
    return f"For {name} {cpu}, which makes {part}; the rest is that {cores}."


def on_more_cores(figures: dict) -> list[str]:
    """What remains where there are as many processes as cores."""
    told = [f"{number(1000 * one['cpu'])} with {name}" for name, one in figures.items()]
    return [f"That is what remains where all cores are used: 1,000 requests a second take so many cores: {listed(told)}."]


PARTS = {
    "queue": "the queue", "cpu_time": "its CPU", "sched_wait": "waiting for a CPU", "gil_wait": "waiting for the GIL",
    "send": "sending", "other": "else in the handler",
}  # fmt: skip


def parts_of(figures: dict) -> dict:
    """They add up to the latency; what isn't measured is in "other"."""
    parts = {name: figures[name] or 0.0 for name in PARTS if name != "other"}
    return parts | {"other": max(figures["latency"] - sum(parts.values()), 0.0)}


def what_takes_time(figures: dict, connections: int) -> list[str]:
    """Queue and other requests' turns against the request's own CPU, where that is measured."""
    working = [name for name, one in figures.items() if one["cpu_time"] is not None]
    own = {name: figures[name]["cpu_time"] / figures[name]["latency"] for name in working}
    waits = [name for name in working if own[name] < HALF]
    works = [name for name in working if name not in waits]
    sentences = []
    if waits:
        told = [
            f"{percent(own[name])} of {seconds(figures[name]['latency'])} in {name} (most: {largest(parts_of(figures[name]))})"
            for name in waits
        ]
        sentences.append(f"With {connections} connections a request mostly waits for others: its own CPU is {listed(told)}.")
    if works:
        sentences.append(f"In {listed(works)} a request's latency is mostly its own CPU: {listed([percent(own[name]) for name in works])}.")
    for_gil = {name: one["gil_wait"] / one["handler"] for name, one in figures.items() if one["gil_wait"] and one["handler"]}
    told = [f"{percent(share)} of {name}'s" for name, share in for_gil.items() if share >= MENTIONED]
    return sentences + ([f"Waiting for the GIL, also of what comes behind the first byte, takes {listed(told)} time in the handler."] if told else [])


def largest(parts: dict) -> str:
    name = max(parts, key=parts.get)
    return f"{PARTS[name]}, {percent(parts[name] / sum(parts.values()))}"


def what_is_allocated(base: str, others: list, figures: dict) -> list[str]:
    own = figures[base]
    if own["alloc_bytes"] is None:
        return []
    known = [name for name in others if figures[name]["alloc_bytes"] is not None]
    told = [
        f"{name} {number(figures[name]['alloc_bytes'] / own['alloc_bytes'])} times the bytes in "
        f"{number(figures[name]['alloc_count'] / own['alloc_count'])} times the allocations"
        for name in known
    ]
    unknown = [name for name in others if name not in known]
    more = (", " + listed(told)) if told else ""
    less = f" ({listed(unknown)}: not measured)" if unknown else ""
    return [f"A request takes {size(own['alloc_bytes'])} in {own['alloc_count']:.0f} allocations of {base}{more}{less}."]


# ---- database or Python ----


def database_share(figures: dict) -> float:
    return min(figures["db"]["latency"] / figures["latency"], 1.0)


def larger_from(by_time: dict, name: str) -> int | None:
    """From which time of the database's on it is the larger part of a request; None: at none."""
    found = None
    for ms in sorted(by_time, reverse=True):
        if name not in by_time[ms] or database_share(by_time[ms][name]) < HALF:
            break
        found = ms
    return found


def when_larger(by_time: dict, names: list, connections: int) -> str:
    since: dict = {}
    for name in names:
        since.setdefault(larger_from(by_time, name), []).append(name)
    told = [f"from {ms} ms on for {listed(since[ms])}" for ms in sorted(ms for ms in since if ms is not None)]
    told += [f"at none of these times for {listed(since[None])}"] if None in since else []
    return f"With {connections} connections the database is the larger part of a request {', '.join(told)}."


def limit_of(figures: dict, cores: int) -> str:
    """What the requests that aren't at the database wait for: "cpu", "queue" or "other"."""
    if figures["cores"] >= BUSY * cores:
        return "cpu"
    return "queue" if (figures["queue"] or 0) >= HALF * figures["latency"] else "other"


def why_not(name: str, figures: dict, ms: int, connections: int, cores: int, threads: int | None) -> str:
    at_database = f"{number(figures['db']['in_flight'])} of {connections} requests at the database at a time"
    does = f"At {ms} ms {name} answers {rate(figures['throughput'])}/s with {at_database}"
    used = f"{digits(figures['cores'], '')} of {'its core' if cores == 1 else f'{cores} cores'} used"
    limit = limit_of(figures, cores)
    if limit == "cpu":
        needed = seconds(connections * figures["cpu"] / cores)
        return f"{does} and {used}: its {seconds(figures['cpu'])} of CPU a request are the limit, until a database takes some {needed}."
    if limit == "queue":
        share = f"{percent(figures['queue'] / figures['latency'])} of the latency is the queue"
        return f"{does} and {used}: {share}{f' for its {threads} threads' if threads else ', until it reads the request'}."
    return f"{does} and {used}: the limit is neither its CPU nor its queue, but else in the handler, or the machine."


def statement(few: dict, many: dict, names: list, connections: tuple) -> str:
    """Whether the bottleneck is the database, not Python."""
    held = {name: (larger_from(few, name), larger_from(many, name)) for name in names}
    least = min(few)
    if all(at == (least, least) for at in held.values()):
        return "«The bottleneck is the database, not Python» holds in all that was measured."
    if all(at == (None, None) for at in held.values()):
        return "«The bottleneck is the database, not Python» holds in nothing that was measured."

    def words(at, clients):
        return f"with {clients} connections " + ("at none of these times" if at is None else f"from {at} ms on")

    told = [f"{name}: {listed([words(at, clients) for at, clients in zip(held[name], connections)])}" for name in names]
    return f"Whether «the bottleneck is the database, not Python» holds depends on the load. {'; '.join(told)}."


def against_base(by_time: dict, base: str, name: str, connections: int) -> str:
    """The slower language's price, when the database is slow, too."""
    ratios = {ms: of[name]["against"]["throughput"] for ms, of in sorted(by_time.items()) if name in of}
    told = [f"{as_many(one['times'], one)} at {ms} ms" for ms, one in ratios.items()]
    return f"Of {base}'s requests a second {name} answers with {connections} connections {listed(told)}."


def database(numbers: dict, python: list, cores: dict, threads: dict) -> list[str]:
    """numbers: connections -> ms -> name -> figures, with "db" in them: {"latency", "in_flight"}; cores and threads: by name,
    those that it has; threads of those alone that have a fixed number of them."""
    few, many = min(numbers), max(numbers)
    base, *_ = names = [name for name in cores if all(name in of for of in numbers[many].values())]
    slowest = max(numbers[many])
    there = [name for name in python if name in names]
    sentences = [statement(numbers[few], numbers[many], there, (few, many))] if there else []
    sentences += [when_larger(numbers[clients], names, clients) for clients in sorted(numbers)]
    last = numbers[many][slowest]
    limited = [name for name in names if database_share(last[name]) < HALF]
    sentences += [why_not(name, last[name], slowest, many, cores[name], threads.get(name)) for name in limited]
    return sentences + [against_base(numbers[many], base, name, many) for name in there if name != base]


# ---- the GIL ----


def gil(numbers: dict, threads: dict, processes: str | None, wait_ms: int) -> list[str]:
    """numbers: name -> {"cpu", "wait", "mixed"} -> figures; threads: name -> how many, one first; processes: the name of two or more."""
    there = [name for name in threads if name in numbers]
    if len(there) < 2 or threads[there[0]] != 1:
        return ["One thread or several were not measured: nothing to compare."]
    one, most = there[0], there[-1]
    return [
        cpu_bound(numbers, most, processes), gil_waits(numbers, one, most),
        waiting(numbers, most, threads[most], wait_ms), beside_busy(numbers, most, processes, wait_ms),
    ]  # fmt: skip


def cpu_bound(numbers: dict, most: str, processes: str | None) -> str:
    against = numbers[most]["cpu"]["against"]["throughput"]
    times = against["times"]
    if against["sure"] is False or abs(times - 1) <= ALIKE:
        told = f"{most} answer no more requests that compute than one does ({as_many(times, against)} as many)"
    elif times > 1:
        told = f"{most} answer {as_many(times, against)} as many requests that compute as one"
    else:
        told = f"{most} answer fewer requests that compute than one ({as_many(times, against)} as many)"
    if processes in numbers:
        of_processes = numbers[processes]["cpu"]["against"]["throughput"]
        told += f", {processes} {as_many(of_processes['times'], of_processes)} as many"
    return told + "."


def gil_waits(numbers: dict, one: str, most: str) -> str:
    def share(name):
        figures = numbers[name]["cpu"]
        return None if figures["gil_wait"] is None or not figures["handler"] else figures["gil_wait"] / figures["handler"]

    if share(most) is None:
        return "How long they wait for the GIL was not measured."
    figures = numbers[most]["cpu"]
    cpu = figures["cpu"] / numbers[one]["cpu"]["cpu"] - 1
    costs = f"CPU a request changes by {cpu:+.0%}".replace("%", " %")
    waits = f"{seconds(figures['gil_wait'])} against {seconds(figures['handler'])} in the handler ({percent(share(most))})"
    fewer = f", with {one} {percent(share(one))}" if share(one) is not None else ""
    return f"With {most} each waits for the GIL for {waits}{fewer}; {costs}."


def waiting(numbers: dict, most: str, count: int, wait_ms: int) -> str:
    against = numbers[most]["wait"]["against"]["throughput"]
    times = against["times"]
    told = f"Of requests that wait for {wait_ms} ms {most} answer {as_many(times, against)} as many as one"
    if times >= 0.8 * count:
        return f"{told}: who waits doesn't need the GIL."
    return f"{told}, not {count} times." if times > 1 + ALIKE else f"{told}: threads don't help them either."


def beside_busy(numbers: dict, most: str, processes: str | None, wait_ms: int) -> str:
    """What a request that only waits takes when others compute."""

    def took(name):
        mixed, alone = numbers[name]["mixed"], numbers[name]["wait"]
        slower = f"{seconds(mixed['handler'])} with {name} ({seconds(alone['handler'])} without them"
        return slower + (f"; {seconds(mixed['gil_wait'])} for the GIL)" if mixed["gil_wait"] is not None else ")")

    names = [most] + ([processes] if processes in numbers else [])
    slowed = numbers[most]["mixed"]["handler"] / numbers[most]["wait"]["handler"] - 1
    verb = "takes longer in the handler" if slowed > ALIKE else "is not held up"
    return f"Beside requests that compute, one that waits for {wait_ms} ms {verb}: {listed([took(name) for name in names])}."
