"""Which block belongs to which session, and who serves in it (section 4)."""

from __future__ import annotations

from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.types import Params

ROUNDS = 8


def number_at(block: int, params: Params) -> int:
    """Return the session that `block` belongs to (rule 4.1); `block` >= anchor."""
    return (block - params.anchor) // params.length


def start_of(number: int, params: Params) -> int:
    """Return the first block of a session."""
    return params.anchor + number * params.length


def end_of(number: int, params: Params) -> int:
    """Return the last block of a session."""
    return start_of(number + 1, params) - 1


def in_statement_window(block: int, number: int, params: Params) -> bool:
    """Return whether a statement of session `number` is accepted in `block` (section 5)."""
    end = end_of(number, params)
    return end < block <= end + params.statement_window


def in_claim_window(block: int, number: int, params: Params) -> bool:
    """Return whether a claim on session `number` is accepted in `block` (section 5)."""
    closes = end_of(number, params) + params.statement_window
    return closes < block <= closes + params.claim_window


def payable_from(number: int, params: Params) -> int:
    """Return the first block in which money of session `number` can be withdrawn."""
    return end_of(number, params) + params.statement_window + params.claim_window + 1


def session_id(application: bytes, service: bytes, number: int) -> bytes:
    """Return the 32-byte id of a session (rule 1.5)."""
    return keccak(b"\x00" * 12 + application + service + number.to_bytes(32, "big"))


def pot_id(session: bytes, gateway: bytes) -> bytes:
    """Return the 32-byte id of what one gateway owes for one session (rule 5.1)."""
    return keccak(session + b"\x00" * 12 + gateway)


def service_id(name: str) -> bytes:
    """Return a service name as bytes32 (rule 1.4).

    >>> service_id("eth").hex().rstrip("0")
    '657468'
    """
    raw = name.encode("ascii", "replace")
    if not 1 <= len(raw) <= 32 or any(c not in b"abcdefghijklmnopqrstuvwxyz0123456789._-" for c in raw):
        raise ValueError(f"service id {name!r}: 1 to 32 of a-z, 0-9, '.', '_', '-'")
    return raw.ljust(32, b"\x00")


def service_name(service: bytes) -> str:
    """Return the name inside a bytes32 service id."""
    return service.rstrip(b"\x00").decode("ascii")


def seed_of(block_hash: bytes, application: bytes, service: bytes) -> bytes:
    """Return a session's seed from the hash of the block before it (rule 4.2)."""
    return keccak(block_hash + b"\x00" * 12 + application + service)


def permute(seed: bytes, count: int, rank: int) -> int:
    """Return the index that stands at `rank` (rule 4.5); 0 <= rank < count.

    >>> sorted(permute(b"s" * 32, 5, rank) for rank in range(5))
    [0, 1, 2, 3, 4]
    """
    return _walk(seed, count, rank, range(ROUNDS))


def rank_of(seed: bytes, count: int, index: int) -> int:
    """Return the rank at which `index` stands: the inverse of `permute`."""
    return _walk(seed, count, index, range(ROUNDS - 1, -1, -1))


def select(seed: bytes, count: int, most: int) -> list[int]:
    """Return the indices in a session, in rank order (rule 4.4)."""
    return [permute(seed, count, rank) for rank in range(min(most, count))]


def _walk(seed: bytes, count: int, value: int, rounds: range) -> int:
    if count == 1:
        return 0
    bits = max(2, (count - 1).bit_length())
    value = _feistel(seed, bits, value, rounds)
    while value >= count:
        value = _feistel(seed, bits, value, rounds)
    return value


def _feistel(seed: bytes, bits: int, value: int, rounds: range) -> int:
    low_bits = bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << (bits - low_bits)) - 1
    high, low = value >> low_bits, value & low_mask
    for r in rounds:
        if r % 2 == 0:
            high ^= _round(seed, r, low) & high_mask
        else:
            low ^= _round(seed, r, high) & low_mask
    return high << low_bits | low


def _round(seed: bytes, r: int, x: int) -> int:
    return int.from_bytes(keccak(seed + bytes((r,)) + x.to_bytes(8, "big"))[-8:], "big")
