"""Transactions are those that eth-account makes of the same fields, byte for byte."""

from __future__ import annotations

from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.chain.signing import signed_transaction
from pocketnode.crypto.keys import Key

WEI = st.integers(0, 2**96 - 1)


@given(
    secret=st.binary(min_size=32, max_size=32).filter(lambda raw: 0 < int.from_bytes(raw, "big") < 2**255),
    chain_id=st.integers(1, 2**53 - 1),
    nonce=st.integers(0, 2**63),
    fees=st.tuples(WEI, WEI),
    gas=st.integers(21_000, 2**40),
    target=st.one_of(st.just(b""), st.binary(min_size=20, max_size=20)),
    value=WEI,
    data=st.binary(max_size=200),
)
def test_transactions_are_what_a_wallet_signs(
    secret: bytes, chain_id: int, nonce: int, fees: tuple[int, int], gas: int, target: bytes, value: int, data: bytes
) -> None:
    fields = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "maxPriorityFeePerGas": fees[0],
        "maxFeePerGas": fees[1],
        "gas": gas,
        "to": target,
        "value": value,
        "data": data,
    }
    wallet = bytes(Account.sign_transaction(fields, secret).raw_transaction)
    assert signed_transaction(Key(secret), chain_id, nonce, *fees, gas, target, value, data) == wallet
