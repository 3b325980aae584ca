"""The short form of `make soak`, two minutes with the reckoning, always with the same faults."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.soak import soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "1.25"))


@pytest.mark.e2e
async def test_a_market_outlives_two_minutes_of_faults(tmp_path: Path) -> None:
    said: list[str] = []
    assert await soak(tmp_path, minutes=MINUTES, seed=7, rate=8, say=said.append) == [], "\n".join(said)
