"""A session that this gateway buys answers in: its suppliers' seats, their lanes, and what may still be spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pocketnode.gateway.catalog import Service
from pocketnode.gateway.config import Selection
from pocketnode.gateway.scoreboard import Scoreboard
from pocketnode.gateway.selection import Ranking, Standing, rank
from pocketnode.protocol import quality
from pocketnode.protocol.quality import Tally, Verdict
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.statement import UNITS_PER_PRICE
from pocketnode.protocol.types import Session, SessionSupplier
from pocketnode.store.caps import Caps
from pocketnode.store.counters import slot_id
from pocketnode.transport.ports import LaneClient

RANKING_AGE_S: Final = 0.25
SELDOM_AGE_S: Final = (
    1.0  # of a ranking that has served fewer relays than the next number: ranking costs more than they do
)
SELDOM_USES: Final = 16
DRAWS: Final = 4  # a worker draws one part in so many of what is left of a cap, divided by the number of workers
SCARCE: Final = 16  # where less than one part in so many is left, workers give back what they spare


class Purse:
    """What a grant still allows in one session, exact to the unit (rule 5.4), over all workers of the gateway.

    Money is kept in `units * price`, so that nothing is rounded before the session is stated. Parts of the cap are
    drawn from what workers share and spent without asking again, so that a relay costs no lock.
    """

    __slots__ = ("_caps", "_id", "_share", "cap", "drawn", "reserved", "spent")

    def __init__(self, cap_amount: int, caps: Caps, session: bytes, workers: int = 1) -> None:
        self.cap = cap_amount * UNITS_PER_PRICE
        self.spent = 0
        self.reserved = 0
        self._caps = caps
        self._id = slot_id("cap", session)
        self._share = DRAWS * workers
        self.drawn = caps.own(self._id)

    def reserve(self, worth: int) -> bool:
        """Set aside the most that a relay may cost; False where the grant does not reach."""
        short = self.spent + self.reserved + worth - self.drawn
        if short > 0:
            self.drawn += self._caps.draw(self._id, self.cap, short, self._share)
            if self.spent + self.reserved + worth > self.drawn:
                return False
        self.reserved += worth
        return True

    def settle(self, reserved: int, spent: int) -> None:
        """Give back what was set aside and book what it did cost."""
        self.reserved -= reserved
        self.spent += spent

    def recover(self, spent: int) -> None:
        """Take up what this worker spent before it was started again."""
        self.spent = spent
        if spent > self.drawn:
            self.drawn = spent
            self._caps.keep(self._id, spent)

    def spare(self) -> None:
        """Give other workers what is drawn and not needed here, where little is left to draw."""
        needed = self.spent + self.reserved
        if self.drawn > needed and self._caps.drawn(self._id) * SCARCE >= self.cap * (SCARCE - 1):
            self.drawn = needed
            self._caps.keep(self._id, needed)


class Seat:
    """One supplier in one session, as this gateway meets it."""

    __slots__ = (
        "connecting",
        "failures",
        "fast",
        "first_byte_ms",
        "lane",
        "problem",
        "rest_until_s",
        "supplier",
        "supplier_hex",
        "units",
        "verdicts",
    )

    def __init__(self, supplier: SessionSupplier) -> None:
        self.supplier = supplier
        self.supplier_hex = "0x" + supplier.operator.hex()
        self.lane: LaneClient | None = None
        self.connecting = False
        self.failures = 0  # attempts in a row to open its lane
        self.rest_until_s = 0.0  # it asked to be left alone, or its lane broke
        self.problem = ""
        self.units = 0
        self.verdicts = [0] * len(Verdict)
        self.fast = 0
        self.first_byte_ms = 0.0

    @property
    def relays(self) -> int:
        """Attempts in this session."""
        return sum(self.verdicts)

    def open(self) -> bool:
        """Return whether its lane can take a relay."""
        return self.lane is not None and not self.lane.broken

    def count(self, record: RelayRecord, slo: quality.Slo) -> None:
        """Count one attempt of this session."""
        self.verdicts[record.verdict] += 1
        self.units += record.units
        if record.verdict in (Verdict.GOOD, Verdict.CUT):
            self.fast += quality.meets(slo, record)
            self.first_byte_ms += (record.first_byte_ms - self.first_byte_ms) * (0.1 if self.first_byte_ms else 1)

    def tally(self) -> Tally:
        """Return what the session's records say so far (rule 6.1), from their counts."""
        return tally_of(self.verdicts, self.fast)


