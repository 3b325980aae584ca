"""A setting comes from the file, over it from the environment, over that from a flag; each daemon's commands agree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketnode.cli.main import main


def example(kind: str, folder: Path) -> str:
    file = folder / f"{kind}.yaml"
    file.write_text(CliRunner().invoke(main, ["config", "example", kind]).output)
    return str(file)


def run(*words: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == exit_code, result.output
    return result.output


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("gateway", "keys", "list", "--config", example("gateway", tmp_path))
    run(*words)
    assert {path.name for path in tmp_path.glob("*.db")} == {"gateway.db"}
    monkeypatch.setenv("POCKETNODE_GATEWAY__STORE", "sqlite:///environment.db")
    run(*words)
    assert (tmp_path / "environment.db").exists()
    run(*words, "--set", "store=sqlite:///flag.db")
    assert (tmp_path / "flag.db").exists()


def test_a_suppliers_flag_reaches_into_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETNODE_SUPPLIER__TLS__CERTIFICATE", "environment.crt")
    flags = ("--set", "tls.certificate=flag.crt", "--set", "tls.key=flag.key", "--set", "endpoint=example.org:9443")
    run("supplier", "certificate", "--config", example("supplier", tmp_path), *flags)
    assert {path.name for path in tmp_path.iterdir()} == {"supplier.yaml", "flag.crt", "flag.key"}


def test_a_flag_for_a_whole_list_beats_the_environments_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETNODE_GATEWAY__RPC__0", "http://environment")
    words = ("gateway", "keys", "list", "--config", example("gateway", tmp_path))
    assert "rpc" in run(*words, "--set", "rpc=[]", exit_code=2)


@pytest.mark.parametrize("flag", ["log", "=x", "log..level=x"])
def test_what_is_no_setting_is_refused(flag: str, tmp_path: Path) -> None:
    said = run("gateway", "keys", "list", "--config", example("gateway", tmp_path), "--set", flag, exit_code=2)
    assert "KEY=VALUE" in said


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    words = ("gateway", "keys", "list", "--config", example("gateway", tmp_path))
    assert "limits.concurency" in run(*words, "--set", "limits.concurency=3", exit_code=2)


def test_flags_end_with_their_command(tmp_path: Path) -> None:
    before = dict(os.environ)
    run("gateway", "keys", "list", "--config", example("gateway", tmp_path), "--set", "log.level=debug")
    assert dict(os.environ) == before


def test_one_field_is_printed_bare(tmp_path: Path) -> None:
    words = ("gateway", "keys", "create", "--config", example("gateway", tmp_path))
    assert run(*words, "--name", "shop", "--field", "name") == "shop\n"
    assert "there are" in run(*words, "--field", "nothing", exit_code=6)
