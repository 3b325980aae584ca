"""What settlement needs from outside besides the chain and the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class RecordSource(Protocol):
    """Fetches a gateway's relay records."""

    def records(
        self, url: str, pot: bytes, index: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give the raw records of a pot, in pieces of any size, from the gateway whose address is `url`.

        Parameters
        ----------
        index : of a supplier, for its part alone (rule 5.20); None for all records.

        Raises
        ------
        NotFound
            the gateway gives no parts.
        Unavailable
            it does not give them, or they are too many.
        """
