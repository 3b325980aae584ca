"""File, then environment: what the environment says wins, and what it says wrongly is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketnode.cli.main import main
from pocketnode.errors import ConfigError
from pocketnode.gateway import config as gateway
from pocketnode.overlay import overlaid
from pocketnode.supplier import config as supplier


def written(kind: str, folder: Path) -> Path:
    file = folder / f"{kind}.yaml"
    file.write_text(CliRunner().invoke(main, ["config", "example", kind]).output)
    return file


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETNODE_GATEWAY__ADMIN__LISTEN", "0.0.0.0:4000")
    monkeypatch.setenv("POCKETNODE_GATEWAY__RPC", "[http://one, http://two]")
    monkeypatch.setenv("POCKETNODE_SUPPLIER__SERVICES__0__PRICE", "7")
    found = gateway.load(written("gateway", tmp_path))
    assert found.admin.listen == "0.0.0.0:4000"
    assert found.rpc == ["http://one", "http://two"]
    assert supplier.load(written("supplier", tmp_path)).services[0].price == 7


def test_a_key_that_does_not_exist_is_an_error_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETNODE_GATEWAY__LISEN", "x")
    with pytest.raises(ConfigError, match="lisen"):
        gateway.load(written("gateway", tmp_path))


@pytest.mark.parametrize("name", ["P__RPC__9", "P__RPC__X", "P__LISTEN__PORT"])
def test_a_path_that_leads_nowhere_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        overlaid({"rpc": ["a"], "listen": "b"}, "P", {name: "1"})


def test_a_file_is_not_changed_in_memory() -> None:
    raw = {"limits": {"lanes": 1}}
    overlaid(raw, "P", {"P__LIMITS__LANES": "2"})
    assert raw == {"limits": {"lanes": 1}}
