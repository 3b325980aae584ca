"""What a gateway states of a session, from its relay records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pocketnode.protocol.quality import Slo, Tally, count, quality
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.statement import amount_down
from pocketnode.protocol.types import Entry

UINT64_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Line:
    """Units and tally of one supplier over a session."""

    units: int = 0
    tally: Tally = Tally()  # noqa: RUF009 - frozen


def lines_of(records: Iterable[RelayRecord], slo: Slo) -> dict[int, Line]:
    """Return units and tally by the supplier's index."""
    units: dict[int, int] = {}
    tallies: dict[int, Tally] = {}
    for record in records:
        units[record.index] = units.get(record.index, 0) + record.units
        tallies[record.index] = count(tallies.get(record.index, Tally()), record, slo)
    return {index: Line(units[index], tallies[index]) for index in units}


def entries_of(lines: Mapping[int, Line], w_min: int) -> list[Entry]:
    """Return the entries of a statement (rule 5.3): who has units, by index."""
    return [
        Entry(index, min(line.units, UINT64_MAX), quality(line.tally, w_min))
        for index, line in sorted(lines.items())
        if line.units
    ]


def amounts_of(entries: Iterable[Entry], prices: Mapping[int, int]) -> int:
    """Return what the entries cost in all, in base units; `prices` by index."""
    return sum(amount_down(entry.units, prices[entry.index]) for entry in entries)


def within_cap(entries: list[Entry], prices: Mapping[int, int], cap: int) -> list[Entry]:
    """Return the entries, cut in equal shares where they cost more than the grant's cap (rule 5.4).

    Suppliers claim what is cut with their receipts; the contract then divides the cap (rule 5.10).

    >>> within_cap([Entry(0, 3_000_000, 10_000), Entry(1, 1_000_000, 10_000)], {0: 10, 1: 10}, cap=20)
    [Entry(index=0, units=1500000, quality=10000), Entry(index=1, units=500000, quality=10000)]
    """
    whole = amounts_of(entries, prices)
    if whole <= cap:
        return entries
    cut = (Entry(entry.index, entry.units * cap // whole, entry.quality) for entry in entries)
    return [entry for entry in cut if entry.units]
