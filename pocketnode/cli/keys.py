"""`pocketnode keys`: make encrypted key files and tell whose they are."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click

from pocketnode.cli.output import json_option, print_facts
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key

password_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="POCKETNODE_PASSWORD_FILE",
    help="A file whose first line is the password; asked for if not given.",
)


@click.group()
def keys() -> None:
    """Create and read encrypted keys.

    \b
    Example:
      pocketnode keys create --password-file password.txt operator.json
    """


@keys.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@password_option
@click.option("--import-secret", is_flag=True, help="Read the secret (64 hex digits) from stdin; otherwise a new one.")
@json_option
def create(file: Path, password_file: Path | None, import_secret: bool, as_json: bool) -> None:
    """Write a key to FILE, which must not exist, and print its address.

    \b
    Example:
      pocketnode keys create operator.json
    """
    password = password_of(password_file, confirm=True)
    key = Key(secret_from_stdin()) if import_secret else Key(secrets.token_bytes(32))
    keystore.create(file, key, password)
    print_facts({"address": f"0x{key.address.hex()}", "file": str(file)}, as_json)


@keys.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@password_option
@json_option
def address(file: Path, password_file: Path | None, as_json: bool) -> None:
    """Print the address of the key in FILE, which proves that the password opens it.

    \b
    Example:
      pocketnode keys address operator.json
    """
    key = keystore.load(file, password_of(password_file, confirm=False))
    print_facts({"address": f"0x{key.address.hex()}", "file": str(file)}, as_json)


def password_of(file: Path | None, confirm: bool) -> str:
    """Return the password in `file`, or what the user types."""
    if file is not None:
        return keystore.password_from(file)
    typed: str = click.prompt("password", hide_input=True, confirmation_prompt=confirm, err=True)
    return typed


def secret_from_stdin() -> bytes:
    """Return the 32 bytes on stdin, given in hex."""
    text = sys.stdin.readline().strip().removeprefix("0x")
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise click.BadParameter("stdin must hold 64 hex digits")
    return secret
