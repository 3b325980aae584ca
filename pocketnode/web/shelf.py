"""Keeps a deployment's book in the store, so that years of logs are read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from pocketnode.errors import Corrupt
from pocketnode.store.explored import Checkpoint, ExploredStore, KeptLine, KeptPot
from pocketnode.web.book import (
    ApplicationLine,
    Book,
    GatewayLine,
    PlaceLine,
    PotLine,
    ServiceLine,
    SupplierLine,
    Totals,
)

# Each kind of line: what it is, and where the book has it.
_KINDS: Final[dict[str, tuple[TypeAdapter[Any], Callable[[Book], dict[Any, Any]]]]] = {
    "service": (TypeAdapter(ServiceLine), lambda book: book.services),
    "supplier": (TypeAdapter(SupplierLine), lambda book: book.suppliers),
    "application": (TypeAdapter(ApplicationLine), lambda book: book.applications),
    "gateway": (TypeAdapter(GatewayLine), lambda book: book.gateways),
    "place": (TypeAdapter(PlaceLine), lambda book: book.places),
}
_TOTALS: Final = TypeAdapter(Totals)
_POT: Final = TypeAdapter(PotLine)


class Shelf:
    """One deployment's book in a store. Synchronous: call it from a thread.

    Parameters
    ----------
    deployment : address of the contract that settles; a store that holds another one's book is begun anew.
    """

    def __init__(self, store: ExploredStore, deployment: bytes) -> None:
        self._store = store
        self._deployment = deployment
        self._written: dict[tuple[str, str], int] = {}
        self.checkpoint: Checkpoint | None = None

    def read(self) -> Book:
        """Return the book as it was kept, up to `checkpoint`; an empty one where there is none.

        Raises
        ------
        Corrupt
            it is there and cannot be read.
        """
        checkpoint, lines = self._store.read()
        if checkpoint is not None and checkpoint.deployment != self._deployment:
            return self.forget()
        self.checkpoint = checkpoint
        self._written = {(line.kind, line.id): hash(line.body) for line in lines}
        book = Book(block=checkpoint.block if checkpoint else 0, find=self.pot)
        try:
            for line in lines:
                _take(book, line)
        except (ValidationError, KeyError, ValueError) as error:
            raise Corrupt(f"the explorer's book cannot be read: {error}") from error
        return book

    def keep(self, book: Book, block: int, block_hash: bytes) -> bool:
        """Write what changed in the book since the last time, as of a block.

        Returns False where another process wrote meanwhile: `read` anew.
        """
        now = Checkpoint(self._deployment, block, block_hash)
        changed = [line for line in _lines(book) if self._written.get((line.kind, line.id)) != hash(line.body)]
        pots = [_kept(book.pots[id]) for id in book.changed]
        if not self._store.keep(self.checkpoint, now, changed, pots):
            return False
        self.checkpoint = now
        self._written |= {(line.kind, line.id): hash(line.body) for line in changed}
        return True

    def forget(self) -> Book:
        """Clear the store, and return an empty book."""
        self._store.clear()
        self._written.clear()
        self.checkpoint = None
        return Book(find=self.pot)

    def pot(self, id: bytes) -> PotLine | None:
        """Return a pot as it was kept."""
        body = self._store.pot(id)
        return None if body is None else _POT.validate_json(body)

    def newest(
        self, limit: int, offset: int = 0, gateway: bytes | None = None, service: bytes | None = None
    ) -> list[PotLine]:
        """Return pots, those of the newest session first."""
        return [_POT.validate_json(body) for body in self._store.newest(limit, offset, gateway, service)]


def _take(book: Book, line: KeptLine) -> None:
    if line.kind == "totals":
        book.totals = _TOTALS.validate_json(line.body)
        return
    adapter, lines = _KINDS[line.kind]
    lines(book)[_key_of(line.kind, line.id)] = adapter.validate_json(line.body)


def _lines(book: Book) -> Iterator[KeptLine]:
    for kind, (adapter, lines) in _KINDS.items():
        for key, line in lines(book).items():
            yield KeptLine(kind, _id_of(key), adapter.dump_json(line).decode())
    yield KeptLine("totals", "", _TOTALS.dump_json(book.totals).decode())


def _id_of(key: bytes | int | tuple[bytes, int]) -> str:
    if isinstance(key, tuple):
        return f"{key[0].hex()}:{key[1]}"
    return key.hex() if isinstance(key, bytes) else str(key)


def _key_of(kind: str, id: str) -> bytes | int | tuple[bytes, int]:
    if kind == "place":
        service, _, index = id.partition(":")
        return bytes.fromhex(service), int(index)
    return int(id) if kind == "supplier" else bytes.fromhex(id)


def _kept(pot: PotLine) -> KeptPot:
    return KeptPot(pot.id, pot.session, pot.gateway, pot.service, _POT.dump_json(pot).decode())


def matching(lines: Iterable[Any], words: str) -> list[Any]:
    """Return the JSON lines in which some value contains `words`, whatever the case; all where there are none.

    >>> matching([{"id": "eth"}, {"id": "LLM"}], "ll")
    [{'id': 'LLM'}]
    """
    wanted = words.lower()
    return [line for line in lines if any(wanted in str(value).lower() for value in line.values())]
