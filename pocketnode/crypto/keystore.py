"""Encrypted key files: the Ethereum keystore, version 3, which every wallet reads.

`eth_keyfile` (a part of eth-account) does the format; scrypt makes each guess at a password cost memory and time. It is
imported where it is used: the curves of validator keys, which it brings along, take half a second to load.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from pocketnode.crypto.keys import Key
from pocketnode.errors import ConfigError

# scrypt's N. The usual one takes about a second to open; the light one is for keys that hold nothing.
USUAL_COST: Final = 2**18
LIGHT_COST: Final = 2**12
MEMORY_BYTES_MOST: Final = 2**30  # scrypt's; the usual cost takes a quarter of it
ROUNDS_MOST: Final = 10_000_000  # PBKDF2's; wallets take 262,144


def create(path: Path, key: Key, password: str, cost: int = USUAL_COST) -> None:
    """Write `key` to a new file at `path`, readable by its owner only.

    Parameters
    ----------
    password : not empty; what `load` must be given again.
    cost : scrypt's N, a power of two; opening takes about `cost` * 4 us and `cost` KiB.

    Raises
    ------
    ConfigError
        the password is empty, or there is a file already: a key is never overwritten.
    """
    if not password:
        raise ConfigError("an empty password protects nothing: give one")
    from eth_keyfile import keyfile

    content = keyfile.create_keyfile_json(key.secret(), password.encode(), kdf="scrypt", iterations=cost)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists: a key is never overwritten, choose another file") from error
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)


def load(path: Path, password: str) -> Key:
    """Return the key in the file at `path`.

    Raises
    ------
    ConfigError
        there is no such file, it is not a keystore, or the password is not the one it was made with.
    """
    from eth_keyfile import keyfile

    try:
        content = json.loads(path.read_text())
        _check_work(content)
        return Key(keyfile.decode_keyfile_json(content, password.encode()))
    except OSError as error:
        raise ConfigError(f"no key file at {path}: make one with `pocketnode keys create`") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, NotImplementedError) as error:
        raise ConfigError(f"{path} does not open: it is no keystore, or the password is wrong") from error


def _check_work(content: dict[str, Any]) -> None:
    """Refuse a file that takes minutes or gigabytes to open, by mistake or by intent."""
    work = content["crypto"]["kdfparams"]
    memory = 128 * work.get("n", 1) * work.get("r", 1) * max(1, work.get("p", 1))
    if memory > MEMORY_BYTES_MOST or work.get("c", 1) > ROUNDS_MOST:
        raise ValueError("more work to open than any wallet asks for")


def password_from(path: Path) -> str:
    """Return the password in a file: its first line, without the line break."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"no password file at {path}") from error
    return text.splitlines()[0] if text else ""
