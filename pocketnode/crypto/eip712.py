"""EIP-712: the domain that every signature is bound to (rule 1.2), and the digest of a struct under it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pocketnode.crypto.keccak import keccak

DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
NAME = "pocketnode"
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Domain:
    """The deployment that signatures are meant for.

    Parameters
    ----------
    chain_id : EIP-155 chain id.
    contract : 20 bytes, the Settlement contract.
    """

    chain_id: int
    contract: bytes
    _prefix: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = (
            keccak(DOMAIN_TYPE.encode())
            + keccak(NAME.encode())
            + keccak(VERSION.encode())
            + word(self.chain_id)
            + address_word(self.contract)
        )
        object.__setattr__(self, "_prefix", b"\x19\x01" + keccak(words))

    @property
    def separator(self) -> bytes:
        """The 32-byte EIP-712 domain separator."""
        return self._prefix[2:]

    def digest(self, words: bytes) -> bytes:
        """Return the 32-byte digest to sign of a struct: its type hash and its encoded fields, 32 bytes each."""
        return keccak(self._prefix + keccak(words))


def word(number: int) -> bytes:
    """Return an unsigned integer as the ABI encodes it: 32 bytes, big-endian."""
    return number.to_bytes(32, "big")


def address_word(address: bytes) -> bytes:
    """Return a 20-byte address as the ABI encodes it."""
    return b"\x00" * 12 + address
