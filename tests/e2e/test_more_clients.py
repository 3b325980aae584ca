"""The rest of what unmodified clients do: sockets, embeddings, many at once, curl, and what only passes through."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import openai
import pytest
import requests
import yaml
from web3 import AsyncWeb3, WebSocketProvider

from pocketnode.localnet import plan
from pocketnode.localnet.plan import LLM, SUPPLIERS
from pocketnode.localnet.state import Layout
from tests.e2e.network import Localnet, json_of, pocketnode

pytestmark = pytest.mark.e2e

MODEL: Final = "smollm2-135m"
ASK: Final[dict[str, Any]] = {"model": MODEL, "temperature": 0, "max_tokens": 12}
TOOL: Final[Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CITY: Final[Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}


def says(words: str) -> list[Any]:
    return [{"role": "user", "content": words}]


@pytest.fixture
def client(localnet: Localnet) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{localnet.gateway_url}/v1", api_key=localnet.api_key, max_retries=0, timeout=60)


@pytest.fixture
def direct(localnet: Localnet) -> openai.OpenAI:
    """The model's own server, without anything between."""
    network = plan.read(Layout(localnet.folder))
    assert network is not None
    return openai.OpenAI(base_url=f"{network.url(LLM)}/v1", api_key="none", max_retries=0, timeout=60)


async def test_many_at_once_get_their_own_answers(localnet: Localnet) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{localnet.gateway_url}/v1", api_key=localnet.api_key, timeout=60
    ) as client:

        async def ask(number: int, stream: bool) -> str:
            words: dict[str, Any] = {**ASK, "messages": says(f"Count from {number} to {number + 5}.")}
            if not stream:
                return (await client.chat.completions.create(**words)).choices[0].message.content or ""
            chunks = await client.chat.completions.create(**words, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])

        whole = await asyncio.gather(*(ask(n, stream=False) for n in (1, 40)))
        streamed = await asyncio.gather(*(ask(n, stream=True) for n in (1, 40)))
    assert whole == streamed
    assert len(set(whole)) == 2


def test_embeddings_are_those_of_the_model(client: openai.OpenAI, direct: openai.OpenAI) -> None:
    texts = ["the sea", "a ship on the sea", "tax law"]
    found = client.embeddings.create(model=MODEL, input=texts)
    expected = direct.embeddings.create(model=MODEL, input=texts)
    assert len(found.data[0].embedding) == 576
    for one, other in zip(found.data, expected.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-3)
    assert found.usage.prompt_tokens == expected.usage.prompt_tokens


@pytest.mark.parametrize(
    "asked",
    [
        {"logprobs": True, "top_logprobs": 2, "max_tokens": 3},
        {"seed": 7, "temperature": 1.0},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "c", "strict": True, "schema": CITY}}},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"n": 2, "stop": ["."], "extra_body": {"top_k": 3, "a_field_of_tomorrow": {"x": [1.0]}}},
    ],
    ids=["logprobs", "seed", "response_format", "tools", "unknown fields"],
)
def test_what_the_engine_is_asked_it_answers(
    client: openai.OpenAI, direct: openai.OpenAI, asked: dict[str, Any]
) -> None:
    words: dict[str, Any] = {**ASK, "messages": says("Which city has the Louvre?"), "max_tokens": 40, **asked}
    found, expected = (one.chat.completions.create(**words).model_dump() for one in (client, direct))
    assert [c["message"] for c in found["choices"]] == [c["message"] for c in expected["choices"]]
    assert [c["finish_reason"] for c in found["choices"]] == [c["finish_reason"] for c in expected["choices"]]
    if "logprobs" in asked:
        assert [len(t["top_logprobs"]) for t in found["choices"][0]["logprobs"]["content"]] == [2, 2, 2]
    if "response_format" in asked:
        assert set(json.loads(found["choices"][0]["message"]["content"])) == {"city"}


def test_usage_comes_with_a_stream_only_where_it_is_asked_for(client: openai.OpenAI) -> None:
    words: dict[str, Any] = {**ASK, "messages": says("Hi"), "stream": True}
    assert all(chunk.choices for chunk in client.chat.completions.create(**words))
    last = list(client.chat.completions.create(**words, stream_options={"include_usage": True}))[-1]
    assert last.usage
    assert last.usage.prompt_tokens == 31


def test_completions_and_one_model(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="Once upon a", max_tokens=5, temperature=0)
    assert answer.choices[0].text
    model = client.models.retrieve(MODEL).model_dump()
    assert model["context_length"] > 0
    assert model["price_per_million_units"]["least"] > 0
    assert model["engine"]


