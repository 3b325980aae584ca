"""keccak256, whole and in pieces."""

from __future__ import annotations

from typing import Protocol

import sha3


class Hasher(Protocol):
    """A keccak256 that is fed in pieces; `digest` may be taken at any point and feeding go on."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


def keccak(data: bytes) -> bytes:
    """Return the 32-byte keccak256 of `data`.

    >>> keccak(b"").hex()[:16]
    'c5d2460186f7233c'
    """
    digest: bytes = sha3.keccak_256(data).digest()
    return digest


def hasher(data: bytes = b"") -> Hasher:
    """Return a keccak256 that has already taken in `data`."""
    begun: Hasher = sha3.keccak_256(data)
    return begun
