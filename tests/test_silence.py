"""One timer watches many waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from pocketnode.silence import Silence


async def waits(seconds: list[float], most_s: float, end_s: float = float("inf"), pause_s: float = 0.0) -> int:
    """Wait so long, one after the other; return how many waits were let be."""
    done = 0
    try:
        async with asyncio.timeout(None) as deadline:
            silence = Silence(deadline, most_s, end_s)
            try:
                for wait_s in seconds:
                    silence.begin()
                    await asyncio.sleep(wait_s)
                    silence.end()
                    await asyncio.sleep(pause_s)
                    done += 1
            finally:
                silence.close()
    except TimeoutError:
        return done
    return done


@pytest.mark.parametrize(
    ("seconds", "let_be"), [([0.01] * 20, 20), ([0.01, 0.01, 2.0], 2), ([2.0], 0), ([0.05] * 4 + [2.0], 4)]
)
async def test_only_a_wait_that_is_too_long_is_ended(seconds: list[float], let_be: int) -> None:
    begun_s = time.monotonic()
    assert await waits(seconds, most_s=0.15) == let_be
    assert time.monotonic() - begun_s < 1.9


async def test_the_time_between_waits_does_not_count() -> None:
    assert await waits([0.01] * 3, most_s=0.1, pause_s=0.2) == 3


async def test_all_ends_at_the_end() -> None:
    now_s = asyncio.get_running_loop().time()
    assert await waits([0.05] * 40, most_s=1.0, end_s=now_s + 0.2) < 10
