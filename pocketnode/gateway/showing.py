"""Which block an answer tells its reader of: from then on that reader is shown none that is older. Pure.

An answer about a block that the request names by number tells nothing new: who asks for it knows of it.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from pocketnode.gateway.blocks import quantity
from pocketnode.services.spec import Method

NEWEST: Final = (None, "latest", "pending")  # a parameter that is left out means the newest block


def moves(method: Method, params: Any) -> bool:
    """Return whether an answer to this request is about what is newest, or about what the request does not say."""
    if method.block is None:
        return True
    given = params[method.block] if isinstance(params, list) and len(params) > method.block else None
    if method.range:
        return isinstance(given, dict) and not given.get("blockHash") and given.get("toBlock") in NEWEST
    return given in NEWEST if given is None or isinstance(given, str) else False


def shown_in(method: Method, body: bytes) -> int | None:
    """Return the number of the newest block that an answer tells of, if it tells of one.

    >>> fees = Method(units=1, shows="oldestBlock")
    >>> shown_in(fees, b'{"result":{"oldestBlock":"0x5","gasUsedRatio":[0.1,0.2,0.3]}}')
    7
    >>> shown_in(Method(units=1, shows="blockNumber"), b'{"result":[{"blockNumber":"0x1"},{"blockNumber":"0x2"}]}')
    2
    """
    if not method.shows:
        return None
    answer = orjson.loads(body)
    found = answer.get("result") if isinstance(answer, dict) else None
    if isinstance(found, list):
        found = found[-1] if found else None
    if not isinstance(found, dict):
        return None
    number = quantity(found.get(method.shows))
    if number is None or method.shows != "oldestBlock":
        return number
    ratios = found.get("gasUsedRatio")
    return number + max(0, len(ratios) - 1) if isinstance(ratios, list) else number
