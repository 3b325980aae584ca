"""Write the vectors that Python, the contracts and any other implementation are held to.

`python -m tests.vectors.generate` writes protocol.json; a test proves it current. `pay_cases` makes what would be too
large to keep.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from pocketnode.crypto import merkle
from pocketnode.crypto.eip712 import Domain
from pocketnode.protocol import digest, session, statement
from pocketnode.protocol.types import Entry, Params, Receipt, Response, Statement

PATH = Path(__file__).parent / "protocol.json"
COUNTS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 25, 33, 64, 65, 100, 1000, 5000)


def vectors() -> dict[str, Any]:
    """Return all vectors as JSON values; bytes are hex with 0x."""
    draw = random.Random("pocketnode")
    return {
        "digests": [_digests(draw) for _ in range(8)],
        "sessions": [_session(draw) for _ in range(8)],
        "permutations": [_permutation(draw, count) for count in COUNTS],
        "entries": _hex(statement.pack([Entry(7, 1, 5000), Entry(2**32 - 1, 2**64 - 1, 10_000)])),
        "merkle": [_merkle(draw, size) for size in (0, 1, 2, 3, 5, 8, 13)],
    }


def text() -> str:
    """Return what protocol.json must hold."""
    return json.dumps(vectors(), indent=1) + "\n"


def pay_cases(count: int, seed: int) -> bytes:
    """Return `count` pots with what `statement.divide` pays, packed for the contracts' own test.

    Each is `n u8 | taken u128 | fee u16 | share u16`, then n times `amount u96 | quality u16 | demand u96 | pay u96`.
    """
    draw = random.Random(seed)
    return b"".join(_pay_case(draw) for _ in range(count))


def _pay_case(draw: random.Random) -> bytes:
    n = draw.choice((1, 1, 2, 3, 5, 24, 24, 64))
    top = draw.choice((1, 10, 10**6, 10**12, 2**80, (2**88 - 2) // n))
    low = draw.choice((1_000, 5_000, 10_000))
    demands = []
    for _ in range(n):
        stated = draw.choice((0, draw.randint(0, top), top))
        excess = draw.choice((0, 0, draw.randint(0, top), 2**95 if top > 2**79 else top))
        demands.append(statement.Demand(stated, draw.randint(low, 10_000), excess))
    whole = sum(d.whole for d in demands)
    available = draw.choice((whole, whole + 1, draw.randint(0, whole), whole // 2, 0))
    available = min(available, 2**88 - 2)
    params = _params(fee=draw.choice((0, 1, 200, 1_000)), share=draw.choice((0, 1, 2_000, 5_000)))
    paid = statement.divide(demands, available, n, params)
    head = n.to_bytes(1, "big") + paid.debit.to_bytes(16, "big")
    head += params.fee.to_bytes(2, "big") + params.quality_share.to_bytes(2, "big")
    for demand, pay in zip(demands, paid.pay, strict=True):
        head += demand.stated.to_bytes(12, "big") + demand.quality.to_bytes(2, "big")
        head += demand.whole.to_bytes(12, "big") + pay.to_bytes(12, "big")
    return head


def _params(fee: int, share: int) -> Params:
    return Params(0, 20, 24, 2, 5, 10, 60, fee, share, 5_000)


def _digests(draw: random.Random) -> dict[str, Any]:
    domain = Domain(draw.choice((1, 31_337, 2**64)), draw.randbytes(20))
    receipt = Receipt(
        draw.randbytes(32),
        draw.randbytes(20),
        draw.randbytes(32),
        draw.randrange(2**64),
        draw.randrange(2**128),
        draw.randrange(2**128),
        draw.randbytes(32),
    )
    response = Response(
        draw.randbytes(32),
        draw.randbytes(32),
        draw.randrange(2**128),
        draw.randrange(2**32),
        draw.randrange(2**32),
        draw.randbytes(32),
    )
    stated = Statement(
        draw.randbytes(20), draw.randbytes(32), draw.randrange(2**64), draw.randbytes(28), draw.randbytes(32)
    )
    return {
        "chain": domain.chain_id,
        "contract": _hex(domain.contract),
        "separator": _hex(domain.separator),
        "receipt": [_field(v) for v in _values(receipt)],
        "receiptDigest": _hex(digest.receipt_digest(domain, receipt)),
        "response": [_field(v) for v in _values(response)],
        "responseDigest": _hex(digest.response_digest(domain, response)),
        "statement": [_field(v) for v in _values(stated)],
        "statementDigest": _hex(digest.statement_digest(domain, stated)),
    }


def _session(draw: random.Random) -> dict[str, Any]:
    application, service, number = draw.randbytes(20), draw.randbytes(32), draw.randrange(2**32)
    gateway, block_hash = draw.randbytes(20), draw.randbytes(32)
    id_ = session.session_id(application, service, number)
    return {
        "application": _hex(application),
        "service": _hex(service),
        "number": number,
        "gateway": _hex(gateway),
        "blockHash": _hex(block_hash),
        "id": _hex(id_),
        "pot": _hex(session.pot_id(id_, gateway)),
        "seed": _hex(session.seed_of(block_hash, application, service)),
    }


def _permutation(draw: random.Random, count: int) -> dict[str, Any]:
    seed = draw.randbytes(32)
    return {"seed": _hex(seed), "count": count, "indices": session.select(seed, count, min(count, 64))}


def _merkle(draw: random.Random, size: int) -> dict[str, Any]:
    records = [draw.randbytes(85) for _ in range(size)]
    return {"records": [_hex(r) for r in records], "root": _hex(merkle.root(records))}


def _values(struct: Any) -> list[Any]:
    return [getattr(struct, name) for name in struct.__slots__]


def _field(value: int | bytes) -> str:
    return _hex(value) if isinstance(value, bytes) else hex(value)


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


if __name__ == "__main__":
    PATH.write_text(text())
