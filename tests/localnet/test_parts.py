"""What a local network is made of is found, or named with its cure."""

from pathlib import Path

import pytest

from pocketnode.errors import ConfigError
from pocketnode.localnet import parts


def test_the_projects_own_chain_comes_first(tmp_path: Path) -> None:
    own = tmp_path / parts.NPM_ANVIL
    own.parent.mkdir(parents=True)
    own.touch()
    assert parts.anvil([tmp_path]) == own


def test_a_chain_on_path_will_do(tmp_path: Path) -> None:
    (tmp_path / "anvil").write_text("#!/bin/sh\n")
    (tmp_path / "anvil").chmod(0o755)
    assert parts.anvil([], path=str(tmp_path)) == tmp_path / "anvil"


def test_a_missing_chain_is_named_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"anvil .* is missing: `make setup`"):
        parts.anvil([tmp_path], path=str(tmp_path))


def test_the_weights_are_a_gguf_file() -> None:
    assert parts.weights().read_bytes()[:4] == b"GGUF"
    parts.check_llama()
