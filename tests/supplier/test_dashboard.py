"""What a supplier's operator is told to act upon."""

from __future__ import annotations

from typing import Any

import pytest

from pocketnode.supplier.dashboard import alerts

UP = {"name": "a", "state": "closed", "last_error": ""}
DOWN = {"name": "b", "state": "open", "last_error": "refused"}
CALM: dict[str, Any] = {
    "missing": [],
    "store_failures": 0,
    "services": [
        {"id": "eth", "waiting": 0, "backends": [UP, UP]},
    ],
    "gas_wei": 10**18,
    "registrations": [{"service": "eth", "listed": True}],
    "money": {"missed": 0},
    "gateways": [{"gateway": "0x" + "ab" * 20, "multiplier": 1.01}, {"gateway": "0x" + "cd" * 20, "multiplier": None}],
}


def test_nothing_is_said_where_all_is_well() -> None:
    assert list(alerts(CALM)) == []


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"missing": ["draining"]}, "bad", "draining"),
        ({"store_failures": 2}, "bad", "disk"),
        ({"services": [{"id": "eth", "waiting": 0, "backends": [DOWN]}]}, "bad", "refused"),
        (
            {"services": [{"id": "eth", "waiting": 0, "backends": [DOWN, *CALM["services"][0]["backends"]]}]},
            "warn",
            "b",
        ),
        ({"services": [{**CALM["services"][0], "waiting": 3}]}, "warn", "3 requests"),
        ({"gas_wei": 10**15}, "bad", "gas"),
        ({"registrations": []}, "bad", "not registered"),
        ({"registrations": [{"service": "eth", "listed": False}]}, "bad", "not listed"),
        ({"money": {"missed": 7}}, "warn", "7 base units"),
        ({"gateways": [{"gateway": "0x" + "ab" * 20, "multiplier": 0.91}]}, "warn", "0.910"),
        (
            {"disagreements": [{"gateway": "0x" + "cd" * 20, "session": 9, "service": "eth", "note": "quality: 0.5"}]},
            "bad",
            "stated session 9 of eth otherwise than its records say: quality: 0.5",
        ),
    ],
)
def test_each_trouble_is_told_once(change: dict[str, Any], level: str, words: str) -> None:
    ((found, said),) = alerts({**CALM, **change})
    assert found == level
    assert words in said


def test_a_supplier_without_settlement_is_not_told_of_money() -> None:
    bare = {name: CALM[name] for name in ("missing", "store_failures", "services")}
    assert list(alerts(bare)) == []
