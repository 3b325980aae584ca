"""Results become prose; what is missing is left out, and a missed target is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import report, results, settlement, targets, tools
from pocketnode.errors import Unavailable


def merged(value: float) -> dict[str, float]:
    return {"median": value, "min": value, "max": value}


def relay_run(cpu_us: float, rate: float) -> dict[str, Any]:
    process = {"cpu_us_each": merged(cpu_us), "cores": merged(0.5), "rss_mib": merged(90.0)}
    return {"rate": merged(rate), "processes": {"gateway": process, "supplier": process}}


def relay_data(cpu_us: float, rate: float) -> dict[str, Any]:
    added = {name: merged(1.0) for name in ("p50", "p99", "p999")}
    latency = {"pocketnode": {"500/s": {"asked_rate": merged(500.0), "added_ms": added}}}
    return {"width": "64", "capacity": {"pocketnode": {"64": relay_run(cpu_us, rate)}}, "latency": latency}


def test_a_missed_target_is_said(tmp_path: Path) -> None:
    results.write(tmp_path, "relay", relay_data(cpu_us=300.0, rate=4000.0))
    report.write(tmp_path, tmp_path / "performance.md", pictures=False)
    text = (tmp_path / "performance.md").read_text()
    assert "| CPU a JSON-RPC relay, gateway | ≤ 220 us | 300 us | **no** |" in text
    assert "| JSON-RPC relays, 64 connections | ≥ 3,500 /s | 4,000 /s | yes |" in text


def test_nothing_is_reported_without_results(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        report.write(tmp_path, tmp_path / "performance.md", pictures=False)


def test_targets_come_only_from_what_was_measured() -> None:
    assert targets.rows({}) == []


def test_gas_at_size_is_statements_and_withdrawals() -> None:
    paths = {"statement of 24": 200_000, "withdraw of 1 session": 60_000, "withdraw of 24 sessions": 240_000}
    size = settlement.calculated(paths)
    assert size["withdrawal_gas_a_session"] == 10_000
    assert size["gas_a_day"] == 4_800 * 200_000 + 4_800 * 24 * 10_000


def test_the_documented_performance_is_that_of_the_results(tmp_path: Path) -> None:
    written = tmp_path / "performance.md"
    if not list(results.FOLDER.glob("*.json")):
        pytest.skip("nothing was measured yet")
    report.write(results.FOLDER, written, pictures=False)
    documented = (tools.ROOT / "docs" / "performance.md").read_text()
    without_pictures = "\n\n".join(part for part in documented.split("\n\n") if not part.startswith("!["))
    assert written.read_text() == without_pictures
