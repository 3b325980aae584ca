"""The command frame: errors become the exit codes of their kind, and help starts quickly."""

import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from pocketnode.cli.main import GROUPS, Commands, main
from pocketnode.errors import BadInput, ConfigError, Corrupt, NotFound, PocketError, RemoteError, Unavailable

ERRORS: list[tuple[PocketError, int]] = [
    (PocketError("x"), 1),
    (ConfigError("x"), 2),
    (RemoteError("3.4", "x"), 3),
    (Unavailable("x"), 4),
    (NotFound("x"), 5),
    (BadInput("x"), 6),
    (Corrupt("x"), 7),
]


def failing_with(error: BaseException) -> click.Group:
    @click.group(cls=Commands)
    def root() -> None: ...

    @root.command()
    def fail() -> None:
        raise error

    return root


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_is_one_line_and_the_exit_code_of_its_kind(error: PocketError, code: int) -> None:
    result = CliRunner().invoke(failing_with(error), ["fail"])
    assert (result.exit_code, result.stderr) == (code, f"error: {error}\n")


def test_an_error_inside_a_task_group_is_found() -> None:
    group = ExceptionGroup("jobs", [ExceptionGroup("inner", [NotFound("no such key")])])
    result = CliRunner().invoke(failing_with(group), ["fail"])
    assert (result.exit_code, result.stderr) == (5, "error: no such key\n")


def test_an_interruption_has_a_code_of_its_own() -> None:
    result = CliRunner().invoke(failing_with(KeyboardInterrupt()), ["fail"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_bug_is_not_hidden() -> None:
    result = CliRunner().invoke(failing_with(ZeroDivisionError("bug")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_help_names_every_group_and_imports_none() -> None:
    started = time.monotonic()
    code = (
        "import sys; from pocketnode.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert time.monotonic() - started < 3
    *help_lines, modules = said.splitlines()
    assert all(any(line.strip().startswith(name) for line in help_lines) for name in GROUPS)
    assert not {"web3", "grpc", "sqlalchemy", "aiohttp"} & set(modules.split())


def test_commands_load_no_curves_that_they_do_not_use() -> None:
    """eth_keyfile brings the curves of validator keys along; they take longer than all else that a command loads."""
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    modules = [module for module, *_ in GROUPS.values()]
    said = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True).stdout
    assert not {"py_ecc", "eth_keyfile"} & set(said.split())


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_every_group_can_be_imported_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
