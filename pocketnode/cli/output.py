"""How commands print: one JSON object a line for programs, a table for people. Words go to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")


def print_rows(rows: Iterable[Mapping[str, Any]], as_json: bool, title: str = "") -> None:
    """Print rows that share their keys: as JSON lines, or as a table whose columns are those keys."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, default=str))
        return
    _print_table(list(rows), title)


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print named values: as one JSON object, or one to a line."""
    if as_json:
        click.echo(json.dumps(facts, default=str))
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")


def say(words: str) -> None:
    """Tell the person at the terminal; a program that reads stdout never sees it."""
    click.echo(words, err=True)


def _print_table(rows: list[Mapping[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    if not rows:
        say(f"{title or 'rows'}: none")
        return
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(f"{value:,}" if type(value) is int else str(value) for value in row.values()))
    Console().print(table)
