"""`pocketnode bench`: load an endpoint and say how it did; time the protocol's own steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from pocketnode.cli.busy import busy
from pocketnode.cli.output import json_option, print_facts, print_rows, say

KINDS: Final = ("json-rpc", "chat", "stream")


@click.group()
def bench() -> None:
    """Load an endpoint; time the protocol's steps.

    \b
    Example:
      pocketnode bench load http://127.0.0.1:3069/v1/eth --rate 200 --api-key KEY
    """


@bench.command()
@click.argument("url")
@click.option("--kind", type=click.Choice(KINDS), default="json-rpc", show_default=True, help="What is asked.")
@click.option("--model", default="smollm2-135m", show_default=True, help="Of chat completions.")
@click.option("--tokens", type=click.IntRange(1), default=64, show_default=True, help="Most tokens of a completion.")
@click.option("--body", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A body of your own, in which @number@ stands for what differs.")  # fmt: skip  # noqa: E501
@click.option("--api-key", envvar="POCKETNODE_API_KEY", help="Sent as a bearer token.")
@click.option("--connections", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Closed loop: each asks as fast as it is answered.")  # fmt: skip  # noqa: E501
@click.option("--rate", type=click.FloatRange(0.1, 100_000), help="Open loop: requests a second, whatever the answers do.")  # fmt: skip  # noqa: E501
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10, show_default=True, help="Measured.")
@click.option("--warmup", type=click.FloatRange(0, 600), default=2, show_default=True, help="Seconds before that.")
@click.option("--pid", "pids", type=int, multiple=True, help="A process whose CPU time and memory are counted; may be repeated.")  # fmt: skip  # noqa: E501
@json_option
def load(
    url: str,
    kind: str,
    model: str,
    tokens: int,
    body: Path | None,
    api_key: str | None,
    connections: int,
    rate: float | None,
    seconds: float,
    warmup: float,
    pids: tuple[int, ...],
    as_json: bool,
) -> None:
    """Send distinct requests to URL and print rate and latency.

    Without --rate the loop is closed, which finds the capacity. With --rate it is open, and a latency counts from when
    its request was due: this is what users feel. Every request costs what your gateway charges for it.

    \b
    Example:
      pocketnode bench load http://127.0.0.1:3069/v1/eth --connections 64 --seconds 20
    """
    import uvloop

    from pocketnode.bench import requests
    from pocketnode.bench.http import Url
    from pocketnode.bench.load import Load, closed_loop, open_loop
    from pocketnode.bench.processes import Account

    target = Url.parse(url)
    text = body.read_text() if body else default_body(kind, model, tokens)
    if text.count(requests.NUMBER) != 1:
        raise click.BadParameter(f"the body must have {requests.NUMBER} once", param_hint="--body")
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    account = Account(pids)
    what = Load(
        target,
        requests.numbered(target, text, headers),
        events=kind == "stream",
        warmup_s=warmup,
        on_measured=account.start,
        on_end=account.stop,
    )
    say(f"{'open' if rate else 'closed'} loop, {warmup:g} s of warm-up, then {seconds:g} s ...")
    with busy("asking", warmup + seconds):
        run = uvloop.run(open_loop(what, rate, seconds) if rate else closed_loop(what, connections, seconds))
    print_facts(facts_of(run, account if pids else None), as_json)


@bench.command()
@json_option
def protocol(as_json: bool) -> None:
    """Time signatures, digests, Merkle trees, payment and sessions on this machine.

    \b
    Example:
      pocketnode bench protocol
    """
    from pocketnode.bench.protocol import measure, steps

    with busy("timing"):
        rows = [measure(step) for step in steps()]
    print_rows(rows, as_json, "microseconds for each, on one core")


def default_body(kind: str, model: str, tokens: int) -> str:
    """Return the body that is sent where the user gives none."""
    from pocketnode.bench import requests

    return requests.json_rpc_body() if kind == "json-rpc" else requests.chat_body(model, tokens, kind == "stream")


def facts_of(run: Any, account: Any) -> dict[str, Any]:
    """Return what is printed of a run: its summary, and the cost of the processes that were named."""
    from pocketnode.bench.processes import MIB
    from pocketnode.bench.summary import of_run

    facts = of_run(run)
    if account is not None:
        facts["cpu_us_each"] = round(account.cost.cpu_us_each(facts["answers"]), 1)
        facts["rss_mib"] = round(account.cost.rss / MIB, 1)
    return facts
