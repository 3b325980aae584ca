"""The explorer's book says of money what the contracts did with it."""

from __future__ import annotations

import struct

from pocketnode.chain.contracts import contract
from pocketnode.chain.events import Claimed, Collected, GatewayFaulted, Stated, Withdrawn
from pocketnode.web import shown
from pocketnode.web.book import Book
from pocketnode.web.entries import apply, known
from pocketnode.web.explorer import CONTRACTS
from pocketnode.web.settled import settle

ETH = b"eth".ljust(32, b"\x00")
APP, GATEWAY, OWNER = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
POT, TX = b"\x09" * 32, b"\x07" * 32


def market() -> Book:
    book = Book()
    service = {"service": ETH, "owner": OWNER, "number": 1, "kind": b"json-rpc".ljust(32, b"\x00")}
    terms = {"specHash": bytes(32), "uri": "", "maxPrice": 500, "ownerShare": 5000}
    apply(book, "Services", "ServiceAdded", service | terms)
    for number in (1, 2):
        offer = {"registration": number, "service": ETH, "operator": bytes([number]) * 20, "owner": OWNER, "price": 50}
        apply(book, "Registry", "Registered", offer | {"profile": OWNER, "bond": 900})
        apply(book, "Registry", "Bonded", {"registration": number, "from": OWNER, "amount": 100})
        place = {"registration": number, "service": ETH, "index": number - 1, "fromSession": 1}
        apply(book, "Registry", "Listed", place)
    apply(book, "Escrow", "Deposited", {"application": APP, "from": APP, "amount": 10_000})
    grant = {"application": APP, "gateway": GATEWAY, "service": ETH, "cap": 900, "expiry": 99, "fromSession": 1}
    apply(book, "Escrow", "Granted", grant)
    return book


def stated(*entries: tuple[int, int, int, int, int]) -> Stated:
    layout = struct.Struct(">IB12sHQ")
    priced = b"".join(
        layout.pack(i, rank, amount.to_bytes(12, "big"), q, units) for i, rank, amount, q, units in entries
    )
    taken = sum(entry[2] for entry in entries)
    return Stated(POT, APP, GATEWAY, ETH, 3, taken, b"\x05" * 32, priced, 70)


def sample(kind: str) -> object:
    if kind.startswith("uint"):
        return 1
    return {"address": OWNER, "bytes32": ETH, "string": "text", "bytes": b"", "bool": True}.get(kind, ())


def test_every_event_of_the_contracts_is_taken_or_ignored_on_purpose() -> None:
    for name in CONTRACTS[:-1]:
        for abi in contract(name).abi:
            if abi["type"] == "event":
                assert (name, abi["name"]) in known(), f"{name}.{abi['name']}"
                facts = {part["name"]: sample(part["type"]) for part in abi["inputs"]}
                apply(market(), name, abi["name"], facts)  # every field that the book reads is there


def test_a_market_is_listed() -> None:
    book = market()
    assert shown.services(book)[0]["registrations"] == 2
    assert shown.totals(book)["escrow"] == "10000"
    assert shown.totals(book)["bonds"] == "2000"
    assert shown.applications(book)[0]["grants"][0]["cap"] == "900"
    assert [line["registration"] for line in shown.suppliers(book)] == [1, 2]


def test_a_stated_session_is_followed_to_its_pay() -> None:
    book = market()
    settle(book, stated((0, 1, 100, 9900, 20), (1, 0, 300, 9000, 60)), TX)
    pot = book.pots[POT]
    assert {rank.registration: rank.amount for rank in pot.ranks.values()} == {1: 100, 2: 300}
    settle(book, Withdrawn(POT, 1, 1, 99, 90), TX)
    settle(book, Withdrawn(POT, 2, 0, 293, 91), TX)
    settle(book, Collected(POT, ETH, OWNER, 4, 4, 92), TX)
    assert pot.settled
    line = shown.pot(pot, book, {}, None, 80)
    assert (line["debit"], line["pay"], line["fee"], line["state"]) == ("400", "392", "8", "paid")
    assert book.suppliers[2].paid == 293
    assert book.services[ETH].units == 80


def test_a_claim_without_a_statement_takes_its_name_from_the_call() -> None:
    book = market()
    key = {"application": APP, "service": ETH, "session": 3, "gateway": GATEWAY}
    settle(book, Claimed(POT, 1, 0, 20, 100, 100, 75), TX, key)
    settle(book, Claimed(POT, 2, 1, 60, 300, 400, 76), TX, key)
    pot = book.pots[POT]
    assert pot.gateway == GATEWAY
    assert (pot.service, pot.session, pot.stated, pot.taken, pot.demand) == (ETH, 3, False, 400, 400)


def test_a_higher_claim_counts_only_what_it_adds() -> None:
    book = market()
    settle(book, stated((0, 0, 100, 9900, 20)), TX)
    settle(book, Claimed(POT, 1, 0, 30, 150, 150, 75), TX)
    assert (book.suppliers[1].units, book.suppliers[1].amount, book.suppliers[1].sessions) == (30, 150, 1)


def test_compensation_is_told_apart_from_pay() -> None:
    book = market()
    settle(book, stated((0, 0, 100, 9900, 20)), TX)
    settle(book, GatewayFaulted(POT, 1, GATEWAY, 10, 50, 76), TX)
    settle(book, Withdrawn(POT, 1, 0, 148, 90), TX)
    part = shown.pot(book.pots[POT], book, {}, 2, 80)["suppliers"][0]
    assert (part["pay"], part["compensation"]) == ("98", "50")


def test_an_index_that_moves_keeps_its_past() -> None:
    book = market()
    apply(book, "Registry", "Moved", {"registration": 2, "service": ETH, "index": 0, "fromSession": 5})
    assert [book.holder(ETH, 0, session) for session in (0, 1, 4, 5, 9)] == [0, 1, 1, 2, 2]


def test_slashing_takes_from_what_is_shown() -> None:
    book = market()
    apply(book, "Registry", "Slashed", {"registration": 1, "fromBond": 100, "fromThawing": 0})
    assert (book.suppliers[1].bond, book.suppliers[1].slashed) == (900, 100)
