"""The LLM of a local network is a real one, and says the same twice at temperature 0."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pocketnode.localnet import parts
from pocketnode.localnet.children import Child, Children

pytestmark = pytest.mark.e2e


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    log = tmp_path / "llama.log"
    found: list[str] = []

    async def ready() -> bool:
        found.extend(re.findall(r"^listening (\S+)$", log.read_text() if log.exists() else "", re.MULTILINE))
        return bool(found)

    argv = [sys.executable, "-m", "pocketnode.localnet.llama", "--model", str(parts.weights()), "--alias", "smollm2"]
    children = Children()
    try:
        await children.start(Child("llama", argv, log, ready), timeout_s=30)
        yield found[0]
    finally:
        await children.stop()


async def ask(url: str, words: str, **more: object) -> str:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": words}], "temperature": 0, **more}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=body) as answer:
        return str((await answer.json())["choices"][0]["message"]["content"])


async def test_the_same_question_has_the_same_answer(server: str) -> None:
    questions = ["Name a colour.", "Name an animal."]
    first = [await ask(server, words, max_tokens=24) for words in questions]
    again = [await ask(server, words, max_tokens=24) for words in questions]
    assert first == again
    assert first[0] != first[1]
    assert all(first)


async def test_several_questions_are_answered_at_once(server: str) -> None:
    answers = await asyncio.gather(*(ask(server, f"Say {n}.", max_tokens=8) for n in range(4)))
    assert all(answers)
