"""The contracts' own tests, run by forge; and what Python keeps of the contracts is what they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.vectors import generate

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "contracts"))

import audit
import build
import cover
import forge

pytestmark = pytest.mark.forge

PAY_FILES = 20
PAY_CASES_EACH = 600


def write_pay_cases() -> None:
    folder = forge.CONTRACTS / "cache" / "pay"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(PAY_FILES):
        (folder / f"{i}.bin").write_bytes(generate.pay_cases(PAY_CASES_EACH, seed=i))


def test_vectors_are_current() -> None:
    assert generate.PATH.read_text() == generate.text(), "run `python -m tests.vectors.generate`"


def test_artifacts_are_those_of_the_contracts() -> None:
    for name, artifact in build.compiled(forge.CONTRACTS / "out").items():
        kept = (build.ARTIFACTS / f"{name}.json").read_text()
        assert kept == build.text(artifact), f"{name} changed: run `python contracts/build.py`"


def test_the_contracts_keep_their_promises() -> None:
    write_pay_cases()
    print(forge.run("test", "--no-match-contract", "Gas", env=os.environ | {"PAY_CASES": "1"}))


def test_gas_is_what_it_was() -> None:
    """Whole transactions, with calldata: contracts/snapshots changes only on purpose."""
    before = {path: path.read_text() for path in sorted((forge.CONTRACTS / "snapshots").iterdir())}
    forge.run("test", "--isolate", "--match-contract", "Gas")
    after = {path: path.read_text() for path in before}
    assert after == before


@pytest.mark.audit
def test_the_contracts_keep_their_promises_for_longer() -> None:
    write_pay_cases()
    forge.run("test", "--no-match-contract", "Gas", env=os.environ | {"PAY_CASES": "1", "FOUNDRY_PROFILE": "audit"})


@pytest.mark.audit
def test_lines_and_branches_are_covered() -> None:
    write_pay_cases()
    assert cover.main() == 0


@pytest.mark.audit
def test_slither_finds_nothing() -> None:
    assert audit.main() == 0
