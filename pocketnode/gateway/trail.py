"""What became of one request: who was asked, how each did, what it cost, how long we took ourselves.

The user gets it in headers, the operator in the access log and as a trace. Strings are built from what the attempts
hold anyway, once, at the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from pocketnode.gateway.access import Holder
from pocketnode.gateway.attempt import Attempt
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.statement import UNITS_PER_PRICE

ATTEMPTS: Final = "x-pocketnode-attempts"
OVERHEAD: Final = "x-pocketnode-overhead-ms"
COST: Final = "x-pocketnode-cost"
SHOWN_MOST: Final = 8  # attempts in a header; a batch may have hundreds
_WORDS: Final = {verdict: verdict.name.lower() for verdict in Verdict}


@dataclass(slots=True)
class Trail:
    """One request, from its first byte on.

    Parameters
    ----------
    route : the pattern of its path; `what` is the method or model, `batch` for a batch.
    units, worth : what its user is charged; worth in `units * price`.
    cache : why no supplier was asked, where none was.
    parent : the user's own `traceparent`, as sent.
    holder : whose key it came with, once that is known: errors tell of its limits too.
    """

    route: str
    parent: str | None = None
    holder: Holder | None = None
    service: str = ""
    what: str = ""
    key: str = ""
    cache: str = ""
    units: int = 0
    worth: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    started_s: float = field(default_factory=time.perf_counter)
    status: int = 0

    @property
    def passed_s(self) -> float:
        """Seconds since it came."""
        return time.perf_counter() - self.started_s

    def charge(self, units: int, worth: int) -> None:
        """Add what an answer costs its user."""
        self.units += units
        self.worth += worth

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a user of it."""
        if not self.attempts:
            return {OVERHEAD: self.overhead_ms()}
        return {ATTEMPTS: self.told(), COST: self.cost(), OVERHEAD: self.overhead_ms()}

    def begun(self) -> dict[str, str]:
        """Return the headers of an answer whose end, and so whose cost, is not known yet."""
        return {ATTEMPTS: self.told(), OVERHEAD: self.overhead_ms()}

    def told(self) -> str:
        """Return the attempts as a header says them: `SUPPLIER;VERDICT;MS`, separated by commas."""
        return ", ".join([_told(attempt) for attempt in self.attempts[:SHOWN_MOST]])

    def cost(self) -> str:
        """Return what it costs as a header says it, the amount in base units of the token."""
        return f"units={self.units}, amount={amount_text(self.worth)}"

    def overhead_ms(self) -> str:
        """Return the milliseconds that passed so far while no supplier was waited for."""
        now_s = time.perf_counter()
        passed_s = now_s - self.started_s
        if self.attempts:
            last = self.attempts[-1]
            until_s = last.started_s + last.done_s if last.verdict is not None else now_s
            passed_s -= until_s - self.attempts[0].started_s
        return f"{max(0.0, passed_s) * 1000:.2f}"


def amount_text(worth: int) -> str:
    """Return what units are worth, in base units of the token, as a decimal.

    >>> amount_text(20 * 1_000_000), amount_text(1_500_000)
    ('20', '1.5')
    """
    whole, rest = divmod(worth, UNITS_PER_PRICE)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


def _told(attempt: Attempt) -> str:
    verdict = attempt.verdict
    if verdict is None:
        return f"{attempt.seat.supplier_hex};running;{attempt.waited_s * 1000:.1f}"
    return f"{attempt.seat.supplier_hex};{_WORDS[verdict]};{attempt.done_s * 1000:.1f}"
