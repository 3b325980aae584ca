"""What a chain node or a contract refuses."""

from __future__ import annotations

from typing import Any

from pocketnode.errors import BadInput, PocketError


class Refused(PocketError):
    """A node answered with an error that asking again or elsewhere does not cure.

    Parameters
    ----------
    code, message : of JSON-RPC.
    data : the bytes that a revert returned; empty if none.
    """

    def __init__(self, code: int, message: str, data: bytes = b"") -> None:
        super().__init__(f"the chain node refused: {message}")
        self.code = code
        self.message = message
        self.data = data


class Reverted(BadInput):
    """A contract refused. `name` is its error's name, `facts` the values that it compared, by name."""

    def __init__(self, name: str, facts: dict[str, Any]) -> None:
        listed = ", ".join(f"{key}={_shown(value)}" for key, value in facts.items())
        super().__init__(f"the contract refused: {name}({listed})")
        self.name = name
        self.facts = facts


class Expired(PocketError):
    """The block until which a transaction made sense has passed before it was mined."""

    def __init__(self, key: str, deadline: int) -> None:
        super().__init__(f"{key}: not mined by block {deadline}")
        self.key = key
        self.deadline = deadline


class TransactionFailed(PocketError):
    """The contract refused an intent; the message says what it said. `key` is the intent's."""

    def __init__(self, key: str, error: str) -> None:
        super().__init__(f"{key}: {error}")
        self.key = key


def _shown(value: Any) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
