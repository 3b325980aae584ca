"""Writes docs/performance.md and its pictures from the result files, so that prose and numbers cannot differ."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from bench import results, targets, tools
from bench.servers import KINDS
from bench.targets import middle
from pocketnode.errors import Unavailable

NOTES: Final = tools.ROOT / "bench" / "notes.md"
OURS: Final = targets.OURS
Cells = Sequence[str]


def write(folder: Path, document: Path, pictures: bool = True) -> None:
    """Write the document from all results in `folder`, and pictures beside it."""
    found = results.read(folder)
    if not found:
        raise Unavailable(f"no results in {folder}: run `make bench`")
    drawn: list[str] = []
    if pictures:
        drawn = draw(folder, document.parent / "performance")
    parts = [_head(found), _targets(found), _pictures(drawn)]
    parts += [section(found[name]["data"]) for name, section in _SECTIONS.items() if name in found]
    if NOTES.exists():
        parts.append(NOTES.read_text().strip())
    parts.append(_taken(found))
    document.write_text("\n\n".join(part for part in parts if part) + "\n")


def draw(folder: Path, into: Path) -> list[str]:
    """Draw the pictures with the plotter's own Python; return their names."""
    into.mkdir(parents=True, exist_ok=True)
    words = [str(tools.PLOTTER.path()), str(tools.ROOT / "bench" / "pictures.py"), str(folder), str(into)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the pictures could not be drawn: {done.stderr.strip()[-400:]}")
    return done.stdout.split()


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Return a Markdown table.

    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|---" * len(line) + "|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Return a number as people read it: three digits that count.

    >>> number(1234.5), number(12.345), number(0.1234)
    ('1,234', '12.3', '0.12')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(value: dict[str, float]) -> str:
    """Return a median with the least and the greatest of all rounds."""
    return f"{number(value['median'])} ({number(value['min'])}-{number(value['max'])})"


def _head(found: dict[str, Any]) -> str:
    facts = next(iter(found.values()))
    machine = facts["machine"]
    return f"""# Performance

Written by `python -m bench --report` from `bench/results/*.json`; do not edit it by hand. `make bench` measures anew.

Everything runs on one machine ({machine["cores"]} cores, {machine["cpu"]}, {machine["memory_gib"]} GiB, \
{machine["system"]}): client, backend and what is measured share its cores, so rates are lower than what a gateway on
its own machine reaches, and ratios say more than rates. The backend is nginx with fixed answers. Requests come over
sockets and no two bodies are equal. Closed loops find capacity; open loops send at a fixed rate and count each latency
from when its request was due. Warm-up is thrown away, everyone is measured in turn in each of several rounds, and
numbers are medians over the rounds (in parentheses the least and the greatest). CPU time is the operating system's.
Our gateway and our supplier are one process each, with signing, verification, metering, quality and recording on."""


def _targets(found: dict[str, Any]) -> str:
    rows = targets.rows(found)
    met = sum(row.met is True for row in rows)
    words = {True: "yes", False: "**no**", None: "-"}
    cells = [[row.what, row.target, row.measured, words[row.met]] for row in rows]
    return f"## Targets: {met} of {len(rows)} met\n\n" + table(["what", "target", "measured", "met"], cells)


def _pictures(names: Iterable[str]) -> str:
    return "\n\n".join(f"![{name.removesuffix('.svg').replace('-', ' ')}](performance/{name})" for name in names)


def _relay(data: dict[str, Any]) -> str:
    return f"""## JSON-RPC: 200 B asked, 2 kB answered

### Capacity

{_capacity_table(data["capacity"])}

### Cost and memory at {data["width"]} connections

{_cost_table(data["capacity"], data["width"])}

### Latency, open loop

Added to what the backend alone takes at the same rate in the same round.

{_latency_table(data["latency"])}"""


def _chat(data: dict[str, Any]) -> str:
    return f"""## Chat completions, whole

{_capacity_table(data["capacity"])}

### Cost and memory at {data["width"]} connections

{_cost_table(data["capacity"], data["width"])}{_unable(data)}"""


def _streams(data: dict[str, Any]) -> str:
    at_once = [
        [name, spread(run["16"]["rate"]), *_roles(run["16"], "cpu_us_each_event")]
        for name, run in data["at_once"].items()
    ]
    timed = []
    for name, runs in data["timed"].items():
        for streams, run in runs.items():
            added = spread(run["added_ms"]["p50"]) if "added_ms" in run else "-"
            gap = number(middle(run, "longest_gap_ms", "p99")) if "longest_gap_ms" in run else "-"
            share = f"{middle(run, 'stall_free_share'):.1%}"
            timed.append(
                [name, streams, added, gap, share, *_roles(run, "cpu_us_each_event"), number(middle(run, "failed"))]
            )
    head = [
        "who",
        "streams",
        "first token added, p50 ms",
        "longest gap, p99 ms",
        "stall-free",
        "CPU us an event",
        "failed",
    ]
    return f"""## Streamed chat: 200 tokens

### At 50 tokens a second

A stream stalls where two events are more than 40 ms apart, twice the backend's interval.

{table(head, timed)}

### As fast as possible, 16 at once

{table(["who", "streams a second", "CPU us an event"], at_once)}{_unable(data)}"""


def _llm(data: dict[str, Any]) -> str:
    rows = [
        [name, spread(run["first_event_ms"]["p50"]), spread(run["tokens_per_second"]), number(middle(run, "answers"))]
        for name, run in data.items()
        if "first_event_ms" in run
    ]
    head = ["who", "first token, p50 ms", "tokens a second", "streams"]
    return f"## A real model: llama.cpp with SmolLM2-135M, one stream at a time\n\n{table(head, rows)}"


def _soak(data: dict[str, Any]) -> str:
    rss, burst, stated = data["rss_mib"], data["after_burst"]["rss_mib"], data["statement"]
    rows = [
        [role, number(rss["before"][role]), number(rss["after"][role]), number(burst[role])]
        for role in ("gateway", "supplier")
    ]
    store, records = data["supplier_store_bytes"], data["gateway_records_bytes"]
    shown = "not seen" if stated["seconds"] is None else f"posted {stated['seconds']} s after the session's end"
    return f"""## {data["relays"]:,} relays in one session

{table(["memory, MiB", "before", "after", "after a burst of 150 kB bodies"], rows)}

They took {data["seconds"]:,.0f} s. The supplier's store went from {store["before"]:,} to {store["after"]:,} bytes. The
gateway's relay records take {records:,} bytes, {records / data["relays"]:.1f} each; its store takes
{data["gateway_store_bytes"]:,}. The statement was {shown} (each gateway has its own
block for that in the first quarter of the window); that took the gateway {stated["gateway_cpu_s"]} s of CPU,
its transaction {stated["gas"] or 0:,} gas."""


def _scaling(data: dict[str, Any]) -> str:
    rows = []
    for what in ("suppliers", "sessions"):
        for size, run in data[what].items():
            rows.append([f"{size} {what}", spread(run["rate"]), *_roles(run, "cpu_us_each"), *_roles(run, "rss_mib")])
    workers = [
        [size, spread(run["rate"]), *_roles(run, "cpu_us_each"), spread(run["client_cpu_us_each"])]
        for size, run in data["workers"].items()
    ]
    start, boundary = data["session_start"], data["boundary"]
    took = boundary["latency_ms"]
    return f"""## Scaling, and where sessions change

{table(["size", "relays a second", "CPU us a relay", "RSS MiB"], rows)}

The gateway is the whole daemon, its suppliers are real lanes that sign at once, and sessions are computed instead of
read from a chain: so a thousand are there at once.

{table(["workers", "relays a second", "CPU us a relay", "CPU us of the client"], workers)}

Workers share the cores with a client that pipelines; their suppliers are faked within them, signatures and all.

A session with {start["suppliers"]} suppliers starts in {spread(start["whole_ms"])} ms: {spread(start["read_ms"])} ms to
read it and the grant from the chain, {spread(start["open_ms"])} ms to open all lanes, all suppliers on the same cores.
The gateway does that before the session is used. While one session ended and the next
began, {boundary["answers"]} requests at 100 a second had p50 {took["p50"]} ms, p99 {took["p99"]} ms, and
{boundary["failed"]} failed."""


def _protocol(data: dict[str, Any]) -> str:
    rows = [[s["step"], number(s["us"]), f"{number(s['min_us'])}-{number(s['max_us'])}"] for s in data["steps"]]
    return f"## The protocol's steps, on one core\n\n{table(['step', 'us', 'least-greatest'], rows)}"


def _settlement(data: dict[str, Any]) -> str:
    paths, size = data["paths"], data["at_pockets_size"]
    if not paths:
        return ""
    text = "## Settlement\n\n" + table(["path", "gas"], [[name, f"{gas:,}"] for name, gas in paths.items()])
    if not size:
        return text
    steps = [
        ["sessions a day: 200 applications x 24 of an hour", f"{size['sessions_a_day']:,}"],
        [f"their statements, {size['statement_gas']:,} gas each", f"{size['statements_gas_a_day']:,} gas"],
        [
            f"24 suppliers withdraw each, {size['withdrawn_sessions_at_once']} sessions at once: "
            f"{size['withdrawal_gas_a_session']:,} gas a session",
            f"{size['withdrawals_gas_a_day']:,} gas",
        ],
        ["in all", f"{size['gas_a_day']:,} gas a day"],
        [f"over {size['relays_a_day']:,} relays a day", f"**{size['gas_a_relay']} gas a relay**"],
    ]
    return f"""{text}

At the size of Pocket's network (200 applications of one service each at a time, 5,250 suppliers of 300 services, 400
million relays a day), with sessions of an hour:

{table(["step", "amount"], steps)}"""


def _capacity_table(capacity: dict[str, Any]) -> str:
    widths = list(next(iter(capacity.values())))
    rows = [[name, *(spread(run["rate"]) for run in runs.values())] for name, runs in capacity.items()]
    return table(["answers a second", *(f"{width} connections" for width in widths)], rows)


def _cost_table(capacity: dict[str, Any], width: str) -> str:
    rows = [
        [name, *_roles(runs[width], "cpu_us_each"), *_roles(runs[width], "cores"), *_roles(runs[width], "rss_mib")]
        for name, runs in capacity.items()
        if runs[width]["processes"]
    ]
    return table(["who", "CPU us an answer", "cores in use", "RSS MiB"], rows)


def _latency_table(latency: dict[str, Any]) -> str:
    rows = [
        [name, rate, number(middle(run, "asked_rate")), *(spread(run["added_ms"][q]) for q in ("p50", "p99", "p999"))]
        for name, runs in latency.items()
        for rate, run in runs.items()
        if "p50" in run.get("added_ms", {})
    ]
    return table(["who", "load", "requests/s", "added p50 ms", "added p99 ms", "added p99.9 ms"], rows)


def _roles(run: dict[str, Any], what: str) -> list[str]:
    """Return one cell: a number for each process."""
    processes = {role: facts for role, facts in run.get("processes", {}).items() if role not in KINDS}
    cells = [f"{role} {spread(facts[what])}" for role, facts in processes.items() if what in facts]
    return ["; ".join(cells) or "-"]


def _unable(data: dict[str, Any]) -> str:
    notes = [f"{name}: {', '.join(kinds)}" for name, kinds in data.get("unable", {}).items()]
    return f"\n\nNot measured, since it never answered well: {'; '.join(notes)}." if notes else ""


def _taken(found: dict[str, Any]) -> str:
    rows = [[name, facts["taken"], f"`{facts['commit']}`"] for name, facts in found.items()]
    versions = ", ".join(f"{name} {version}" for name, version in next(iter(found.values()))["versions"].items())
    return f"## When, and with what\n\n{table(['scenario', 'taken', 'commit'], rows)}\n\nVersions: {versions}."


_SECTIONS: Final = {
    "relay": _relay,
    "chat": _chat,
    "streams": _streams,
    "llm": _llm,
    "soak": _soak,
    "scaling": _scaling,
    "protocol": _protocol,
    "settlement": _settlement,
}