async def test_web3_reads_and_subscribes_over_a_socket(localnet: Localnet) -> None:
    address = f"{localnet.gateway_url.replace('http', 'ws', 1)}/rpc/eth/{localnet.api_key}"
    async with AsyncWeb3(WebSocketProvider(address)) as chain:
        assert await chain.eth.chain_id == 31337
        await chain.eth.subscribe("newHeads")
        heads: list[int] = []
        async with asyncio.timeout(30):
            async for message in chain.socket.process_subscriptions():
                heads.append(message["result"]["number"])
                if len(heads) == 4:
                    break
        assert heads == list(range(heads[0], heads[0] + 4))
        assert await chain.eth.get_balance("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266") > 0


def test_curl_gets_answers_streams_and_proofs(localnet: Localnet, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    url, key = localnet.gateway_url, f"Authorization: Bearer {localnet.api_key}"

    def curl(*words: str) -> str:
        return subprocess.run(["curl", "-sS", *words], capture_output=True, text=True, check=True, timeout=60).stdout

    chat = json.dumps({**ASK, "messages": says("Hi"), "stream": True})
    events = curl("-N", f"{url}/v1/chat/completions", "-H", key, "-H", "Content-Type: application/json", "-d", chat)
    assert events.rstrip().endswith("data: [DONE]")
    # A head that was seen pins the next read to it: its proof holds for the request as the user wrote it all the same.
    for name, method, params in (
        ("head", "eth_blockNumber", []),
        ("read", "eth_getBalance", [f"0x{7:040x}", "latest"]),
    ):
        request, answer, headers = (tmp_path / f"{name}.{part}" for part in ("request", "answer", "headers"))
        request.write_text(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        sent = ("-H", key, "-H", "Content-Type: application/json", "--data-binary", f"@{request}")
        curl("-D", str(headers), "-o", str(answer), f"{url}/rpc/eth", *sent)
        assert "result" in json.loads(answer.read_text())
    assert "x-pocketnode-pinned: 1=0x" in headers.read_text()
    files = ("--request", request, "--answer", answer, "--headers", headers)
    done = pocketnode("verify", "--deployment", localnet.folder / "deployment.json", *files)
    assert done.returncode == 0, done.stderr


def test_owners_are_those_of_the_chain(localnet: Localnet) -> None:
    network = plan.read(Layout(localnet.folder))
    assert network is not None
    rows = json_of("gateway", "explain", "eth", "--json", "--config", localnet.folder / "config" / "gateway.yaml")
    owners = {row["supplier"].lower(): row["owner"].lower() for row in rows}
    addresses = {name: address.lower() for name, address in network.addresses.items()}
    assert owners == {addresses[name]: addresses[f"{name}-owner"] for name in SUPPLIERS}


def test_our_count_of_tokens_is_the_suppliers(localnet: Localnet, client: openai.OpenAI) -> None:
    turns = says("Why is the sky blue? Answer in détail, mit Umlauten: äöü, 日本語.")
    for stream in (False, True):
        answer = client.chat.completions.create(
            model=MODEL, messages=turns, max_tokens=60, temperature=1.3, stream=stream
        )
        assert list(answer)
    config = yaml.safe_load((localnet.folder / "config" / "gateway.yaml").read_text())
    token = Path(config["admin"]["token_file"]).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    metrics = requests.get(f"http://{config['admin']['listen']}/metrics", headers=headers, timeout=30).text
    lines = [line for line in metrics.splitlines() if line.startswith("pocketnode_gateway_recounts_total")]
    assert [line for line in lines if 'result="agrees"' in line]
    assert not [line for line in lines if 'result="disagrees"' in line], metrics


def test_who_leaves_a_stream_stops_the_model(localnet: Localnet, direct: openai.OpenAI) -> None:
    body: Any = {"model": MODEL, "messages": says("Write a long story."), "max_tokens": 1500, "stream": True}
    headers = {"Authorization": f"Bearer {localnet.api_key}"}
    with requests.post(
        f"{localnet.gateway_url}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=60
    ) as answer:
        assert next(answer.iter_content(64))
    slots = str(direct.base_url).removesuffix("/v1/") + "/slots"
    deadline_s = time.monotonic() + 5
    while any(slot["is_processing"] for slot in requests.get(slots, timeout=10).json()):
        assert time.monotonic() < deadline_s, "the model goes on for nobody"
        time.sleep(0.05)
