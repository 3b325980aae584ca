"""One request as its user sees it: how long it took, where the answer came from, or why there is none."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Final, Self

from pocketnode.gateway.refusal import INTERNAL, NO_SUPPLIER, Refused
from pocketnode.web.meter import Meter, Sums

UNROUTED: Final = "(none)"  # what was turned away before it was known which service is meant


class Watched:
    """A request under way, counted when the block that it is used in ends. Who leaves before an answer is not counted.

    Parameters
    ----------
    meter, service : where it is counted, when it is over: the meter may have been turned meanwhile.
    kept : set it where the answer came from the cache, or was shared with a request alike.
    broken : set it where the answer ended early.
    """

    __slots__ = ("_first_s", "_meter", "_service", "_started_s", "broken", "kept")

    def __init__(self, meter: Meter, service: str) -> None:
        self._meter, self._service = meter, service
        self._started_s = time.perf_counter()
        self._first_s = 0.0
        self.kept = False
        self.broken = False

    def begun(self) -> None:
        """Note that the first byte is here."""
        self._first_s = time.perf_counter() - self._started_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        whole_s, sums = time.perf_counter() - self._started_s, self._meter.of(self._service)
        if self.broken:
            sums.fail(NO_SUPPLIER.code)
        elif kind is None or (self._first_s and _left(error)):
            sums.succeed((self._first_s or whole_s) * 1000, whole_s * 1000, self.kept)
        elif isinstance(error, Refused):
            turn_away(sums, error)
        elif not _left(error):
            sums.fail(INTERNAL.code)


def turn_away(sums: Sums, refused: Refused) -> None:
    """Count a refusal: as a failure where it is not for who asked to mend."""
    if refused.reason.status < 500:
        sums.refuse(refused.reason.code)
    else:
        sums.fail(refused.reason.code)


def _left(error: BaseException | None) -> bool:
    """Return whether it ended because the user went away."""
    return isinstance(error, asyncio.CancelledError | ConnectionResetError)
