"""Encrypted key files: the Ethereum keystore, version 3, which every wallet reads.

`eth_keyfile` (a part of eth-account) does the format; scrypt makes each guess at a password cost memory and time. It is
imported where it is used: the curves of validator keys, which it brings along, take half a second to load.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def load(path: Path, password: str, apart: bool = False) -> Key:
    """Return the key in the file at `path`.

    Parameters
    ----------
    apart : open it in a process of its own. For daemons: what eth_keyfile brings along is 12 MiB that they would keep.

    Raises
    ------
    ConfigError
        there is no such file, it is not a keystore, or the password is not the one it was made with.
    """
    try:
        content = json.loads(path.read_text())
        _check_work(content)
        return Key(_opened_apart(content, password) if apart else _opened(content, password))
    except OSError as error:
        raise ConfigError(f"no key file at {path}: make one with `pocketnode keys create`") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, NotImplementedError) as error:
        raise ConfigError(f"{path} does not open: it is no keystore, or the password is wrong") from error


def _opened(content: dict[str, Any], password: str) -> bytes:
    from eth_keyfile import keyfile

    return bytes(keyfile.decode_keyfile_json(content, password.encode()))


def _opened_apart(content: dict[str, Any], password: str) -> bytes:
    """Have another process open it: password and key go through pipes, which nobody else can read."""
    asked = json.dumps([content, password]).encode()
    done = subprocess.run([sys.executable, "-m", __name__], input=asked, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])
    return done.stdout


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


if __name__ == "__main__":  # `apart`
    sys.stdout.buffer.write(_opened(*json.load(sys.stdin)))
