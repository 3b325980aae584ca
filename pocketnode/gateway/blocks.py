"""What this gateway knows of a service's chain: its head, what is final, what a client was shown. Pure.

Learnt from answers to ordinary requests. One supplier's word does not move the head far: what it says above the others
counts only once a second one comes near it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

CLIENTS_MOST: Final = 20_000
REPORTS_MOST: Final = 256
REPORT_AGE_S: Final = 60.0
FINAL_DEPTH: Final = 96  # blocks below the head that count as final where the chain's own tag is not known
NEAR_BLOCKS: Final = 8


class Elsewhere(Protocol):
    """What other workers know of the same chain."""

    def head(self) -> int:
        """Return the highest block that one of them believes; 0 for none."""

    def tell(self, head: int) -> None:
        """Tell them what is believed here."""

    def shown(self, client: str) -> int:
        """Return the highest head that a client was shown anywhere; 0 for none."""

    def show(self, client: str, number: int, anew: bool) -> None:
        """Tell them what a client was shown; `anew` where what they know is not believed any more."""

    def called(self, tag: str, number: int) -> int:
        """Return the newest block that was called so anywhere, `number` included."""


class Blocks:
    """One for each JSON-RPC service.

    Parameters
    ----------
    elsewhere : what other workers know; None where there are none.
    """

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        self._elsewhere = elsewhere
        self._reports: OrderedDict[bytes, tuple[float, int]] = OrderedDict()
        self._shown: OrderedDict[str, int] = OrderedDict()
        self._head = self._sure = 0
        self._reported_s = float("-inf")
        self.alone = True  # whether no more than one supplier has said lately what its head is

    @property
    def head(self) -> int:
        """The highest block that is believed; 0 before any is known."""
        return max(self._head, self._elsewhere.head()) if self._elsewhere is not None else self._head

    @property
    def sure(self) -> int:
        """The highest block that two suppliers have, or the only one that was asked; 0 before any is known."""
        return self._sure

    def age_s(self, now_s: float) -> float:
        """Return the seconds since a supplier last said what its head is."""
        return now_s - self._reported_s

    @property
    def final(self) -> int:
        """The highest block that is not reorganised any more; -1 before any is known."""
        head = self.head
        return head - FINAL_DEPTH if head > FINAL_DEPTH else -1

    def report(self, operator: bytes, number: int, now_s: float) -> None:
        """Take in what a supplier says is the head."""
        self._reports[operator] = (now_s, number)
        self._reports.move_to_end(operator)
        while len(self._reports) > REPORTS_MOST:
            self._reports.popitem(last=False)
        said = sorted((n for at_s, n in self._reports.values() if now_s - at_s < REPORT_AGE_S), reverse=True)
        # The second highest is believed, and the highest if it is near: a single liar cannot move the head away.
        second = self._sure = said[1] if len(said) > 1 else said[0]
        self._reported_s = now_s
        self.alone = len(said) < 2
        self._head = said[0] if said[0] - second <= NEAR_BLOCKS else second
        if self._elsewhere is not None:
            self._elsewhere.tell(self._head)

    def shown(self, client: str) -> int:
        """Return the highest head that a client was shown; 0 for none, or for one that nobody believes any more."""
        return self._believed(self.noted(client))

    def show(self, client: str, number: int) -> None:
        """Remember what a client was shown, so that it never sees the head go back."""
        noted = self.noted(client)
        shown = self._believed(noted)
        if number <= shown:
            return
        if self._elsewhere is not None:
            self._elsewhere.show(client, number, anew=noted != shown)
            return
        self._shown[client] = number
        self._shown.move_to_end(client)
        while len(self._shown) > CLIENTS_MOST:
            self._shown.popitem(last=False)

    def _believed(self, noted: int) -> int:
        # What this worker believes is enough for nearly all: it spares a look at what the others do.
        return noted if noted <= self._head + NEAR_BLOCKS or noted <= self.head + NEAR_BLOCKS else 0

    def called(self, tag: str, number: int) -> int:
        """Return the newest block that was ever called so, such as `finalized`, in any worker; `number` included."""
        return number if self._elsewhere is None else self._elsewhere.called(tag, number)

    def noted(self, client: str) -> int:
        """Return the highest head that a client was shown, believed or not; 0 for none."""
        return self._shown.get(client, 0) if self._elsewhere is None else self._elsewhere.shown(client)


def quantity(value: object) -> int | None:
    """Return the number in a JSON-RPC quantity, such as `0x1a`; None for anything else.

    >>> quantity("0x1a"), quantity("latest"), quantity(None)
    (26, None, None)
    """
    if not isinstance(value, str) or not value.startswith("0x") or not 2 < len(value) <= 18:
        return None
    try:
        return int(value, 16)
    except ValueError:
        return None
