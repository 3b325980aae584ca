"""Seeds and cases that once went wrong, each tried again; and, in the audit, a look for more from there on."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.fuzz.exploring import explore, run
from tests.fuzz.targets import TARGETS, cases

MEMORY_MOST_MIB = 64
SECONDS_MOST = 5.0
EXPLORE_S = float(os.environ.get("EXPLORE_S", "15"))


@pytest.mark.parametrize(
    ("name", "case"), [pytest.param(name, case, id=f"{name}-{case.name}") for name in TARGETS for case in cases(name)]
)
def test_a_case_is_read_or_refused(name: str, case: Path) -> None:
    begun_s = time.monotonic()
    run(name, case.read_bytes())
    assert time.monotonic() - begun_s < SECONDS_MOST
    tracemalloc.start()
    try:
        run(name, case.read_bytes())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MEMORY_MOST_MIB * 2**20


@pytest.mark.audit
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_from_there_on(name: str) -> None:
    found: list[tuple[str, bytes]] = []
    tried, lines = explore(name, EXPLORE_S, 1, lambda raw, why: found.append((why, raw)))
    assert found == []
    assert tried > 20
    assert lines >= 10
