"""Commands, links and pictures in the documentation are real."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pocketnode.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")])
BLOCK = re.compile(r"^```(?:sh|console|bash)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each pocketnode command in a page's blocks."""
    if page.name == "commands.md":
        return
    for block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if words.startswith("pocketnode ") and "..." not in words:
                yield shlex.split(words.split(" > ")[0].split(" | ")[0].split(" && ")[0], comments=True)[1:]


def check(words: list[str]) -> None:
    """Fail where a group, command or option of the line does not exist."""
    command: click.Command = main
    context = click.Context(command, **command.context_settings)  # a command remembers its first help option
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
    known = {name for param in command.get_params(context) for name in (*param.opts, *param.secondary_opts)}
    known |= {"-h", "--help", "--version"}
    for word in words:
        if word.startswith("-") and not word.lstrip("-").isdigit() and word != "-":
            assert word.split("=")[0] in known, f"no option {word!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    for words in commands(page):
        try:
            check(list(words))
        except AssertionError as error:
            raise AssertionError(f"{page.name}: pocketnode {' '.join(words)}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
