"""Makes a supplier's process cheat: what it signs is not what happened. Wrapped from outside, as tests.faults.crash."""

from __future__ import annotations

from typing import Any, Final

from pocketnode.protocol.types import Response
from pocketnode.transport import served

_seen: list[bytes] = []


def inflated(**facts: Any) -> Response:
    """Say a hundred times the units, far beyond the hold."""
    return Response(**{**facts, "units": facts["units"] * 100})


def another_request(**facts: Any) -> Response:
    """Answer the first request again and again: the Response names its Receipt."""
    _seen.append(facts["receipt"])
    return Response(**{**facts, "receipt": _seen[0]})


def another_answer(**facts: Any) -> Response:
    """Sign another payload than the one that was sent."""
    return Response(**{**facts, "payload": bytes(32)})


CHEATS: Final = {"inflated": inflated, "another-request": another_request, "another-answer": another_answer}


def install(name: str) -> None:
    """Have this process sign by a cheat's rule."""
    vars(served)["Response"] = CHEATS[name]
