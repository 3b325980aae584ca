"""What the explorer read is there after a restart, whole or not at all, however many pots there were."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from sqlalchemy import text

from pocketnode.chain.events import Collected, Withdrawn
from pocketnode.errors import Corrupt
from pocketnode.store.engine import open_store
from pocketnode.store.explored import Checkpoint, ExploredStore, KeptLine, KeptPot
from pocketnode.web import book as books
from pocketnode.web.book import Book, PotLine
from pocketnode.web.entries import apply
from pocketnode.web.settled import settle
from pocketnode.web.shelf import Shelf, matching
from tests.web.test_book import ETH, GATEWAY, OWNER, POT, TX, market, stated

SETTLEMENT, HASH = b"\x0a" * 20, b"\x0b" * 32


@pytest.fixture
def store() -> ExploredStore:
    return ExploredStore(open_store("sqlite://"))


def kept(store: ExploredStore, book: Book, block: int = 10) -> Shelf:
    shelf = Shelf(store, SETTLEMENT)
    shelf.read()
    assert shelf.keep(book, block, HASH)
    book.was_kept()
    return shelf


def test_a_book_comes_back_as_it_was(store: ExploredStore) -> None:
    book = market()
    settle(book, stated((0, 1, 100, 9900, 20), (1, 0, 300, 9000, 60)), TX)
    pot = book.pots[POT]
    kept(store, book)
    shelf = Shelf(store, SETTLEMENT)
    again = shelf.read()
    for part in ("services", "suppliers", "applications", "gateways", "places", "totals"):
        assert getattr(again, part) == getattr(book, part), part
    assert (again.block, shelf.pot(POT), shelf.newest(5)) == (10, pot, [pot])


def test_an_old_pot_is_settled_after_a_restart(store: ExploredStore) -> None:
    book = market()
    settle(book, stated((0, 0, 100, 9900, 20)), TX)
    shelf = kept(store, book)
    again = shelf.read()
    settle(again, Withdrawn(POT, 1, 0, 98, 90), TX)
    settle(again, Collected(POT, ETH, OWNER, 1, 1, 92), TX)
    assert shelf.keep(again, 92, HASH)
    found = shelf.pot(POT)
    assert found is not None
    assert found.settled
    assert (found.taken, found.fee, again.totals.pots) == (100, 2, 1)


class Watched(ExploredStore):
    """A store that tells what is written to it."""

    def keep(
        self, before: Checkpoint | None, now: Checkpoint, changed: Iterable[KeptLine], pots_changed: Iterable[KeptPot]
    ) -> bool:
        self.written = list(changed)
        return super().keep(before, now, self.written, pots_changed)


def test_only_what_changed_is_written() -> None:
    store, book = Watched(open_store("sqlite://")), market()
    shelf = kept(store, book)
    apply(book, "Registry", "PriceChanged", {"registration": 1, "price": 77})
    assert shelf.keep(book, 11, HASH)
    assert [(line.kind, line.id) for line in store.written] == [("supplier", "1")]


def test_memory_holds_the_pots_that_changed_lately_alone(store: ExploredStore) -> None:
    book, shelf = Book(), Shelf(store, SETTLEMENT)
    most = books.POTS_HELD_MOST
    for number in range(most + 50):
        pot = book.pot(number.to_bytes(32, "big"), GATEWAY)
        pot.service, pot.session = ETH, number
    assert shelf.keep(book, 10, HASH)
    book.was_kept()
    assert (len(book.pots), book.totals.pots) == (most, most + 50)
    assert shelf.pot(bytes(32)) == PotLine(bytes(32), GATEWAY, service=ETH, session=0)


def test_pots_come_in_pages_the_newest_session_first(store: ExploredStore) -> None:
    book, shelf = Book(), Shelf(store, SETTLEMENT)
    for number in range(9):
        pot = book.pot(number.to_bytes(32, "big"), GATEWAY if number % 3 else OWNER)
        pot.service, pot.session = ETH, number
    assert shelf.keep(book, 10, HASH)
    assert [pot.session for pot in shelf.newest(3)] == [8, 7, 6]
    assert [pot.session for pot in shelf.newest(3, 3)] == [5, 4, 3]
    assert [pot.session for pot in shelf.newest(9, gateway=OWNER)] == [6, 3, 0]
    assert shelf.newest(9, service=bytes(32)) == []


def test_of_two_processes_one_writes_and_the_other_reads_anew(store: ExploredStore) -> None:
    first, second = Shelf(store, SETTLEMENT), Shelf(store, SETTLEMENT)
    book, other = first.read(), second.read()
    book.application(GATEWAY).balance = 7
    assert first.keep(book, 10, HASH)
    other.application(GATEWAY).balance = 99
    assert not second.keep(other, 9, HASH)
    assert second.read().application(GATEWAY).balance == 7


def test_another_deployment_begins_anew(store: ExploredStore) -> None:
    kept(store, market())
    other = Shelf(store, b"\x0c" * 20)
    assert (other.read().services, other.checkpoint) == ({}, None)


def test_a_book_that_cannot_be_read_is_corrupt() -> None:
    engine = open_store("sqlite://")
    kept(ExploredStore(engine), market())
    with engine.begin() as tx:
        tx.execute(text("update explored_lines set body = '{' where kind = 'supplier'"))
    with pytest.raises(Corrupt):
        Shelf(ExploredStore(engine), SETTLEMENT).read()


def test_lines_are_found_by_any_of_their_values() -> None:
    lines = [{"operator": "0xAB12", "service": "eth"}, {"operator": "0xcd", "service": "llm"}]
    assert matching(lines, "ab1") == [lines[0]]
    assert matching(lines, "") == lines
