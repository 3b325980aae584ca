"""Ordinary clients, unmodified: only the base URL and the key are ours."""

from __future__ import annotations

import time
from typing import Any, cast

import openai
import pytest
import requests
from eth_account import Account
from web3 import Web3
from web3.types import TxParams

from tests.e2e.network import Localnet

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
# anvil's first development account: its key is printed by every anvil.
DEVELOPER = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


@pytest.fixture
def client(localnet: Localnet) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{localnet.gateway_url}/v1", api_key=localnet.api_key, max_retries=0, timeout=60)


@pytest.fixture
def chain(localnet: Localnet) -> Web3:
    """The chain as a user of the gateway has it."""
    headers = {"Authorization": f"Bearer {localnet.api_key}"}
    return Web3(Web3.HTTPProvider(f"{localnet.gateway_url}/rpc/eth", request_kwargs={"headers": headers}))


def ask(client: openai.OpenAI, words: str) -> str:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": words}], temperature=0, max_tokens=32
    )
    assert answer.usage
    assert 0 < answer.usage.completion_tokens <= 32
    assert answer.usage.prompt_tokens > 5
    return answer.choices[0].message.content or ""


def test_the_model_itself_answers(client: openai.OpenAI) -> None:
    first = ask(client, "Why is the sky blue?")
    assert len(first.split()) > 5
    assert ask(client, "Why is the sky blue?") == first
    assert ask(client, "Name three rivers.") != first


def test_a_streamed_answer_arrives_over_time_and_is_the_same_answer(client: openai.OpenAI) -> None:
    started = time.monotonic()
    arrivals: list[float] = []
    words: list[str] = []
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Tell me about the sea."}],
        temperature=0,
        max_tokens=96,
        stream=True,
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            arrivals.append(time.monotonic() - started)
            words.append(chunk.choices[0].delta.content)
    assert len(arrivals) > 20
    # Chunks that had been collected first and sent together would all arrive at the end.
    assert arrivals[0] < arrivals[-1] * 0.7
    assert len({round(at, 2) for at in arrivals}) > 5
    whole = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Tell me about the sea."}], temperature=0, max_tokens=96
    )
    assert "".join(words) == whole.choices[0].message.content


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]


def test_a_wrong_key_is_refused_in_the_shape_that_the_client_knows(localnet: Localnet) -> None:
    stranger = openai.OpenAI(base_url=f"{localnet.gateway_url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_refused_in_the_shape_that_the_client_knows(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="none", messages=[{"role": "user", "content": "?"}])
    assert caught.value.code == "model_not_found"


def test_a_single_call_tells_what_the_node_tells(chain: Web3, localnet: Localnet) -> None:
    direct = Web3(Web3.HTTPProvider(localnet.chain_url))
    assert chain.eth.chain_id == direct.eth.chain_id
    before = direct.eth.block_number
    assert before <= chain.eth.block_number <= direct.eth.block_number


def test_a_batch_is_answered_item_by_item(chain: Web3) -> None:
    with chain.batch_requests() as batch:
        batch.add(chain.eth.get_block("latest"))
        batch.add(chain.eth.get_balance(Account.from_key(DEVELOPER).address))
        batch.add(chain.eth.gas_price)
        block, balance, price = cast(tuple[Any, Any, Any], batch.execute())
    assert block["number"] > 0
    assert balance > 0
    assert price > 0


def test_a_batch_keeps_its_order_and_its_errors_apart(localnet: Localnet) -> None:
    calls: Any = [
        {"jsonrpc": "2.0", "id": "a", "method": "eth_chainId", "params": []},
        {"jsonrpc": "2.0", "id": 7, "method": "eth_noSuchMethod", "params": []},
        {"jsonrpc": "2.0", "id": "c", "method": "eth_blockNumber", "params": []},
    ]
    headers = {"Authorization": f"Bearer {localnet.api_key}"}
    answers = requests.post(f"{localnet.gateway_url}/rpc/eth", json=calls, headers=headers, timeout=30).json()
    assert [answer["id"] for answer in answers] == ["a", 7, "c"]
    assert ["error" in answer for answer in answers] == [False, True, False]


def test_a_transaction_is_sent_and_its_receipt_read(chain: Web3, localnet: Localnet) -> None:
    account = Account.from_key(DEVELOPER)
    payee = Account.create().address
    transaction: TxParams = {
        "to": payee,
        "value": Web3.to_wei(1, "gwei"),
        "nonce": chain.eth.get_transaction_count(account.address),
        "gas": 21_000,
        "maxFeePerGas": Web3.to_wei(20, "gwei"),
        "maxPriorityFeePerGas": Web3.to_wei(1, "gwei"),
        "chainId": chain.eth.chain_id,
    }
    digest = chain.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    receipt = chain.eth.wait_for_transaction_receipt(digest, timeout=15)
    assert receipt["status"] == 1
    assert receipt["to"] == payee
    direct = Web3(Web3.HTTPProvider(localnet.chain_url))
    assert direct.eth.get_balance(payee) == Web3.to_wei(1, "gwei")
