"""What a local network is made of is found, or named with its cure."""

from pathlib import Path

import pytest

from pocketnode.errors import ConfigError
from pocketnode.localnet import parts
from pocketnode.services.gguf import TEMPLATE_FILE, write_tokenizer
from pocketnode.services.tokenizing import ModelTokenizer


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


def test_the_chat_template_writes_what_has_no_tools_as_the_models_own(tmp_path: Path) -> None:
    write_tokenizer(parts.weights(), tmp_path)
    (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
    own = ModelTokenizer.load(tmp_path)
    (tmp_path / TEMPLATE_FILE).write_text(parts.CHAT_TEMPLATE.read_text())
    ours = ModelTokenizer.load(tmp_path)
    user, said = {"role": "user", "content": "Hi\n  there"}, {"role": "assistant", "content": "Hello"}
    system = {"role": "system", "content": "Be brief."}
    for messages in ([user], [system, user], [user, said, user], [system, user, said, user]):
        assert ours.chat(messages) == own.chat(messages)
    tool = {"type": "function", "function": {"name": "weather"}}
    assert '"name": "weather"' in ours.chat([system, user], [tool])
    assert ours.chat([system, user], [tool]).count("Be brief.") == 1
