"""The digests of the three signed structs (rule 1.3).

Type hashes are computed from the type strings, never typed in: an audit lesson of the field.
"""

from __future__ import annotations

from pocketnode.crypto.eip712 import Domain, address_word, word
from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.types import Receipt, Response, Statement

RECEIPT_TYPE = (
    "Receipt(bytes32 session,address supplier,bytes32 lane,uint64 seq,uint128 total,uint128 hold,bytes32 request)"
)
RESPONSE_TYPE = (
    "Response(bytes32 receipt,bytes32 payload,uint128 units,uint32 firstByteMs,uint32 doneMs,bytes32 backend)"
)
STATEMENT_TYPE = "Statement(address application,bytes32 service,uint64 session,bytes entries,bytes32 relaysRoot)"

_RECEIPT_HASH = keccak(RECEIPT_TYPE.encode())
_RESPONSE_HASH = keccak(RESPONSE_TYPE.encode())
_STATEMENT_HASH = keccak(STATEMENT_TYPE.encode())


def receipt_digest(domain: Domain, receipt: Receipt) -> bytes:
    """Return the 32-byte digest that a gateway signs for one relay."""
    return domain.digest(
        _RECEIPT_HASH
        + receipt.session
        + address_word(receipt.supplier)
        + receipt.lane
        + word(receipt.seq)
        + word(receipt.total)
        + word(receipt.hold)
        + receipt.request
    )


def response_digest(domain: Domain, response: Response) -> bytes:
    """Return the 32-byte digest that a supplier signs for one answer."""
    return domain.digest(
        _RESPONSE_HASH
        + response.receipt
        + response.payload
        + word(response.units)
        + word(response.first_byte_ms)
        + word(response.done_ms)
        + response.backend
    )


def statement_digest(domain: Domain, statement: Statement) -> bytes:
    """Return the 32-byte digest that a gateway signs for a whole session."""
    return domain.digest(
        _STATEMENT_HASH
        + address_word(statement.application)
        + statement.service
        + word(statement.session)
        + keccak(statement.entries)
        + statement.relays_root
    )
