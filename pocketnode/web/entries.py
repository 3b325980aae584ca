"""How each event changes the book."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pocketnode.web.book import ApplicationLine, Book, GatewayLine, GrantLine, ServiceLine, SupplierLine, name_of

Facts = Mapping[str, Any]
Entry = Callable[[Book, Facts], None]
_TILL: Final = ("Kept", "Redeemed", "Bound", "EIP712DomainChanged")
_ENTRIES: Final[dict[tuple[str, str], Entry]] = {}


def apply(book: Book, contract: str, name: str, facts: Facts) -> None:
    """Add one log, in the chain's order; what is unknown changes nothing.

    Parameters
    ----------
    contract, name : as in the package's artifacts: "Escrow", "Deposited".
    facts : the event's values by name.
    """
    found = _ENTRIES.get((contract, name))
    if found is not None:
        found(book, facts)


def entry(contract: str, name: str) -> Callable[[Entry], Entry]:
    """Have a function take the events of a name."""

    def note(function: Entry) -> Entry:
        _ENTRIES[contract, name] = function
        return function

    return note


# What changes nothing that the book says.
IGNORED: Final = {
    ("Services", "OwnerProposed"),
    ("Registry", "OwnerProposed"),
    ("Escrow", "Paused"),
    ("Escrow", "Unpaused"),
    *((contract, name) for contract in ("Registry", "Gateways", "Escrow") for name in _TILL),
}


def known() -> set[tuple[str, str]]:
    """Return every (contract, event) that the book takes or ignores on purpose."""
    return {*_ENTRIES, *IGNORED}


@entry("Services", "ServiceAdded")
def _service_added(book: Book, facts: Facts) -> None:
    service = facts["service"]
    kind = facts["kind"].rstrip(b"\x00").decode(errors="replace")
    terms = (facts["uri"], facts["maxPrice"], facts["ownerShare"])
    book.services[service] = ServiceLine(name_of(service), facts["owner"], kind, *terms)


@entry("Services", "TermsChanged")
def _terms_changed(book: Book, facts: Facts) -> None:
    if (line := book.services.get(facts["service"])) is not None:
        line.max_price, line.owner_share = facts["maxPrice"], facts["ownerShare"]


@entry("Services", "SpecChanged")
def _spec_changed(book: Book, facts: Facts) -> None:
    if (line := book.services.get(facts["service"])) is not None:
        line.uri = facts["uri"]


@entry("Services", "OwnerChanged")
def _service_owner_changed(book: Book, facts: Facts) -> None:
    if (line := book.services.get(facts["service"])) is not None:
        line.owner = facts["owner"]


@entry("Registry", "Registered")
def _registered(book: Book, facts: Facts) -> None:
    number = facts["registration"]
    terms = (facts["service"], facts["operator"], facts["owner"], facts["price"])
    kept = book.suppliers.get(number)
    line = book.suppliers[number] = SupplierLine(number, *terms)
    line.bond = facts["bond"]
    line.listed = kept is not None and kept.listed  # Listed may come first in the same transaction


@entry("Registry", "ProfileChanged")
def _profile_changed(book: Book, facts: Facts) -> None:
    _supplier(book, facts).operator = facts["operator"]


@entry("Registry", "PriceChanged")
def _price_changed(book: Book, facts: Facts) -> None:
    _supplier(book, facts).price = facts["price"]


@entry("Registry", "Listed")
def _listed(book: Book, facts: Facts) -> None:
    _supplier(book, facts).listed = True
    book.place(facts["service"], facts["index"], facts["fromSession"], facts["registration"])
    if (line := book.services.get(facts["service"])) is not None:
        line.registrations += 1


@entry("Registry", "Delisted")
def _delisted(book: Book, facts: Facts) -> None:
    _supplier(book, facts).listed = False
    if (line := book.services.get(facts["service"])) is not None:
        line.registrations -= 1


@entry("Registry", "Moved")
def _moved(book: Book, facts: Facts) -> None:
    book.place(facts["service"], facts["index"], facts["fromSession"], facts["registration"])


@entry("Registry", "Slashed")
@entry("Gateways", "Slashed")
def _slashed(book: Book, facts: Facts) -> None:
    line = _holder(book, facts)
    assert not isinstance(line, ApplicationLine)
    line.bond, line.thawing = line.bond - facts["fromBond"], line.thawing - facts["fromThawing"]
    line.slashed += facts["fromBond"] + facts["fromThawing"]


@entry("Registry", "OwnerChanged")
def _supplier_owner_changed(book: Book, facts: Facts) -> None:
    _supplier(book, facts).owner = facts["owner"]


@entry("Escrow", "Deposited")
def _deposited(book: Book, facts: Facts) -> None:
    line = book.application(facts["application"])
    line.balance, line.deposited = line.balance + facts["amount"], line.deposited + facts["amount"]


@entry("Escrow", "Taken")
def _taken(book: Book, facts: Facts) -> None:
    line = book.application(facts["application"])
    line.balance -= facts["fromBalance"]
    line.thawing -= facts["fromThawing"]
    line.spent += facts["fromBalance"] + facts["fromThawing"]
    book.totals.taken += facts["fromBalance"] + facts["fromThawing"]


@entry("Escrow", "Granted")
def _granted(book: Book, facts: Facts) -> None:
    line = book.application(facts["application"])
    book.gateway(facts["gateway"])
    grant = GrantLine(facts["gateway"], facts["service"], facts["cap"], facts["expiry"])
    line.grants[facts["gateway"] + facts["service"]] = grant


@entry("Escrow", "Forgotten")
def _forgotten(book: Book, facts: Facts) -> None:
    book.application(facts["application"]).grants.pop(facts["gateway"] + facts["service"], None)


def _holder(book: Book, facts: Facts) -> SupplierLine | ApplicationLine | GatewayLine:
    """Return whose money an event is about."""
    if "registration" in facts:
        return _supplier(book, facts)
    return book.application(facts["application"]) if "application" in facts else book.gateway(facts["gateway"])


def _supplier(book: Book, facts: Facts) -> SupplierLine:
    number: int = facts["registration"]
    return book.suppliers.setdefault(number, SupplierLine(number, bytes(32), bytes(20), bytes(20), 0))


def _moves(source: str | None, target: str | None) -> Entry:
    """Return what moves an event's amount from one field of its holder to another."""

    def move(book: Book, facts: Facts) -> None:
        line, amount = _holder(book, facts), facts["amount"]
        if source is not None:
            setattr(line, source, getattr(line, source) - amount)
        if target is not None:
            setattr(line, target, getattr(line, target) + amount)

    return move


for _contract, _held, _ended in (
    ("Registry", "bond", "Unbonded"),
    ("Gateways", "bond", "Unbonded"),
    ("Escrow", "balance", "Withdrawn"),
):
    _ENTRIES[_contract, "ThawStarted"] = _moves(_held, "thawing")
    _ENTRIES[_contract, "ThawCancelled"] = _moves("thawing", _held)
    _ENTRIES[_contract, _ended] = _moves("thawing", None)
for _contract in ("Registry", "Gateways"):
    _ENTRIES[_contract, "Bonded"] = _moves(None, "bond")
