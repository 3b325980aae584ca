"""What is answered here: what never changes on a chain, such as its id, and what follows from the request alone.

What never changes is asked of several suppliers once, then answered for good. One supplier's word would do harm for as
long as it is kept: a wallet signs for the chain that it is told.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog

from pocketnode.crypto.keccak import keccak
from pocketnode.errors import PocketError
from pocketnode.gateway.catalog import Service
from pocketnode.gateway.refusal import BAD_PARAMS, Refused
from pocketnode.gateway.sharing import Sharing

ASKED: Final = 3
HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
ALONE_S: Final = 600.0  # how long one supplier's word holds where there is no other

log = structlog.get_logger()
Ask = Callable[[Service, str, list[Any], list[bytes]], Awaitable[Any]]
Key = tuple[str, str]  # service, method


def computed(how: str, params: Any) -> bytes:
    """Return the result of a method that is a function of its parameters, as JSON; `keccak` hashes the first one.

    Raises
    ------
    Refused
        the parameters are not one string of whole bytes in hex.

    >>> computed("keccak", ["0x"])
    b'"0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"'
    """
    assert how == "keccak"
    text = params[0] if isinstance(params, list) and len(params) == 1 else None
    if not isinstance(text, str) or not HEX.fullmatch(text):
        raise Refused(BAD_PARAMS, "the parameters are one string of bytes in hex, such as ['0x68656c6c6f']")
    return b'"0x' + keccak(bytes.fromhex(text[2:])).hex().encode() + b'"'


class Statics:
    """One for the daemon. `ask` buys an answer of the gateway's own from a supplier that is not among those tried."""

    def __init__(self, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[Key, tuple[bytes, float]] = {}  # result as JSON, until when
        self._asking: Sharing[Key, bytes] = Sharing()

    async def get(self, service: Service, method: str) -> bytes | None:
        """Return a method's result as JSON; None where suppliers do not agree, or none answers."""
        known = self._known.get((service.name, method))
        if known is not None and self._clock() < known[1]:
            return known[0]
        found, _ = await self._asking.get((service.name, method), lambda: self._agreed(service, method))
        return found or None

    async def _agreed(self, service: Service, method: str) -> bytes:
        tried: list[bytes] = []
        asked = (self._ask(service, method, [], tried) for _ in range(ASKED))
        said: Counter[bytes] = Counter()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if not isinstance(answer, BaseException):
                said[orjson.dumps(answer)] += 1
            elif not isinstance(answer, PocketError):
                raise answer
        if not said:
            return b""
        value, votes = said.most_common(1)[0]
        if 2 * votes <= said.total():
            log.warning("suppliers disagree", service=service.name, method=method, answers=len(said))
            return b""
        until_s = float("inf") if votes > 1 else self._clock() + ALONE_S
        self._known[(service.name, method)] = (value, until_s)
        return value
