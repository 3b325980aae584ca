"""Series of what a meter counted: the last hour in memory, coarser spans on the way to the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pocketnode.store.history import COLUMNS, Row, merged
from pocketnode.web.meter import Key, Sums, quantile_ms

WORTH_PER_AMOUNT: Final = 1_000_000


Spans = Iterable[tuple[int, Mapping[Key, Row]]]


def row_of(sums: Sums) -> Row:
    """Return what is kept of a span."""
    return Row(
        sums.relays,
        sums.good,
        sums.kept,
        sums.refused,
        sums.units,
        sums.worth / WORTH_PER_AMOUNT,
        quantile_ms(sums.whole, 0.5),
        quantile_ms(sums.whole, 0.95),
        quantile_ms(sums.whole, 0.99),
        quantile_ms(sums.first, 0.5),
        quantile_ms(sums.first, 0.95),
        dict(sums.errors),
    )


@dataclass
class Track:
    """The last `keep` spans of `step_s` seconds each.

    Parameters
    ----------
    keys : which keys are kept.
    closed : called with the start and the sums of each span that is over.
    """

    step_s: int
    keep: int
    keys: Callable[[Key], bool] = lambda _: True
    closed: Callable[[int, Mapping[Key, Sums]], None] = lambda _start_s, _sums: None
    _start_s: int = 0
    _sums: dict[Key, Sums] = field(default_factory=dict)
    _spans: deque[tuple[int, dict[Key, Row]]] = field(default_factory=deque)

    def add(self, now_s: float, counted: Mapping[Key, Sums]) -> None:
        """Add what was counted just now; a span that is over is closed first."""
        start_s = int(now_s) // self.step_s * self.step_s
        if start_s != self._start_s:
            self.close()
            self._start_s = start_s
        for key, sums in counted.items():
            if self.keys(key):
                self._sums.setdefault(key, Sums()).merge(sums)

    def close(self) -> None:
        """End the span that runs."""
        if self._start_s:
            self._spans.append((self._start_s, {key: row_of(sums) for key, sums in self._sums.items()}))
            if len(self._spans) > self.keep:
                self._spans.popleft()
            self.closed(self._start_s, self._sums)
        self._sums = {}

    @property
    def newest(self) -> tuple[int, Mapping[Key, Row]] | None:
        """The last span that is over."""
        return self._spans[-1] if self._spans else None

    @property
    def running(self) -> tuple[int, Mapping[Key, Sums]]:
        """Start and sums of the span that runs."""
        return self._start_s, self._sums

    @property
    def spans(self) -> Spans:
        """All spans that are over, the oldest first."""
        return list(self._spans)


def series(spans: Spans, step_s: int, wanted: Callable[[Key], str | None]) -> dict[str, Any]:
    """Return spans as columns for a chart.

    Parameters
    ----------
    wanted : the name of a key's series; None to leave it out. Keys of one name are added up.
    """
    spans = list(spans)
    found: dict[str, dict[str, list[Any]]] = {}
    for place, (_, rows) in enumerate(spans):
        for name, row in _named(rows, wanted).items():
            columns = found.get(name)
            if columns is None:
                columns = found[name] = {column: _empty(column, len(spans)) for column in COLUMNS}
            for column in COLUMNS:
                columns[column][place] = getattr(row, column)
    return {"step_s": step_s, "t": [start_s for start_s, _ in spans], "series": found}


def _named(rows: Mapping[Key, Row], wanted: Callable[[Key], str | None]) -> dict[str, Row]:
    """Return the rows by the names of their series."""
    named: dict[str, Row] = {}
    for key, row in rows.items():
        if (name := wanted(key)) is not None:
            named[name] = merged(named[name], row) if name in named else row
    return named


def _empty(column: str, size: int) -> list[Any]:
    nothing: Any = None if column.endswith("_ms") else {} if column == "errors" else 0
    return [nothing] * size
