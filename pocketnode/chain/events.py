"""What the Settlement contract tells, as values; and reading it from the chain's logs."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import Log, contract, log_of
from pocketnode.chain.errors import Refused
from pocketnode.errors import Unavailable

RANGE_MOST: Final = 2_000
_PRICED: Final = struct.Struct(">IB12sHQ")


@dataclass(frozen=True, slots=True)
class Priced:
    """One supplier's line of a statement as the contract priced it; `amount` is base units, `quality` 1/10,000."""

    index: int
    rank: int
    amount: int
    quality: int
    units: int


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement was taken. `taken` is what it took from escrow; `priced` is what withdrawals must give back."""

    pot: bytes
    application: bytes
    gateway: bytes
    service: bytes
    session: int
    taken: int
    relays_root: bytes
    priced: bytes
    block: int

    @property
    def entries(self) -> tuple[Priced, ...]:
        """The lines of the statement, by index."""
        return tuple(
            Priced(index, rank, int.from_bytes(amount, "big"), quality, units)
            for index, rank, amount, quality, units in _PRICED.iter_unpack(self.priced)
        )


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim was taken: of `units`, worth `amount`; `taken` is what its pot has taken from escrow so far."""

    pot: bytes
    registration: int
    rank: int
    units: int
    amount: int
    taken: int
    block: int
    gateway: bytes = b""


@dataclass(frozen=True, slots=True)
class GatewayFaulted:
    """A gateway's bond pays `amount` for `units` that its statement hid (rule 5.15)."""

    pot: bytes
    registration: int
    gateway: bytes
    units: int
    amount: int
    block: int


@dataclass(frozen=True, slots=True)
class SupplierFaulted:
    """A supplier was slashed `amount` for two Responses to one Receipt (rule 5.16)."""

    registration: int
    receipt: bytes
    amount: int
    block: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A registration was paid `amount` from a pot, compensation included."""

    pot: bytes
    registration: int
    rank: int
    amount: int
    block: int


@dataclass(frozen=True, slots=True)
class Collected:
    """A pot's fee was paid out."""

    pot: bytes
    service: bytes
    owner: bytes
    owner_amount: int
    treasury_amount: int
    block: int


SettlementEvent = Stated | Claimed | GatewayFaulted | SupplierFaulted | Withdrawn | Collected

_VALUES: Final[dict[str, tuple[Callable[..., SettlementEvent], dict[str, str]]]] = {
    "Stated": (Stated, {"relaysRoot": "relays_root"}),
    "Claimed": (Claimed, {}),
    "GatewayFaulted": (GatewayFaulted, {}),
    "SupplierFaulted": (SupplierFaulted, {}),
    "Withdrawn": (Withdrawn, {}),
    "Collected": (Collected, {"ownerAmount": "owner_amount", "treasuryAmount": "treasury_amount"}),
}


def typed(log: Log) -> SettlementEvent | None:
    """Return a log of the Settlement contract as a value; None for an event that is none of ours.

    Raises
    ------
    Unavailable
        it is malformed.
    """
    event = contract("Settlement").events.get(log.topics[0]) if log.topics else None
    if event is None or event.name not in _VALUES:
        return None
    make, names = _VALUES[event.name]
    facts: dict[str, Any] = {names.get(name, name): value for name, value in event.facts(log).items()}
    return make(**facts, block=log.block)


def topic_of(kind: type[SettlementEvent]) -> bytes:
    """Return the first topic of an event."""
    return contract("Settlement").topic(kind.__name__)


async def read_logs(rpc: Rpc, address: bytes, first: int, last: int, topics: Sequence[bytes | None] = ()) -> list[Log]:
    """Return a contract's logs in blocks `first` to `last`, both included, asked for in pieces.

    Raises
    ------
    Unavailable
        no node answers, or not even for a single block.
    """
    found: list[Log] = []
    step = RANGE_MOST
    while first <= last:
        until = min(last, first + step - 1)
        try:
            found += await _ask(rpc, {"fromBlock": hex(first), "toBlock": hex(until)}, address, topics)
        except Refused as error:  # too many blocks or logs at once, each node in its own words
            if step == 1:
                raise Unavailable(f"logs of block {first}: {error}", 1.0) from error
            step = max(1, step // 4)
            continue
        first = until + 1
    return found


async def logs_in(rpc: Rpc, address: bytes, block_hash: bytes) -> list[Log]:
    """Return a contract's logs in the one block of this hash.

    Raises
    ------
    Unavailable
        no node answers, or it has no such block (any more).
    """
    try:
        return await _ask(rpc, {"blockHash": "0x" + block_hash.hex()}, address, ())
    except Refused as error:
        raise Unavailable(f"logs of block 0x{block_hash.hex()}: {error}", 0.5) from error


async def _ask(rpc: Rpc, which: dict[str, Any], address: bytes, topics: Sequence[bytes | None]) -> list[Log]:
    wanted = [None if topic is None else "0x" + topic.hex() for topic in topics]
    found = await rpc.ask("eth_getLogs", {**which, "address": "0x" + address.hex(), "topics": wanted})
    if not isinstance(found, list):
        raise Unavailable("the chain node answers with logs that are no list", 1.0)
    return [log_of(raw) for raw in found]
