"""Signatures: what is signed verifies, and nothing else does."""

from __future__ import annotations

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.crypto.keccak import hasher, keccak
from pocketnode.crypto.keys import HALF_ORDER, Key, checksum, signer_of, verify, with_right_v
from pocketnode.errors import RemoteError

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
secrets = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


@given(secret=secrets, digest=digests)
def test_a_signature_names_its_signer(secret: bytes, digest: bytes) -> None:
    key = Key(secret)
    signature = key.sign(digest)
    assert signer_of(digest, signature) == key.address
    assert verify(digest, signature, key.address)
    assert int.from_bytes(signature[32:64], "big") <= HALF_ORDER


@given(secret=secrets, digest=digests)
def test_eth_account_signs_the_same(secret: bytes, digest: bytes) -> None:
    account = Account.from_key(secret)
    assert bytes.fromhex(account.address[2:]) == Key(secret).address
    assert checksum(Key(secret).address) == account.address
    assert bytes(account.unsafe_sign_hash(digest).signature) == Key(secret).sign(digest)


@given(secret=secrets, digest=digests, bit=st.integers(0, 64 * 8 - 1))
def test_no_bit_of_a_signature_can_change(secret: bytes, digest: bytes, bit: int) -> None:
    key = Key(secret)
    signature = bytearray(key.sign(digest))
    assert verify(digest, bytes(signature), key.address)  # from here on the key is known
    signature[bit // 8] ^= 1 << bit % 8
    assert not verify(digest, bytes(signature), key.address)


@given(secret=secrets, digest=digests)
def test_the_mirrored_signature_is_refused(secret: bytes, digest: bytes) -> None:
    key = Key(secret)
    good = key.sign(digest)
    high = (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    mirrored = good[:32] + high + bytes((55 - good[64],))
    assert not verify(digest, mirrored, key.address)
    with pytest.raises(RemoteError) as caught:
        signer_of(digest, mirrored)
    assert caught.value.rule == "1.1"


@given(secret=secrets, digest=digests)
def test_a_wrong_v_is_put_right_before_the_chain_sees_it(secret: bytes, digest: bytes) -> None:
    key = Key(secret)
    good = key.sign(digest)
    wrong = good[:64] + bytes((55 - good[64],))
    assert with_right_v(digest, wrong, key.address) == good
    with pytest.raises(RemoteError):
        with_right_v(keccak(digest), good, key.address)


@pytest.mark.parametrize("signature", [b"", b"\x00" * 64, b"\x00" * 65, b"\xff" * 65, b"\x01" * 64 + b"\x1d"])
def test_malformed_signatures_are_named(signature: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        signer_of(b"\x01" * 32, signature)
    assert caught.value.rule == "1.1"


@given(parts=st.lists(st.binary(max_size=200), max_size=8))
def test_hashing_does_not_depend_on_the_cuts(parts: list[bytes]) -> None:
    fed = hasher()
    for part in parts:
        fed.update(part)
        fed.digest()
    assert fed.digest() == keccak(b"".join(parts))
