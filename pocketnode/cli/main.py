"""`pocketnode`: the root of all commands, and the one place where errors become exit codes.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed for a reason that has no code of its own, or you said no |
| 2 | the command line or a configuration is wrong: the operator must act |
| 3 | a rule of docs/protocol.md was broken |
| 4 | not available now; later or elsewhere it may be |
| 5 | what was named does not exist |
| 6 | the input is wrong |
| 7 | own records contradict each other |
| 130 | interrupted |
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from pocketnode import __version__
from pocketnode.errors import PocketError

INTERRUPTED: Final = 130  # as a shell says it of what Ctrl-C ended

# Each command group: (module, its attribute, one line of help). A module is imported only when its group is used,
# so that `pocketnode --help` does not pay for web3 and gRPC.
GROUPS: Final[dict[str, tuple[str, str, str]]] = {
    "app": ("pocketnode.cli.app", "app", "An application's escrow and grants."),
    "bench": ("pocketnode.cli.bench", "bench", "Load an endpoint; time the protocol's steps."),
    "chain": ("pocketnode.cli.chain", "chain", "Deploy the contracts and read the chain."),
    "completion": ("pocketnode.cli.completion", "completion", "Complete commands in your shell."),
    "config": ("pocketnode.cli.config", "config", "Configuration files: schema, example, check."),
    "explorer": ("pocketnode.cli.explorer", "explorer", "A deployment in a browser, from its logs alone."),
    "gateway": ("pocketnode.cli.gateway", "gateway", "Run a gateway, its keys and its bond."),
    "keys": ("pocketnode.cli.keys", "keys", "Create and read encrypted keys."),
    "localnet": ("pocketnode.cli.localnet", "localnet", "A whole market on this machine."),
    "service": ("pocketnode.cli.service", "service", "Services: what is sold."),
    "session": ("pocketnode.cli.session", "session", "Who serves in a session, and what it paid."),
    "settlement": ("pocketnode.cli.settlement", "settlement", "What is owed, and what it waits for."),
    "supplier": ("pocketnode.cli.supplier", "supplier", "Run a supplier and its registrations."),
    "verify": ("pocketnode.cli.verify", "verify", "Check who signed a saved answer."),
}


class Commands(click.Group):
    """A group whose errors become exit codes, and whose members are imported when first used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*GROUPS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = GROUPS[cmd_name]
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, GROUPS[name][2]) for name in self.list_commands(ctx) if name in GROUPS])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except PocketError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except BaseExceptionGroup as group:
            # A task group wraps what failed in it; the first error of ours is what the user can act upon.
            if (error_inside := first_error(group)) is None:
                raise
            click.echo(f"error: {error_inside}", err=True)
            ctx.exit(error_inside.exit_code)


def first_error(group: BaseExceptionGroup[BaseException]) -> PocketError | None:
    """Return the first of our errors inside `group`, if nothing else is in it."""
    ours, rest = group.split(PocketError)
    if ours is None or rest is not None:
        return None
    found: BaseException = ours
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, PocketError)
    return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pocketnode")
def main() -> None:
    """A market where suppliers are paid by how well they answer.

    \b
    Example:
      pocketnode localnet up
    """
    from pocketnode.cli.logs import log_to_stderr

    log_to_stderr("warning", as_json=False)  # daemons set their own; stdout is for what a program may read
