"""How long the protocol's own steps take on this machine: one core, no I/O."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key, signer_of, verify
from pocketnode.crypto.merkle import Frontier
from pocketnode.protocol import lane as lanes
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.record import RelayRecord, encode
from pocketnode.protocol.session import select
from pocketnode.protocol.statement import Demand, divide
from pocketnode.protocol.types import Params, Receipt, Response

ROUNDS: Final = 7
REGISTRATIONS: Final = 5_000
SUPPLIERS: Final = 24

_DOMAIN: Final = Domain(31337, b"\x11" * 20)
_KEY: Final = Key(b"\x02" * 32)
_PARAMS: Final = Params(0, 1800, SUPPLIERS, 30, 300, 1200, 604_800, 200, 2000, 5000)
_RECEIPT: Final = Receipt(b"\x05" * 32, b"\x06" * 20, b"\x07" * 32, 9, 10_000, 30, b"\x08" * 32)
_RESPONSE: Final = Response(b"\x05" * 32, b"\x06" * 32, 30, 2, 3, b"\x07" * 32)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing the protocol does.

    Parameters
    ----------
    calls : how often `work` is called in a round, some milliseconds of work.
    """

    name: str
    calls: int
    work: Callable[[], object]


def steps() -> list[Step]:
    """Return the steps, made ready."""
    digest = receipt_digest(_DOMAIN, _RECEIPT)
    signature = _KEY.sign(digest)
    verify(digest, signature, _KEY.address)  # the key is recovered the first time, and remembered
    tree, record = Frontier(), encode(RelayRecord(b"\x01" * 32, b"\x02" * 32, 7, 30, 4, 5, 0))
    demands = [Demand(1_000_000 + 37 * i, 5000 + 200 * i) for i in range(SUPPLIERS)]
    request, answer = b"\x09" * 200, b"\x0a" * 2000
    lane = lanes.SupplierLane(seq=8, total=9_000, served=10_000)
    return [
        Step("sign a digest", 500, lambda: _KEY.sign(digest)),
        Step("verify with a known key", 500, lambda: verify(digest, signature, _KEY.address)),
        Step("recover an unknown signer", 300, lambda: signer_of(digest, signature)),
        Step("digest of a Receipt", 2000, lambda: receipt_digest(_DOMAIN, _RECEIPT)),
        Step("digest of a Response", 2000, lambda: response_digest(_DOMAIN, _RESPONSE)),
        Step("hash of a 200 B request", 2000, lambda: payload_hash(b"POST /\n\n", request)),
        Step("hash of a 2 kB answer", 1000, lambda: payload_hash(b"200\n\n", answer)),
        Step("accept a Receipt", 2000, lambda: lanes.accept(lane, _RECEIPT)),
        Step("append a record to the Merkle tree", 1000, lambda: tree.append(record)),
        Step(f"divide a pot among {SUPPLIERS} suppliers", 200, lambda: divide(demands, 10**9, SUPPLIERS, _PARAMS)),
        Step(
            f"choose {SUPPLIERS} of {REGISTRATIONS:,} registrations",
            20,
            lambda: select(keccak(b"seed"), REGISTRATIONS, SUPPLIERS),
        ),
    ]


def measure(step: Step, rounds: int = ROUNDS) -> dict[str, float | str]:
    """Return how long one call takes in microseconds: the median of several rounds, and the least and greatest."""
    took_us = [_round_us(step) for _ in range(rounds + 1)][1:]  # the first one warms up
    return {
        "step": step.name,
        "us": round(statistics.median(took_us), 2),
        "min_us": round(min(took_us), 2),
        "max_us": round(max(took_us), 2),
    }


def _round_us(step: Step) -> float:
    work, started_ns = step.work, time.process_time_ns()  # what else the machine does is not counted
    for _ in range(step.calls):
        work()
    return (time.process_time_ns() - started_ns) / step.calls / 1000
