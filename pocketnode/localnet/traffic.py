"""Steady mixed load, as users would make it: chat, streamed chat and Ethereum calls, through the gateway's own API."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

AT_ONCE_MOST: Final = 256
MODEL: Final = "smollm2-135m"
QUESTIONS: Final = (
    "Why is the sky blue?",
    "Name three rivers.",
    "Write one sentence about rain.",
    "What is a blockchain?",
    "How do I boil an egg?",
)
METHODS: Final[tuple[tuple[str, list[Any]], ...]] = (
    ("eth_blockNumber", []),
    ("eth_chainId", []),
    ("eth_gasPrice", []),
    ("eth_getBlockByNumber", ["latest", False]),
    ("eth_getBalance", ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "latest"]),
)


@dataclass(slots=True)
class Tally:
    """What came of the load so far. `failures` counts by the words of the failure."""

    sent: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0

    @property
    def mean_ms(self) -> float:
        return 1000 * self.waited_s / max(1, sum(self.done.values()))


class Load:
    """Sends `rate_per_s` requests a second, answered or not, while fewer than `AT_ONCE_MOST` wait for their answer.

    Parameters
    ----------
    chats : share of requests that ask the LLM, half of them streamed; the others are Ethereum calls.
    """

    def __init__(self, url: str, key: str, rate_per_s: float, chats: float = 0.1, seed: int = 0) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._interval_s = 1 / rate_per_s
        self._weights = [1 - chats, chats / 2, chats / 2]
        self._random = random.Random(seed)
        self._room = asyncio.Semaphore(AT_ONCE_MOST)
        self._ids = itertools.count(1)
        self.tally = Tally()

    async def run(self, seconds: float | None = None) -> None:
        """Send until `seconds` have passed, or for ever; then wait for the answers still to come."""
        started = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=120)
        async with (
            aiohttp.ClientSession(headers=self._headers, timeout=timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            for number in itertools.count():
                wait_s = started + number * self._interval_s - time.monotonic()
                await asyncio.sleep(max(0.0, wait_s))
                if seconds is not None and time.monotonic() - started >= seconds:
                    return
                await self._room.acquire()
                group.create_task(self._one(http))

    async def _one(self, http: aiohttp.ClientSession) -> None:
        kind, send = self._random.choices(self._kinds(), weights=self._weights)[0]
        self.tally.sent += 1
        started = time.monotonic()
        try:
            failure = await send(http)
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = f"{type(error).__name__}: {error}"
        finally:
            self._room.release()
        if failure:
            self.tally.failures[f"{kind}: {failure[:120]}"] += 1
            return
        self.tally.done[kind] += 1
        self.tally.waited_s += time.monotonic() - started

    def _kinds(self) -> list[tuple[str, Callable[[aiohttp.ClientSession], Awaitable[str]]]]:
        return [("eth", self._ethereum), ("chat", self._chat), ("stream", self._streamed_chat)]

    async def _ethereum(self, http: aiohttp.ClientSession) -> str:
        method, params = self._random.choice(METHODS)
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        async with http.post(f"{self._url}/rpc/eth", json=body) as answer:
            if answer.status != 200:
                return f"{answer.status} {await answer.text()}"
            return str((await answer.json()).get("error", ""))

    async def _chat(self, http: aiohttp.ClientSession) -> str:
        async with http.post(f"{self._url}/v1/chat/completions", json=self._question(stream=False)) as answer:
            text = await answer.text()
            return "" if answer.status == 200 else f"{answer.status} {text}"

    async def _streamed_chat(self, http: aiohttp.ClientSession) -> str:
        async with http.post(f"{self._url}/v1/chat/completions", json=self._question(stream=True)) as answer:
            if answer.status != 200:
                return f"{answer.status} {await answer.text()}"
            lines = [line async for line in answer.content]
            return "" if any(b"[DONE]" in line for line in lines) else "the stream ended early"

    def _question(self, stream: bool) -> dict[str, Any]:
        words = self._random.choice(QUESTIONS)
        return {
            "model": MODEL,
            "messages": [{"role": "user", "content": words}],
            "max_tokens": self._random.randint(12, 40),
            "stream": stream,
        }
