"""What a user saved can be checked later: streams with our comments, items of batches, other models' answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pocketnode.chain import deployment as deployments
from pocketnode.chain.deployment import Contracts, Deployment, Windows
from pocketnode.cli.main import main
from pocketnode.errors import BadInput
from pocketnode.gateway.llm_stream import keep_alive
from pocketnode.gateway.saved import batch_item, signed_events
from pocketnode.gateway.sse import KEEP_ALIVE
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start
from tests.gateway.market import DOMAIN, chat, node, reply_json

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}


async def save(gateway: Running, folder: Path, path: str, body: bytes) -> bytes:
    """Ask as curl would, and save what comes as it does."""
    headers = {**gateway.headers, "x-pocketnode-verify": "1", "Content-Type": "application/json"}
    async with gateway.http.post(gateway.url + path, data=body, headers=headers) as answer:
        said = await answer.read()
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{n}: {v}" for n, v in answer.headers.items())]
    (folder / "request").write_bytes(body)
    (folder / "answer").write_bytes(said)
    (folder / "headers").write_text("\r\n".join(lines))
    windows = Windows(anchor=1, length=20, grace=2, statement=5, claim=10, thaw=60)
    places = dict.fromkeys(Contracts.model_fields, b"\x22" * 20) | {"settlement": DOMAIN.contract}
    contracts = Contracts.model_validate(places)
    deployed = Deployment(chain_id=DOMAIN.chain_id, block=1, windows=windows, contracts=contracts)
    deployments.write(folder / "deployment.json", deployed)
    return said


def verified(folder: Path, *words: str) -> Result:
    arguments = ["verify", "--json", "--deployment", str(folder / "deployment.json")]
    for name in ("request", "answer", "headers"):
        arguments += [f"--{name}", str(folder / name)]
    return CliRunner().invoke(main, [*arguments, *words])


async def test_a_saved_stream_is_checked_with_the_comments_in_it(start: Start, tmp_path: Path) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = chat(["Hello", " you", " there"])
    said = await save(gateway, tmp_path, CHAT, json.dumps({**ASK, "stream": True}).encode())
    said = KEEP_ALIVE + said.replace(b"\n\ndata", b"\n\n" + KEEP_ALIVE + b"data")
    (tmp_path / "answer").write_bytes(said)
    sound = verified(tmp_path, "--path", CHAT)
    assert sound.exit_code == 0, sound.output
    assert json.loads(sound.stdout)["relay"] == "0x" + gateway.records()[0].receipt.hex()
    (tmp_path / "answer").write_bytes(said.replace(b" you", b" me!"))
    assert verified(tmp_path, "--path", CHAT).exit_code == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_another_model_says_which(start: Start, tmp_path: Path, stream: bool) -> None:
    gateway = await start(suppliers=1, aliases={"gpt-4o": "smollm2-135m"})
    body = json.dumps({**ASK, "model": "gpt-4o", "stream": stream}).encode()
    await save(gateway, tmp_path, CHAT, body)
    assert "x-pocketnode-model: smollm2-135m" in (tmp_path / "headers").read_text()
    sound = verified(tmp_path, "--path", CHAT)
    assert sound.exit_code == 0, sound.output


async def test_each_item_of_a_batch_is_checked_alone(start: Start, tmp_path: Path) -> None:
    gateway = await start()

    async def with_a_line_end(relay: Relay) -> Served:
        asked = json.loads(relay.body)
        if asked["method"] == "eth_getCode":
            return await node(relay)
        await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": ["a,]", {}]}, 10)
        await relay.write(b"\n")
        return Served(10, b"\0" * 32)

    for supplier in gateway.suppliers:
        supplier.answers["eth"] = with_a_line_end
    batch = (
        b'[ {"jsonrpc":"2.0","method":"eth_getCode","params":["0x7","0x1"]},'
        b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"0x1"},"0x1"]} ,'
        b' {"id":2,"method":"no_such"},{"jsonrpc":"2.0", "id": 3,"method":"eth_getCode","params":["0x9","0x1"]}]'
    )
    said = await save(gateway, tmp_path, "/rpc/eth", batch)
    assert [one["id"] for one in json.loads(said)] == [1, 2, 3]
    relays = {record.receipt.hex() for record in gateway.records()}
    for item in ("1", "3"):
        sound = verified(tmp_path, "--item", item)
        assert sound.exit_code == 0, sound.output
        assert json.loads(sound.stdout)["relay"].removeprefix("0x") in relays
    for item, why in (("0", "no answer"), ("2", "x-pocketnode-proof"), ("9", "no item 9")):
        refused = verified(tmp_path, "--item", item)
        assert refused.exit_code != 0
        assert why in refused.stderr
    (tmp_path / "answer").write_bytes(said.replace(b"0x9", b"0x8"))
    assert verified(tmp_path, "--item", "3").exit_code == 3
    assert verified(tmp_path, "--item", "1").exit_code == 0


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"{", b"[]"),
        (b'{"id":1,"method":"x"}', b"{}"),
        (b'[{"id":1,"method":"x"}]', b"["),
        (b'[{"id":1,"method":"x"}]', b"\xff"),
    ],
)
def test_what_is_no_batch_is_said_so(request_: bytes, answer: bytes) -> None:
    with pytest.raises(BadInput):
        batch_item(request_, answer, 0)


async def test_comments_keep_a_connection_alive_until_its_user_leaves() -> None:
    written: list[bytes] = []

    async def write(data: bytes) -> None:
        written.append(data)
        if len(written) == 3:
            raise ConnectionResetError

    async with asyncio.timeout(2):
        await keep_alive(write, 0.01)
    assert written == [KEEP_ALIVE] * 3
    assert all(line.startswith(b":") or not line for line in KEEP_ALIVE.splitlines())


def test_an_engines_own_comments_are_signed() -> None:
    stream = b": keep-alive\n\ndata: {}\n\n: x-pocketnode-proof abc\n\n"
    assert signed_events(stream) == (b": keep-alive\n\ndata: {}\n\n", "abc")
