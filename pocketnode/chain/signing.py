"""EIP-1559 transactions as nodes take them. `rlp` encodes; eth-account does the same, but brings the curves of
validator keys along, which take half a second and 12 MiB of a daemon.
"""

from __future__ import annotations

import rlp

from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key

TYPE = b"\x02"


def signed_transaction(
    key: Key,
    chain_id: int,
    nonce: int,
    tip_wei: int,
    fee_wei: int,
    gas: int,
    target: bytes,
    value_wei: int,
    data: bytes,
) -> bytes:
    """Return the bytes of a signed transaction with an empty access list.

    Parameters
    ----------
    tip_wei, fee_wei : the most for each unit of gas: to the block's maker, and in all.
    target : 20 bytes; empty to create a contract.
    """
    fields = [chain_id, nonce, tip_wei, fee_wei, gas, target, value_wei, data, []]
    signature = key.sign(keccak(TYPE + rlp.encode(fields)))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return TYPE + bytes(rlp.encode([*fields, signature[64] - 27, r, s]))
