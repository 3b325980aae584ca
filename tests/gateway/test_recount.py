"""Tokens are counted again: what a supplier says beyond that is wrong, recorded and not paid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.recount import CALL_FORM, Most, Told, most_of, texts_of, texts_of_stream
from pocketnode.localnet.parts import weights
from pocketnode.protocol.payload import decode_request
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.types import ZERO32
from pocketnode.services.gguf import write_tokenizer
from pocketnode.services.tokenizing import ModelTokenizer
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Start
from tests.gateway.market import EVENTS, Answer, chat, event, reply_json

MODEL = "smollm2-135m"
CHAT = "/v1/chat/completions"
WORDS = ["The", "sea", "is", "large", "and", "blue", "."] * 12
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Tell me of the sea."}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(weights(), folder)
    return folder


def says(words: Sequence[str], prompt: int, output: int) -> Answer:
    """Answer with these words, and with a count of one's own."""

    async def answer(relay: Relay) -> Served:
        usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        text, units = " ".join(words), prompt + 4 * output
        assert decode_request(relay.head).path == CHAT
        if not orjson.loads(relay.body).get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return await reply_json(relay, {"choices": [choice], "usage": usage}, units)
        await relay.start(EVENTS)
        for at in range(0, len(text), 7):
            await relay.write(event({"choices": [{"index": 0, "delta": {"content": text[at : at + 7]}}]}))
        await relay.produced(min(units, relay.hold))
        await relay.write(event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return Served(units, ZERO32)

    return answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("prompt", "output"), [(34, 180), (80, 80)])
async def test_a_count_beyond_our_own_is_wrong(
    start: Start, folder: Path, stream: bool, prompt: int, output: int
) -> None:
    gateway = await start(suppliers=2, tokenizers={MODEL: str(folder)})
    gateway.suppliers[0].answers["smollm2"] = says(WORDS, prompt, output)
    gateway.suppliers[1].answers["smollm2"] = says(WORDS, 34, 85)
    for _ in range(8):
        sent = {**ASK, "stream": stream}
        async with gateway.http.post(gateway.url + CHAT, json=sent, headers=gateway.headers) as answer:
            assert answer.status == 200
            assert b"error" not in await answer.read()
    by_index = [[r for r in gateway.records() if r.index == index] for index in (0, 1)]
    assert {r.verdict for r in by_index[0]} == {Verdict.WRONG}
    assert all(r.units == 0 for r in by_index[0])
    assert {r.verdict for r in by_index[1]} == {Verdict.GOOD}
    _, metrics = await gateway.admin("/metrics")
    assert f'pocketnode_gateway_recounts_total{{model="{MODEL}",result="disagrees"}} {len(by_index[0])}.0' in metrics


async def test_without_a_tokenizer_bounds_hold(start: Start) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = says(WORDS, 34, 180)
    assert (await gateway.post(CHAT, ASK))[0] == 200
    gateway.suppliers[0].answers["smollm2"] = says(WORDS, 34, 100_000)
    assert (await gateway.post(CHAT, ASK))[0] == 503


async def test_a_tokenizer_that_is_missing_is_named(start: Start, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        await start(suppliers=1, tokenizers={MODEL: str(tmp_path / "nowhere")})
    with pytest.raises(Exception, match="of no service"):
        await start(suppliers=1, tokenizers={"other": str(tmp_path)})


def most(tokenizer: ModelTokenizer, path: str, texts: list[str] | None = None, **fields: Any) -> Most:
    return most_of(tokenizer, path, orjson.dumps({"model": MODEL, **fields}), texts)


def test_what_cannot_be_counted_is_not_judged(folder: Path) -> None:
    tokenizer = ModelTokenizer.load(folder)
    image = [{"type": "image_url", "image_url": {"url": "data:"}}]
    assert most(tokenizer, CHAT, messages=[{"role": "user", "content": image}]).prompt is None
    assert most(tokenizer, CHAT, None, messages=[{"role": "user", "content": "Hi"}]).output is None
    assert most(tokenizer, "/v1/completions", ["x"], prompt="x", best_of=3).output is None
    assert Most(None, None).allows(Told("0x", 10**9, 10**9))


@pytest.mark.parametrize("constraint", ["response_format", "tools", "grammar", "guided_json", "logit_bias"])
def test_constrained_words_have_at_most_a_token_for_each_byte(folder: Path, constraint: str) -> None:
    """What a grammar forces is written in other pieces than a tokenizer would choose."""
    tokenizer, hi = ModelTokenizer.load(folder), [{"role": "user", "content": "Hi"}]
    chosen: dict[str, Any] = {constraint: {"type": "json_object"}}
    text = '{"name": "Zürich"}'
    free, forced = (most(tokenizer, CHAT, [text], messages=hi, **fields).output for fields in ({}, chosen))
    assert forced == len(text.encode()) + 8
    assert (free or 0) < forced


def test_prompts_of_every_shape_are_counted(folder: Path) -> None:
    tokenizer = ModelTokenizer.load(folder)
    parts = [{"type": "text", "text": "Hi"}]
    chats = [{"role": "user", "content": "Hi"}], [{"role": "user", "content": parts}]
    assert len({most(tokenizer, CHAT, messages=messages).prompt for messages in chats}) == 1
    assert most(tokenizer, "/v1/completions", prompt=[1, 2, 3]).prompt == 11
    assert most(tokenizer, "/v1/embeddings", input=["Hi", [1, 2]]).prompt == 1 + 8 + 2 + 8
    with_tools = most(tokenizer, CHAT, messages=chats[0], tools=[{"type": "function", "function": {"name": "f"}}])
    assert (with_tools.prompt or 0) > 250
    odd = most(tokenizer, CHAT, messages=[{"role": 5, "content": None, "tool_calls": [{}]}])
    assert odd.prompt


def test_tool_calls_and_reasoning_are_output(folder: Path) -> None:
    call = {"function": {"name": "look", "arguments": '{"a": 1}'}}
    choices = [{"message": {"content": None, "reasoning_content": "so", "tool_calls": [call]}}, {"text": None}]
    assert texts_of(choices) == ['solook{"a": 1}' + CALL_FORM, ""]
    part = {"function": {"arguments": "1}"}}
    deltas = [{"choices": [{"delta": {"tool_calls": [one]}}]} for one in (call, part)]
    assert texts_of_stream(deltas) == ['look{"a": 1}' + CALL_FORM + "1}"]
    assert texts_of("no") is None
    assert Metrics().recounts == {}


async def test_a_true_count_passes_with_the_words_of_the_model(start: Start, folder: Path) -> None:
    gateway = await start(suppliers=1, tokenizers={MODEL: str(folder)})
    gateway.suppliers[0].answers["smollm2"] = chat()
    assert (await gateway.post(CHAT, ASK))[0] == 200
