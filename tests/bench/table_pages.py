"""What `make table` found, as text, as Markdown, and short for the README."""

import json
import sys
from pathlib import Path

from markers import NoPlace, put_between

BEGIN, END = "<!-- make table: begin -->", "<!-- make table: end -->"
SURE = ("improved", "regressed")  # verdicts of compare that say that a difference isn't chance
LEGEND = (
    "All figures are `reqscope compare`'s, of all runs together, but those in brackets beside them: h2load's, of the same runs (its "
    "latencies have its own delays in them, its rate the opening of connections), and of memory /proc's peak without the agent. × Gin in "
    "brackets: of the published figures. ~: by compare's test it may be chance (of three runs a side or fewer it can't say anything else). "
    "*Recording costs*: the server's CPU a request and requests/s with the agent against the run without it beside it, median (least .. "
    "greatest) of the rounds with both; *collector*: its own CPU a request, beside the server. *Counted*: responses by h2load's count, warm-up included, = requests in the traces."
)  # fmt: skip
GO_CORES = (
    "One core: Go with GOMAXPROCS=1, one process of uvicorn and node, one worker of gunicorn; h2load has the other. Production: Go "
    "as it is, one process on all cores; as many workers as cores of the others; h2load shares the cores with them. Node and uvloop take "
    "one new connection in each turn of their loop (libuv's pull request 3696), so that of 1,000 few are open at once: the others' wait is in the latency "
    "of their first request."
)  # fmt: skip


def digits(value: float, unit: str) -> str:
    """Three digits that count, as compare prints them."""
    places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{places}f}{unit}"


def scaled(value, units) -> str:
    """units: (size, name), smallest first."""
    if value is None:
        return "-"
    size, name = next((unit for unit in reversed(units) if value >= 0.9995 * unit[0]), units[0])
    return digits(value / size, f" {name}")


def seconds(value) -> str:
    return scaled(value, ((1e-6, "µs"), (1e-3, "ms"), (1, "s")))


