"""`pocketnode completion`: what a shell needs to complete commands, options and values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    Example:
      pocketnode completion bash > ~/.local/share/bash-completion/completions/pocketnode
    """
    found = get_completion_class(shell)
    assert found is not None
    from pocketnode.cli.main import main

    click.echo(found(main, {}, "pocketnode", "_POCKETNODE_COMPLETE").source())
