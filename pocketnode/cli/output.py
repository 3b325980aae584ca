"""How commands print: one JSON object a line for programs, a table for people. Words go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import click

from pocketnode.errors import BadInput

PIPE_COLUMNS: Final = 300  # of tables that no terminal shows: nothing is folded there
_FIELD: Final = "pocketnode.field"


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--json`, which the command takes as `as_json`, and `--field NAME`, which leaves one value of that."""
    told = click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=lambda context, _option, as_json: as_json or _FIELD in context.meta,
        help="Print one JSON object a line.",
    )
    field = click.option(
        "--field",
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=_keep_field,
        help="Print this one of the values that --json prints, and nothing else.",
    )
    return told(field(command))


def print_rows(rows: Iterable[Mapping[str, Any]], as_json: bool, title: str = "") -> None:
    """Print rows that share their keys: as JSON lines, or as a table whose columns are those keys."""
    if as_json:
        for row in rows:
            click.echo(_for_programs(row))
        return
    _print_table(list(rows), title)


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print named values: as one JSON object, or one to a line."""
    if as_json:
        click.echo(_for_programs(facts))
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")


def say(words: str) -> None:
    """Tell the person at the terminal; a program that reads stdout never sees it."""
    click.echo(words, err=True)


def _keep_field(context: click.Context, _option: click.Parameter, name: str | None) -> None:
    if name is not None:
        context.meta[_FIELD] = name


def _for_programs(facts: Mapping[str, Any]) -> str:
    """Return facts as JSON, or the one value that `--field` names."""
    context = click.get_current_context(silent=True)
    field = context.meta.get(_FIELD) if context else None
    if field is None:
        return json.dumps(facts, default=str)
    if field not in facts:
        raise BadInput(f"no field {field!r}: there are {', '.join(facts)}")
    value = facts[field]
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _print_table(rows: list[Mapping[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        say(f"{title or 'rows'}: none")
        return
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for name, value in rows[0].items():
        justify: Literal["left", "right"] = "right" if isinstance(value, int | float) else "left"
        table.add_column(name.replace("_", " "), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:,}" if type(value) is int else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)