def size(value) -> str:
    return scaled(value, ((1, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")))


def rate(value) -> str:
    return "-" if value is None else f"{value:,.0f}"


def times(value) -> str:
    return "-" if value is None else digits(value, "×")


def percent(change: dict) -> str:
    """"+8.7 % (+3.0 .. +14.2)", the range where there were several rounds."""
    middle, low, high = (100 * change[key] for key in ("median", "min", "max"))
    return f"{middle:+.1f} %" + (f" ({low:+.1f} .. {high:+.1f})" if low != high else "")


def measured_times(figure: dict) -> str:
    """Of the base itself nothing."""
    if figure["times"] is None:
        return "" if figure["value"] is not None else "-"
    same = abs(figure["times"] - 1) < 0.005  # shown as 1.00
    return times(figure["times"]) + ("" if figure["verdict"] in SURE or same else " ~")


def published_times(row: dict, base: dict | None, name: str) -> str:
    """The published figure's ratio to the base's; empty where either wasn't published."""
    if not (row["published"] and base and base["published"]) or row is base:
        return ""
    return times(row["published"][name] / base["published"][name])


def counted(row: dict) -> str:
    counts = row["counts"]
    equal = not row["differences"]
    return f"{counts['load_generator']:,} {'=' if equal else '≠'} {counts['recorded']:,}" + ("" if equal else " COUNTS DIFFER")


def with_published(row: dict, base: dict | None, name: str) -> str:
    of_others = published_times(row, base, name)
    return measured_times(row["figures"][name]) + (f" ({of_others})" if of_others else "")


def name_of(row: dict, cell: dict) -> str:
    """With the number of its runs where some failed."""
    return row["framework"] if row.get("rounds", cell["rounds"]) == cell["rounds"] else f"{row['framework']} ({row['rounds']} runs)"


def base_of(cell: dict) -> dict | None:
    return next((row for row in cell["rows"] if row["framework"] == cell["base"]), None)


# ---- Markdown: one table a cell ----


def short_row(row: dict, cell: dict, base: dict) -> list[str]:
    figures, generator = row["figures"], row["load_generator"]

    def both(name, form):
        return f"{form(figures[name]['value'])} ({form(generator[name])})"

    return [
        name_of(row, cell), both("throughput", rate), with_published(row, base, "throughput"),
        both("latency_mean", seconds), with_published(row, base, "latency_mean"), seconds(figures["p50"]["value"]), both("p99", seconds),
        f"{size(figures['rss_peak']['value'])} ({size(row['bare']['rss_peak'])})", with_published(row, base, "rss_peak"),
        size(figures["alloc_bytes"]["value"]), seconds(figures["cpu"]["value"]),
        percent(row["cost"]["cpu"]), percent(row["cost"]["throughput"]), seconds(row["cost"]["collector_cpu"]), counted(row),
    ]  # fmt: skip


SHORT_HEADS = (
    "requests/s", "× Gin", "mean", "× Gin", "p50", "p99", "memory (without agent)", "× Gin", "allocated a request", "CPU a request",
    "recording costs CPU", "and requests/s", "collector", "counted",
)  # fmt: skip


def markdown_table(heads, rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row + [""] * (len(heads) - len(row))) + " |" for row in rows]


def title_of(cell: dict) -> str:
    return f"{cell['title']}; {cell['connections']:,} connections; {cell['rounds']} run{'s' if cell['rounds'] != 1 else ''} each"


def markdown_table_of(cell: dict) -> list[str]:
    base = base_of(cell)
    heads = [title_of(cell), *(head.replace("Gin", cell["base"] or "Gin") for head in SHORT_HEADS)]
    rows = [short_row(row, cell, base) if "failed" not in row else [row["framework"], f"not measured: {row['failed']}"] for row in cell["rows"]]
    return markdown_table(heads, rows)


def machine_line(result: dict) -> str:
    of = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in of["versions"].items())
    return (
        f"{of['cpu']}, {of['cores']} cores, {size(of['memory'])}, {of['system']}, kernel {of['kernel']}; Go {of['go']}, Python "
        f"{of['python']}, Node {of['node']}; {versions}; {of['load_generator']} on the same machine. `GET {result['path']}`, "
        f"{result['seconds']:g} s a load, {result['date']}."
    )


def published_line(result: dict) -> str:
    rows = [row for row in result["cells"][0]["rows"] if row["published"]]
    figures = [
        f"{row['framework']} {rate(of['throughput'])}/s, {seconds(of['latency_mean'])}, {size(of['rss_peak'])}"
        for row, of in ((row, row["published"]) for row in rows)
    ]
    return "Published (1,000 users, another machine): " + "; ".join(figures) + "."


def warned(cell: dict, out: Path) -> list[str]:
    """What compare says before its figures of what makes latencies unlike. Requests in flight always differ here."""
    if not cell["base"]:
        return []
    told = json.loads((out / f"{cell['name']}.json").read_text())["preflight"]
    texts = [one["text"] for one in told if one["id"] in ("load_not_matched", "latency_from")]
    return [f"`compare` warns: {'. '.join(text[0].upper() + text[1:] for text in texts)}."] if texts else []


def for_readme(result: dict, questions: str, out: Path) -> str:
    tables = ["\n\n".join(["\n".join(markdown_table_of(cell)), *warned(cell, out)]) for cell in result["cells"]]
    legend = f"{LEGEND} {published_line(result)}"
    return "\n\n".join([f"{machine_line(result)} {GO_CORES}", *tables, legend, *([questions] if questions else [])])


def markdown(result: dict, out: Path) -> str:
    parts = ["# Seven frameworks side by side", f"{machine_line(result)} {GO_CORES}", f"{LEGEND} {published_line(result)}"]
    for cell in result["cells"]:
        links = ", ".join(f"[{kind}]({cell['name']}.{kind})" for kind in ("md", "html", "txt", "json"))
        parts += [f"## {title_of(cell)}", "\n".join(markdown_table_of(cell)), *warned(cell, out)]
        parts += ["\n".join(f"- **{row['framework']}** {row['version']}: {row['server']}" for row in cell["rows"])]
        parts += [f"The whole comparison, by `reqscope compare`: {links}"] if cell["base"] else []
    return "\n\n".join(parts) + "\n"


# ---- text ----


def figure_cells(row: dict, base: dict) -> list[str]:
    figures, generator = row["figures"], row["load_generator"]
    cells = []
    for name, form in (("throughput", rate), ("latency_mean", seconds)):
        cells += [form(figures[name]["value"]), form(generator[name]), measured_times(figures[name]), published_times(row, base, name)]
    return [*cells, seconds(figures["p50"]["value"]), seconds(figures["p99"]["value"]), seconds(generator["p99"])]


def cost_cells(row: dict, base: dict) -> list[str]:
    figures, paid = row["figures"], row["cost"]
    memory = figures["rss_peak"]
    return [
        size(memory["value"]), size(row["bare"]["rss_peak"]), measured_times(memory), published_times(row, base, "rss_peak"),
        size(figures["alloc_bytes"]["value"]), seconds(figures["cpu"]["value"]),
        percent(paid["cpu"]), percent(paid["throughput"]), counted(row),
    ]  # fmt: skip


TEXT_TABLES = (
    (("", "REQUESTS/S", "H2LOAD", "× GIN", "PUBL.", "MEAN", "H2LOAD", "× GIN", "PUBL.", "p50", "p99", "H2LOAD"), figure_cells),
    (("", "MEMORY", "NO AGENT", "× GIN", "PUBL.", "BYTES/REQ", "CPU/REQ", "COST: CPU", "COST: REQUESTS/S", "COUNTED"), cost_cells),
)


def aligned(heads, rows: list[list[str]]) -> str:
    """Right, but for the first column; a row of two cells is a name and a remark."""
    full = [row for row in rows if len(row) == len(heads)]
    widths = [max(len(row[at]) for row in [list(heads), *full]) for at in range(len(heads))]
    first = max(len(row[0]) for row in rows)
    lines = []
    for row in [list(heads), *rows]:
        rest = "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:])) if len(row) == len(heads) else row[1]
        lines.append(f"  {row[0].ljust(first)}  {rest}".rstrip())
    return "\n".join(lines)


def overview(cell: dict, out: Path) -> str:
    """What compare prints, without its charts."""
    return (out / f"{cell['name']}.txt").read_text().partition("\nCharts\n")[0].rstrip()


def text_of(cell: dict, out: Path) -> str:
    base = base_of(cell)
    parts = [f"== {title_of(cell)} =="]
    for heads, cells in TEXT_TABLES:
        named = [head.replace("GIN", (cell["base"] or "Gin").upper()) for head in heads]
        rows = [[name_of(row, cell), *cells(row, base)] if "failed" not in row else [row["framework"], f"not measured: {row['failed']}"] for row in cell["rows"]]
        parts.append(aligned(named, rows))
    if cell["base"]:
        page = (out / f"{cell['name']}.html").resolve()
        parts += [f"-- reqscope compare --\n{overview(cell, out)}", f"with charts: {page}"]
    return "\n\n".join(parts)


def text(result: dict, out: Path) -> str:
    parts = [machine_line(result).replace("`", ""), GO_CORES, LEGEND.replace("`", "").replace("*", ""), published_line(result)]
    return "\n\n".join([*parts, *(text_of(cell, out) for cell in result["cells"])]) + "\n"


def write(result: dict, out: Path):
    (out / "table.md").write_text(markdown(result, out))
    (out / "table.txt").write_text(text(result, out))


def into_readme(readme: Path, out: Path) -> int:
    """Replaces what stands between the markers."""
    try:
        result = json.loads((out / "table.json").read_text())
    except OSError as error:
        print(f"table.py: {error.filename}: nothing was measured yet: make table", file=sys.stderr)
        return 2
    questions = out / "questions.md"
    inner = for_readme(result, questions.read_text().strip() if questions.exists() else "", out)
    try:
        put_between(readme, BEGIN, END, inner)
    except NoPlace as error:
        print(f"table.py: {error}", file=sys.stderr)
        return 2
    return 0
