"""Whole local networks, each brought up once for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.network import Localnet, described, running


@pytest.fixture(scope="session")
def localnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Localnet]:
    folder = tmp_path_factory.mktemp("e2e") / "localnet"
    with running(folder):
        yield described(folder)


@pytest.fixture(scope="session")
def withholding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Localnet]:
    """A network whose gateway never posts a statement."""
    folder = tmp_path_factory.mktemp("e2e") / "withholding"
    with running(folder, "--withhold-statements", "--degrade", "none"):
        yield described(folder)
