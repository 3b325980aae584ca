"""What a deployment's logs say, as one book: services, suppliers, applications, gateways, and every pot. Pure.

Every line can be written as JSON, bytes in hex; `pocketnode.web.shelf` keeps them in the store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from pydantic import ConfigDict

from pocketnode.protocol.session import service_name

POTS_HELD_MOST: Final = 2_000
HOLDERS_MOST: Final = 64  # of an index: none is asked for whose sessions are all settled
HEX: Final = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")


@dataclass(slots=True)
class ServiceLine:
    """A service; `max_price` in base units per million units, `owner_share` in ten-thousandths of the fee."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    name: str
    owner: bytes
    kind: str
    uri: str
    max_price: int
    owner_share: int
    registrations: int = 0
    units: int = 0
    amount: int = 0


@dataclass(slots=True)
class SupplierLine:
    """A registration, and what all its sessions came to. Amounts are base units."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    id: int
    service: bytes
    operator: bytes
    owner: bytes
    price: int
    listed: bool = False
    bond: int = 0
    thawing: int = 0
    slashed: int = 0
    sessions: int = 0
    units: int = 0
    amount: int = 0
    paid: int = 0
    compensated: int = 0
    quality: int | None = None  # as stated last, ten-thousandths


@dataclass(slots=True)
class GrantLine:
    """An application's permission for a gateway; `cap` is base units a session, `expiry` the last session."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    gateway: bytes
    service: bytes
    cap: int
    expiry: int


@dataclass(slots=True)
class ApplicationLine:
    """An application's escrow, in base units, and whom it lets spend it."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    address: bytes
    balance: int = 0
    thawing: int = 0
    deposited: int = 0
    spent: int = 0
    grants: dict[bytes, GrantLine] = field(default_factory=dict)


@dataclass(slots=True)
class GatewayLine:
    """A gateway's bond, and what it stated."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    address: bytes
    bond: int = 0
    thawing: int = 0
    slashed: int = 0
    statements: int = 0
    amount: int = 0


@dataclass(slots=True)
class PotRank:
    """One supplier's part of a pot. `paid` is None until it was withdrawn; `compensation` is part of it."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    rank: int
    index: int | None = None
    registration: int = 0
    units: int = 0
    amount: int = 0
    quality: int | None = None
    claimed: int | None = None
    claimed_units: int = 0
    compensation: int = 0
    paid: int | None = None
    paid_transaction: bytes | None = None

    @property
    def demand(self) -> int:
        """The greater of stated and claimed amount (rule 5.8)."""
        return max(self.amount, self.claimed or 0)


@dataclass(slots=True)
class PotLine:
    """What one gateway owed for one session. `taken` is what it took from escrow: the application's debit."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    id: bytes
    gateway: bytes
    application: bytes = b""
    service: bytes = b""
    session: int = -1
    stated: bool = False
    relays_root: bytes = b""
    taken: int = 0
    fee: int | None = None
    block: int = 0
    transactions: dict[str, bytes] = field(default_factory=dict)
    ranks: dict[int, PotRank] = field(default_factory=dict)

    def rank(self, rank: int) -> PotRank:
        """Return a supplier's part, an empty one if there is none yet."""
        return self.ranks.setdefault(rank, PotRank(rank))

    @property
    def demand(self) -> int:
        """What all suppliers demand, in base units."""
        return sum(rank.demand for rank in self.ranks.values())

    @property
    def settled(self) -> bool:
        """Whether everyone was paid."""
        return bool(self.ranks) and all(rank.paid is not None for rank in self.ranks.values())


@dataclass(slots=True)
class PlaceLine:
    """Who held an index of a service: (from which session, registration), the oldest first."""

    __pydantic_config__: ClassVar[ConfigDict] = HEX

    service: bytes
    index: int
    held: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Totals:
    """Sums over everything that ever was, in base units; `pots` is a count."""

    taken: int = 0
    paid: int = 0
    fees: int = 0
    pots: int = 0


@dataclass
class Book:
    """Everything known up to `block`. Of pots only those that changed lately are held; `find` returns an older one."""

    block: int = 0
    services: dict[bytes, ServiceLine] = field(default_factory=dict)
    suppliers: dict[int, SupplierLine] = field(default_factory=dict)
    applications: dict[bytes, ApplicationLine] = field(default_factory=dict)
    gateways: dict[bytes, GatewayLine] = field(default_factory=dict)
    places: dict[tuple[bytes, int], PlaceLine] = field(default_factory=dict)
    pots: OrderedDict[bytes, PotLine] = field(default_factory=OrderedDict)
    changed: set[bytes] = field(default_factory=set)  # pots that are not kept yet
    totals: Totals = field(default_factory=Totals)
    find: Callable[[bytes], PotLine | None] = lambda _: None

    def application(self, address: bytes) -> ApplicationLine:
        """Return an application, a new one if it is unknown."""
        return self.applications.setdefault(address, ApplicationLine(address))

    def gateway(self, address: bytes) -> GatewayLine:
        """Return a gateway, a new one if it is unknown."""
        return self.gateways.setdefault(address, GatewayLine(address))

    def pot(self, id: bytes, gateway: bytes = b"") -> PotLine:
        """Return a pot to change, a new one if it is unknown."""
        self.changed.add(id)
        pot = self.pots.get(id) or self.find(id)
        if pot is None:
            pot = PotLine(id, gateway)
            self.totals.pots += 1
        self.pots[id] = pot
        self.pots.move_to_end(id)
        return pot

    def was_kept(self) -> None:
        """Note that all changes are kept, and let go of pots that did not change lately."""
        self.changed.clear()
        while len(self.pots) > POTS_HELD_MOST:
            self.pots.popitem(last=False)

    def place(self, service: bytes, index: int, session: int, registration: int) -> None:
        """Note which registration holds an index from a session on."""
        held = self.places.setdefault((service, index), PlaceLine(service, index)).held
        if held and held[-1][0] == session:
            held.pop()
        held.append((session, registration))
        del held[:-HOLDERS_MOST]

    def holder(self, service: bytes, index: int, session: int) -> int:
        """Return the registration that held an index in a session; 0 if none is known."""
        line = self.places.get((service, index))
        held = line.held if line else []
        at = bisect_right(held, session, key=lambda entry: entry[0])
        return held[at - 1][1] if at else 0


def name_of(service: bytes) -> str:
    """Return a service's name, or its bytes in hex where it is none."""
    try:
        return service_name(service)
    except UnicodeDecodeError:
        return f"0x{service.hex()}"
