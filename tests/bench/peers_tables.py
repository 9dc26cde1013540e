"""The tables of `make bench-peers`, from its figures alone (build/bench/peers.json)."""

from statistics import mean, median

from others import BASE, CONTROL, FULL, MEMORY, REQUESTS

BEGIN, END = "<!-- make bench-peers: begin -->", "<!-- make bench-peers: end -->"
TITLES = {
    "gin": "Gin", "fastapi-uvloop": "FastAPI (uvloop)", "flask-gthread": "Flask (gunicorn, gthread)", "express": "Express",
    "nginx": "nginx",
}  # fmt: skip
SHOWN = {BASE: "nothing", CONTROL: "nothing, again (the noise)"}
MIB, WORTH_TELLING = 2**20, 0.01

# With six rounds the lowest and the highest of their medians hold the true median in 97 % (1 - 2 / 2^6); with fewer, in less than 95 %.
ENOUGH_ROUNDS, ENOUGH_SLICES = 6, 40
MET, MISSED, UNDECIDED = "met", "missed", "can't be told"


def span(values: list[float]) -> dict:
    """The median of rounds, with the lowest and the highest."""
    return {"median": median(values), "low": min(values), "high": max(values), "rounds": len(values)}


def with_both(rounds: list[dict], label: str) -> list[dict]:
    return [one for one in rounds if label in one and BASE in one]


def ratio(rounds: list[dict], label: str, metric: str) -> dict:
    """The tool's metric against nothing's of the same turn: the median of all, the lowest and the highest round."""
    by_round = []
    for one in with_both(rounds, label):
        base = {load["turn"]: load[metric] for load in one[BASE]["loads"]}
        by_round.append([load[metric] / base[load["turn"]] for load in one[label]["loads"] if load["turn"] in base])
    medians = [median(one) for one in by_round]
    return {"median": median(sum(by_round, [])), "low": min(medians), "high": max(medians), "rounds": len(medians)}


def added(rounds: list[dict], label: str, metric: str) -> dict:
    return span([one[label][metric] - one[BASE][metric] for one in with_both(rounds, label)])


def summary(server: dict, label: str) -> dict:
    """One row's figures."""
    rounds = server["rounds"]
    start = server["start"].get(label, {"written": 0, "sent": 0})
    there = with_both(rounds, label)
    counted = [one[label] for one in there if one[label]["recorded"] is not None]
    return {
        "cpu_us": median(load["cpu_us"] for one in there for load in one[label]["loads"]),
        "cpu": ratio(rounds, label, "cpu_us"),
        "throughput": ratio(rounds, label, "per_second"),
        "rss": added(rounds, label, "rss"),
        "later_us": median(one[label]["later_us"] - one[BASE]["later_us"] for one in there),
        "beside_us": mean(one[label]["beside_us"] for one in there),
        "written": median(one[label]["written"] for one in there),
        "written_each": span([(one[label]["written"] - start["written"]) / (one[label]["sent"] - start["sent"]) for one in there]),
        "recorded": sum(one["recorded"] for one in counted) if counted else None,
        "sent": sum(one["sent"] for one in counted),
    }


def change_cell(one: dict) -> str:
    """Small ones in percent, great ones as factors."""
    if one["median"] < 2:
        return f"{one['median'] - 1:+.1%} ({(one['low'] - 1) * 100:+.1f} .. {(one['high'] - 1) * 100:+.1f})".replace("%", " %")
    return f"{one['median']:.1f} × ({one['low']:.1f} .. {one['high']:.1f})"


def size(count: float) -> str:
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.1f} B" if count < 100 else f"{count:.0f} B"


def written_cell(row: dict, at_end: bool) -> str:
    if not row["written"]:
        return ""
    return f"{size(row['written'])} at the end" if at_end else size(row["written_each"]["median"])


def beside_cell(row: dict, base_us: float, defers: bool) -> str:
    """Only what is something beside a request's own CPU; where nothing is put off, what a server does at rest is not its tool's."""
    parts = [("later", row["later_us"] if defers else 0), ("beside", row["beside_us"])]
    return ", ".join(f"{what} {us:.1f} µs" for what, us in parts if us > base_us * WORTH_TELLING)


def recorded_cell(row: dict) -> str:
    return "" if row["recorded"] is None else f"{row['recorded']:,} of {row['sent']:,}"


HEADS = ("under", "CPU a request", "throughput", "memory added", "written a request", "later, and beside it", "recorded",
         "tells of one request")  # fmt: skip


