"""What a gateway stated of a supplier, held against the records that the statement commits to. Pure (rule 5.18)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pocketnode.crypto import merkle
from pocketnode.errors import RemoteError
from pocketnode.protocol.part import PartReader
from pocketnode.protocol.quality import Slo, Verdict
from pocketnode.protocol.record import RelayRecord, decode
from pocketnode.protocol.statement import amount_down
from pocketnode.protocol.types import ZERO32, Entry, Params, Session
from pocketnode.settlement.account import Line, entries_of, lines_of, within_cap

QUALITY_APART_MOST: Final = 1  # ten-thousandths by which two computations of a power may differ (rule 6.1)
STRANGERS_SHOWN: Final = 5
_VERDICTS: Final = frozenset(Verdict)


class Difference(StrEnum):
    """In which way a statement and what is known of its session disagree."""

    ROOT = "root"  # the records given are not those that the statement commits to
    RECORDS = "records"  # they are none: a broken one, or of a supplier that is not in the session
    UNITS = "units"  # the records sum to other units than were stated
    QUALITY = "quality"  # the records give another quality than was stated
    HIDDEN = "hidden"  # own receipts and answers are worth more than the records say
    ANSWER = "answer"  # a record says that we signed another answer than we did


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement, in words for the operator."""

    difference: Difference
    words: str

    def __str__(self) -> str:
        return f"{self.difference}: {self.words}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the statement says: its root, and the entry of this supplier (None where it has none)."""

    root: bytes
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Own:
    """What this supplier knows by itself.

    Parameters
    ----------
    acknowledged : units that its receipts prove to be accepted.
    served : units that it answered for. Records with units for all but `tolerance` of them, and records that say why
        they were not paid for the rest, are honest.
    tolerance : what can be in flight when a session ends.
    answers : digests of own Responses by their receipts' digests, as far as they are kept.
    """

    acknowledged: int = 0
    served: int = 0
    tolerance: int = 0
    answers: Mapping[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """By what a statement is recomputed: the service's SLO, the session, its parameters, and the grant's cap."""

    slo: Slo
    session: Session
    params: Params
    cap: int


@dataclass(frozen=True, slots=True)
class Audit:
    """How it turned out: units and quality of this supplier by the records, and what disagrees."""

    relays: int
    units: int
    quality: int
    findings: tuple[Finding, ...]


class _Reading:
    """Sums up raw records as they pass: their tree in O(log n) memory, and what contradicts own answers.

    Parameters
    ----------
    tree : None where each record is to be added to it here.
    """

    def __init__(self, index: int, answers: Mapping[bytes, bytes], tree: merkle.Frontier | None = None) -> None:
        self.tree = tree or merkle.Frontier()
        self._adds = tree is None
        self.other_answers = 0
        self.unpaid = 0  # attempts with us that were given no units
        self.largest = 0  # units of the dearest attempt with us
        self._index, self._answers = index, answers

    def records(self, raw: Iterable[bytes]) -> Iterator[RelayRecord]:
        """Yield the records.

        Raises
        ------
        RemoteError
            rule 5.5 or 6.2: one is malformed.
        """
        for piece in raw:
            if self._adds:
                self.tree.append(piece)
            record = decode(piece)
            if record.verdict not in _VERDICTS:
                raise RemoteError("6.2", f"record {self.tree.size - 1} has the verdict {record.verdict}")
            if record.index == self._index:
                own = self._answers.get(record.receipt)
                self.other_answers += own is not None and record.response not in (ZERO32, own)
                self.unpaid += not record.units
                self.largest = max(self.largest, record.units)
            yield record


def examine(raw: Iterable[bytes], stated: Claimed, index: int, own: Own, terms: Terms) -> Audit:
    """Return what a pot's records, each of 85 bytes and in their order, say of the supplier at `index`."""
    return _examine(raw, _Reading(index, own.answers or {}), stated, index, own, terms)


def examine_part(pieces: Iterable[bytes], stated: Claimed, index: int, own: Own, terms: Terms) -> Audit:
    """Return what the part of the supplier at `index` says (rule 5.20), in pieces as it came.

    That a part is under the root does not say that it is whole. The statement does: a record with units that was left
    out makes the sum lower than stated, or than own Receipts prove, and one that lowered the quality without being
    shown leaves the stated quality unexplained. Where the statement was cut to the grant's cap the units of all are
    needed: see `needs_all`.
    """
    part = PartReader()
    reading = _Reading(index, own.answers or {}, part.tree)
    return _examine(part.records(pieces), reading, stated, index, own, terms)


def needs_all(found: Audit, stated: Claimed, amounts: Iterable[int], cap: int, prices: Iterable[int]) -> bool:
    """Return whether what a part gives can only be judged with others' records: the statement may be cut to the cap.

    Parameters
    ----------
    amounts : of all entries of the statement.
    prices : of all suppliers of the session; a cut loses at most one unit of each, and a base unit.
    """
    if all(finding.difference is not Difference.UNITS for finding in found.findings):
        return False
    said = stated.entry.units if stated.entry else 0
    slack = sum(amount_down(1, price) + 2 for price in prices)
    return said < found.units and sum(amounts) + slack >= cap


def _examine(raw: Iterable[bytes], reading: _Reading, stated: Claimed, index: int, own: Own, terms: Terms) -> Audit:
    try:
        lines = lines_of(reading.records(raw), terms.slo)
    except RemoteError as error:
        return Audit(reading.tree.size, 0, 0, (Finding(Difference.RECORDS, str(error)),))
    findings = list(_findings(reading, lines, stated, index, own, terms))
    mine = _entry(entries_of(lines, terms.params.w_min), index)
    return Audit(reading.tree.size, mine.units, mine.quality, tuple(findings))


def _findings(
    reading: _Reading, lines: Mapping[int, Line], stated: Claimed, index: int, own: Own, terms: Terms
) -> Iterator[Finding]:
    if (root := reading.tree.root()) != stated.root:
        words = f"{reading.tree.size} records hash to 0x{root.hex()}, stated is 0x{stated.root.hex()}"
        yield Finding(Difference.ROOT, words)
    if strangers := lines.keys() - {supplier.index for supplier in terms.session.suppliers}:
        shown = sorted(strangers)[:STRANGERS_SHOWN]
        yield Finding(Difference.RECORDS, f"{len(strangers)} suppliers are not in the session: {shown}")
        return
    yield from _against_statement(lines, stated, index, terms)
    recorded = lines.get(index, Line()).units
    if own.acknowledged > recorded:
        yield Finding(Difference.HIDDEN, f"receipts acknowledge {own.acknowledged} units, recorded are {recorded}")
    elif own.served > recorded + own.tolerance + reading.unpaid * reading.largest:
        yield Finding(Difference.HIDDEN, f"{own.served} units were answered for, recorded are {recorded}")
    if reading.other_answers:
        yield Finding(Difference.ANSWER, f"{reading.other_answers} records name answers that we did not sign")


def _against_statement(lines: Mapping[int, Line], stated: Claimed, index: int, terms: Terms) -> Iterator[Finding]:
    prices = {supplier.index: supplier.price for supplier in terms.session.suppliers}
    due = _entry(within_cap(entries_of(lines, terms.params.w_min), prices, terms.cap), index)
    said = stated.entry or Entry(index, 0, 0)
    if said.units != due.units:
        yield Finding(Difference.UNITS, f"{said.units} units are stated, the records give {due.units}")
    if due.units and abs(said.quality - due.quality) > QUALITY_APART_MOST:
        words = f"{said.quality / 10_000:.4f} is stated, the records give {due.quality / 10_000:.4f}"
        yield Finding(Difference.QUALITY, words)


def _entry(entries: Iterable[Entry], index: int) -> Entry:
    return next((entry for entry in entries if entry.index == index), Entry(index, 0, 0))
