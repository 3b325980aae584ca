"""What a statement says and what it pays (rules 5.2 to 5.12). The contracts compute the same, to the base unit."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pocketnode.errors import RemoteError
from pocketnode.protocol.types import Entry, Params

UNITS_PER_PRICE = 1_000_000
FULL = 10_000
_ENTRY = struct.Struct(">IQH")
ENTRY_BYTES = _ENTRY.size


def amount_down(units: int, price: int) -> int:
    """Return what `units` cost in base units, rounded down in favour of the application (rule 5.2).

    Parameters
    ----------
    price : base units per million units.

    >>> amount_down(units=1_500_000, price=3)
    4
    """
    return units * price // UNITS_PER_PRICE


def pack(entries: Iterable[Entry]) -> bytes:
    """Return the entries as a statement carries them (rule 5.3), sorted by index; those without units are left out."""
    kept = sorted((e for e in entries if e.units), key=lambda e: e.index)
    return b"".join(_ENTRY.pack(e.index, e.units, e.quality) for e in kept)


def unpack(packed: bytes) -> tuple[Entry, ...]:
    """Return the entries of a statement.

    Raises
    ------
    RemoteError
        rule 5.3: not a whole number of entries, not strictly ascending, or an entry without units.
    """
    if len(packed) % ENTRY_BYTES:
        raise RemoteError("5.3", f"{len(packed)} bytes are not a whole number of {ENTRY_BYTES}-byte entries")
    entries = tuple(Entry(*fields) for fields in _ENTRY.iter_unpack(packed))
    for before, after in pairwise(entries):
        if after.index <= before.index:
            raise RemoteError("5.3", f"index {after.index} after {before.index}")
    if any(not e.units for e in entries):
        raise RemoteError("5.3", "an entry without units")
    return entries


@dataclass(frozen=True, slots=True)
class Demand:
    """What one supplier of a session is owed.

    Parameters
    ----------
    stated : amount in the statement, base units; 0 where it names none.
    quality : w in ten-thousandths.
    excess : by how much its own claim is above `stated`.
    """

    stated: int
    quality: int
    excess: int = 0

    @property
    def whole(self) -> int:
        """The demand D of rule 5.8."""
        return self.stated + self.excess


@dataclass(frozen=True, slots=True)
class Payout:
    """How a pot is divided: `pay` in the order of the demands; `debit` = sum of pay + fee."""

    pay: tuple[int, ...]
    fee: int
    debit: int


def divide(demands: Sequence[Demand], available: int, suppliers: int, params: Params) -> Payout:
    """Return who gets what of a pot (rules 5.6 to 5.12).

    Parameters
    ----------
    available : what the pot could take at most: the cap, or less where escrow held less.
    suppliers : number of suppliers in the session, n in rule 5.10.
    """
    whole = sum(d.whole for d in demands)
    if whole <= available:
        stated = sum(d.stated for d in demands)
        weighted = sum(d.stated * d.quality for d in demands)
        pay = tuple(_pay_down(d, stated, weighted, params) for d in demands)
        return Payout(pay, whole - sum(pay), whole)
    pay = tuple((FULL - params.fee) * gross // FULL for gross in _short(demands, available, suppliers))
    return Payout(pay, available - sum(pay), available)


def _pay_down(demand: Demand, stated: int, weighted: int, params: Params) -> int:
    b, keep = params.quality_share, FULL - params.fee
    by_statement = 0
    if weighted:
        share = (FULL - b) * demand.stated * weighted + b * stated * demand.stated * demand.quality
        by_statement = keep * share // (FULL * FULL * weighted)
    return by_statement + keep * demand.excess // FULL


def _short(demands: Sequence[Demand], available: int, suppliers: int) -> list[int]:
    """Return each supplier's gross where demands exceed what is there (rule 5.10)."""
    guarantee = available // suppliers
    first = [min(d.whole, guarantee) for d in demands]
    rest = [d.whole - g for d, g in zip(demands, first, strict=True)]
    left, wanted = available - sum(first), sum(rest)
    return [g + (left * r // wanted if wanted else 0) for g, r in zip(first, rest, strict=True)]