def line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def server_table(name: str, server: dict) -> list[str]:
    title = TITLES.get(name, name)
    labels = [label for label in server["tells"] if with_both(server["rounds"], label)]
    if BASE not in labels:
        return [f"{title}: not measured. {server['failed'].get(BASE, 'No round of it came to its end.')}"]
    base = summary(server, BASE)
    lines = [line((f"{title}, {base['cpu_us']:.1f} µs", *HEADS[1:])), "|---" * len(HEADS) + "|"]
    for label in labels:
        row = summary(server, label)
        own = label == BASE
        lines.append(line((
            SHOWN.get(label, label),
            "" if own else change_cell(row["cpu"]),
            "" if own else change_cell(row["throughput"]),
            "" if own else f"{row['rss']['median'] / MIB:+.1f} MiB",
            written_cell(row, label in server["at_end"]),
            beside_cell(row, base["cpu_us"], label in server["defers"]),
            recorded_cell(row),
            server["tells"][label],
        )))  # fmt: skip
    for label, why in server["failed"].items():
        what = "failed in a round" if label in labels else "not measured"
        lines.append(line((label, f"{what}: {why}".replace("|", "/"), *[""] * (len(HEADS) - 2))))
    return lines


# ---- goals ----


def verdict(goal: float, figure: dict) -> str:
    if figure.get("rounds", ENOUGH_ROUNDS) < ENOUGH_ROUNDS:
        return UNDECIDED
    return MET if figure["high"] <= goal else MISSED if figure["low"] > goal else UNDECIDED


def goal(what: str, limit: float, unit: str, figure: dict | None) -> dict:
    return {"what": what, "goal": limit, "unit": unit, "figure": figure, "verdict": verdict(limit, figure) if figure else "not measured"}


def percent_of(figure: dict) -> dict:
    return {key: (figure[key] - 1) * 100 for key in ("median", "low", "high")} | {"rounds": figure["rounds"]}


def cpu_goal(result: dict, name: str, label: str, limit: float) -> dict:
    rounds = result["servers"].get(name, {"rounds": []})["rounds"]
    figure = percent_of(ratio(rounds, label, "cpu_us")) if with_both(rounds, label) else None
    return goal(f"CPU a request, {TITLES[name]}, {label.removeprefix('reqscope: ')}", limit, "%", figure)


def sliced_goal(result: dict, layer: str, what: str, limit: float) -> dict:
    """Gin's, of hooks switched on and off in one process: its interval is a bootstrap's."""
    sliced = result["toggled"]
    enough = sliced and sliced["rounds"] >= ENOUGH_SLICES
    figure = None
    if sliced:
        figure = {key: sliced[layer][key] * 100 for key in ("median", "low", "high")} | {"rounds": ENOUGH_ROUNDS if enough else 0}
    return goal(f"CPU a request, Gin, {what} (switched on and off)", limit, "%", figure)


def scaled(figure: dict, by: float) -> dict:
    return figure | {key: figure[key] / by for key in ("median", "low", "high")}


def goals(result: dict) -> list[dict]:
    """Those of the design that this run has figures for."""
    found = [
        sliced_goal(result, "requests", "requests only", 2),
        sliced_goal(result, "memory", "and memory", 3),
        cpu_goal(result, "gin", MEMORY, 3),
        cpu_goal(result, "fastapi-uvloop", MEMORY, 3),
        cpu_goal(result, "flask-gthread", MEMORY, 3),
        cpu_goal(result, "express", REQUESTS, 2),
    ]
    for name, server in result["servers"].items():
        if with_both(server["rounds"], FULL):
            row = summary(server, FULL)
            found.append(goal(f"memory added, {TITLES[name]}, everything", 4, "MiB", scaled(row["rss"], MIB)))
            requests = row["sent"] // row["written_each"]["rounds"]
            found.append(goal(f"trace, {TITLES[name]}, everything ({requests:,} requests)", 10, "B a request", row["written_each"]))
    return [one for one in found if any(TITLES[name] in one["what"] for name in result["servers"])]


def goals_table(result: dict) -> list[str]:
    lines = ["| goal | at most | measured | |", "|---|---|---|---|"]
    for one in goals(result):
        figure = one["figure"]
        sign = "" if one["unit"] == "B a request" else "+"
        measured = f"{figure['median']:{sign}.1f} ({figure['low']:{sign}.1f} .. {figure['high']:{sign}.1f}) {one['unit']}" if figure else ""
        lines.append(line((one["what"], f"{sign}{one['goal']:g} {one['unit']}", measured, one["verdict"])))
    return lines


def machine_line(result: dict) -> str:
    at = result["machine"]
    servers = result["servers"].values()
    counts = [len(with_both(server["rounds"], label)) for server in servers for label in server["tells"]]
    counts = [count for count in counts if count] or [0]
    times = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"{at['cpu']}, {at['cores']} cores, Linux {at['kernel']}, {at['system']}; {times} rounds of {result['turns']} loads; "
        f"{result['seconds'] / 60:.0f} minutes. Versions: {versions}."
    )


def markdown(result: dict) -> str:
    tables = [server_table(name, server) for name, server in result["servers"].items()]
    return "\n\n".join("\n".join(lines) for lines in [*tables, goals_table(result), [machine_line(result)]])
