"""Rules that hold for every command, those included that are added tomorrow: the tree of commands is walked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from pocketnode import errors
from pocketnode.cli import main as root
from pocketnode.cli.main import main
from tests.docs.test_links import check

GROUPS = {
    *("localnet", "keys", "chain", "service", "supplier", "app"),
    *("gateway", "session", "settlement", "verify", "bench", "completion"),
}
# What prints no facts: it runs until it is ended, prints a file as it is, or only says that it is done.
NO_JSON = {
    *("gateway start", "supplier start", "explorer", "localnet up", "localnet down", "localnet reset"),
    *("localnet logs", "localnet env", "completion", "config example", "config schema"),
}
DESTROYS = {"localnet reset", "gateway keys limit", "gateway keys revoke", "gateway keys rotate"}


def tree(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is not hidden, with its path below `pocketnode`."""
    context = click.Context(command, parent, info_name=name, **command.context_settings)
    yield context.command_path.removeprefix("pocketnode").strip(), command
    if isinstance(command, click.Group):
        for member in command.list_commands(context):
            found = command.get_command(context, member)
            assert found is not None
            if not found.hidden:
                yield from tree(found, member, context)


ALL = dict(tree(main, "pocketnode"))
ENDS = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


def options(command: click.Command) -> dict[str, click.Option]:
    return {name: param for param in command.params if isinstance(param, click.Option) for name in param.opts}


def test_every_group_is_there() -> None:
    assert set(root.GROUPS) >= GROUPS


@pytest.mark.parametrize("path", ALL)
def test_help_has_an_example_of_this_very_command(path: str) -> None:
    said = ALL[path].help or ""
    lines = [line.strip() for line in said.partition("Example:")[2].splitlines()]
    inside = [re.sub(r'^eval "\$\((.*)\)"$', r"\1", line) for line in lines]
    calls = [line.split(" > ")[0] for line in inside if line.startswith(f"pocketnode {path}".strip())]
    assert calls, "no example"
    for call in calls:
        check(shlex.split(call)[1:])


@pytest.mark.parametrize("path", ALL)
def test_every_option_says_what_it_does(path: str) -> None:
    silent = [param.name for param in ALL[path].params if isinstance(param, click.Option) and not param.hidden]
    assert not [name for name in silent if not next(p for p in options(ALL[path]).values() if p.name == name).help]


@pytest.mark.parametrize("path", ENDS)
def test_what_prints_facts_prints_json(path: str) -> None:
    known = options(ENDS[path])
    assert ("--json" in known) != (path in NO_JSON)
    assert ("--field" in known) == ("--json" in known)


@pytest.mark.parametrize("path", ENDS)
def test_what_moves_money_or_destroys_asks(path: str) -> None:
    known = options(ENDS[path])
    assert ("--yes" in known) == ("--keystore" in known or path in DESTROYS)


@pytest.mark.parametrize("path", ENDS)
def test_what_reads_a_configuration_takes_settings_by_flag(path: str) -> None:
    known = options(ENDS[path])
    assert ("--set" in known) == ("--config" in known)


def test_exit_codes_are_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", root.__doc__ or "", re.MULTILINE)}
    raised = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PocketError)
    }
    assert raised | {0, 130} <= documented
