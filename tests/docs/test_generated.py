"""The references are what the schemas and commands say now, and an example file passes its own check."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pocketnode.cli.config import KINDS
from pocketnode.cli.fields import rows
from pocketnode.cli.main import main
from tools.generate_docs import PAGES, ROOT


@pytest.mark.parametrize("page", PAGES)
def test_references_are_current(page: str) -> None:
    kept = (ROOT / "docs" / page).read_text()
    assert kept == PAGES[page](), "run: .venv/bin/python -m tools.generate_docs"


@pytest.mark.parametrize("kind", ["gateway", "supplier"])
def test_an_example_passes_its_own_check(kind: str, tmp_path: Path) -> None:
    made = CliRunner().invoke(main, ["config", "example", kind])
    assert made.exit_code == 0
    file = tmp_path / f"{kind}.yaml"
    file.write_text(made.output)
    checked = CliRunner().invoke(main, ["config", "check", kind, str(file)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("kind", ["gateway", "supplier"])
def test_an_example_gives_every_key_its_default(kind: str) -> None:
    made = yaml.safe_load(CliRunner().invoke(main, ["config", "example", kind]).output)
    for row in rows(KINDS[kind][0]):
        if "." not in row.path and "[" not in row.path and row.default not in ("", "none"):
            assert row.path in made, row.path


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CliRunner().invoke(main, ["config", "example", "gateway"]).output + "\nlisen: x\n")
    checked = CliRunner().invoke(main, ["config", "check", "gateway", str(file)])
    assert checked.exit_code == 2
    assert "lisen" in checked.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str) -> None:
    made = CliRunner().invoke(main, ["completion", shell])
    assert made.exit_code == 0
    assert "_POCKETNODE_COMPLETE" in made.output