def tally_of(by: Sequence[int], fast: int) -> Tally:
    """Return what counts of verdicts say.

    Parameters
    ----------
    by : how many attempts had each verdict, by its code (rule 6.2).
    fast : how many of them passed for latency.
    """
    answered = by[Verdict.GOOD] + by[Verdict.CUT]
    available = answered + by[Verdict.WRONG]
    return Tally(
        available=available,
        available_n=available + by[Verdict.FAULT] + by[Verdict.TIMEOUT],
        fast=fast,
        fast_n=answered + by[Verdict.TIMEOUT],
        correct=by[Verdict.GOOD],
        correct_n=by[Verdict.GOOD] + by[Verdict.WRONG],
    )


@dataclass(slots=True)
class _Ranked:
    """A ranking, when it was made, and how many relays it has served."""

    ranking: Ranking
    made_s: float
    uses: int = 0


class ActiveSession:
    """One application's session of one service."""

    def __init__(
        self, session: Session, service: Service, purse: Purse, w_min: int, scores: Scoreboard, rules: Selection
    ) -> None:
        self.session = session
        self.w_min = w_min
        self.session_hex = "0x" + session.id.hex()
        self.service = service
        self.purse = purse
        self.seats = {s.operator: Seat(s) for s in session.suppliers}
        self.owners: dict[bytes, bytes] = {}  # by operator, as far as the chain was asked for them
        self.retiring = False  # a newer session takes the requests
        self.closing = False  # it is stated: nothing is recorded or paid for in it any more
        self._scores = scores
        self._rules = rules
        self._rankings: dict[str, _Ranked] = {}

    def adopt(self, service: Service, rules: Selection) -> None:
        """Go on with another spec of the service, and other rules of selection."""
        self.service, self._rules = service, rules
        self.forget_ranking()

    def recover(self, records: Iterable[RelayRecord]) -> None:
        """Count what was recorded before a restart, so that the grant's cap still holds."""
        by_index = {seat.supplier.index: seat for seat in self.seats.values()}
        spent = 0
        for record in records:
            if (seat := by_index.get(record.index)) is not None:
                seat.count(record, self.service.slo)
                spent += record.units * seat.supplier.price
        self.purse.recover(spent)

    def load(self, operator: bytes) -> int:
        """Return how many relays a supplier has in flight."""
        lane = self.seats[operator].lane
        return lane.in_flight if lane is not None else 0

    def in_flight(self) -> int:
        """Return how many relays all suppliers have in flight."""
        return sum(self.load(operator) for operator in self.seats)

    def ranking(self, kind: str, now_s: float) -> Ranking:
        """Return the suppliers in tiers for a class of relays, a moment old at most."""
        kept = self._rankings.get(kind)
        if kept is not None:
            kept.uses += 1
            if now_s - kept.made_s < (SELDOM_AGE_S if kept.uses < SELDOM_USES else RANKING_AGE_S):
                return kept.ranking
        ranking = rank(self.standings(kind, now_s), self._rules.owner_share)
        self._rankings[kind] = _Ranked(ranking, now_s)
        return ranking

    def standings(self, kind: str, now_s: float) -> list[Standing]:
        """Return what is known of each supplier for a class of relays."""
        return [self._standing(seat, kind, now_s) for seat in self.seats.values()]

    def kinds(self) -> list[str]:
        """Return the classes of relays that this service has."""
        spec = self.service.spec
        if spec.kind == "openai":
            return list(spec.models)
        return sorted({method.pace for method in spec.methods.values()}) or ["quick"]

    def forget_ranking(self) -> None:
        """Rank anew at the next relay: a lane opened or broke, or a supplier wants to rest."""
        self._rankings.clear()

    def ready(self) -> bool:
        """Return whether anybody can be asked."""
        return any(seat.open() for seat in self.seats.values())

    def score(self, seat: Seat, kind: str, verdict: Verdict, first_byte_ms: float, now_s: float) -> None:
        """Let one attempt count for selection."""
        self._scores.score(self.service.name, kind, seat.supplier.operator).add(verdict, first_byte_ms, now_s)

    def _standing(self, seat: Seat, kind: str, now_s: float) -> Standing:
        operator = seat.supplier.operator
        score = self._scores.whole(self.service.name, kind, operator, now_s)
        return Standing(
            operator=operator,
            owner=self.owners.get(operator, operator),
            passes=score.passes,
            tries=score.tries,
            latency_ms=score.latency_ms,
            traffic=score.traffic,
            usable=seat.open(),
            resting=seat.rest_until_s > now_s,
        )
