"""Tokens counted by the tokenizer inside a real GGUF file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketnode.cli.main import main
from pocketnode.errors import BadInput, ConfigError
from pocketnode.localnet.parts import weights
from pocketnode.services.gguf import read_head, tokenizer_of, write_tokenizer
from pocketnode.services.tokenizing import ModelTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ModelTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    assert len(write_tokenizer(weights(), folder)) == 2
    return ModelTokenizer.load(folder)


# As llama.cpp's own /tokenize counts them for this file.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Hello, world 1234!", 9),
        ("<|im_start|>user\nHi<|im_end|>\n", 6),
        ("naïve café", 3),
        ("日本語テキスト😀 x", 18),
        ("\n\n\n", 1),
    ],
)
def test_tokens_are_those_of_the_model(tokenizer: ModelTokenizer, text: str, tokens: int) -> None:
    assert tokenizer.count(text) == tokens


def test_a_chat_is_laid_out_by_the_models_template(tokenizer: ModelTokenizer) -> None:
    prompt = tokenizer.chat([{"role": "user", "content": "Hi"}])
    assert prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert "helpful AI assistant" in prompt


def test_a_template_cannot_reach_out_and_what_it_refuses_is_the_users_fault(tokenizer: ModelTokenizer) -> None:
    head = tokenizer_of(read_head(weights()), "it")
    for template in ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"):
        with pytest.raises(BadInput):
            ModelTokenizer(head, template).chat([])
    with pytest.raises(BadInput):
        ModelTokenizer(head).chat([])


def test_the_command_writes_what_a_gateway_reads(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["service", "tokenizer", str(weights()), str(tmp_path / "made"), "--json"])
    assert done.exit_code == 0, done.output
    assert ModelTokenizer.load(tmp_path / "made").has_template
    assert not ModelTokenizer.load(tmp_path / "made" / "tokenizer.json").has_template


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(20),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1),
        struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 1 << 60),
    ],
)
def test_what_is_no_gguf_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.gguf"):
        read_head(tmp_path / "bad.gguf")


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        tokenizer_of({"tokenizer.ggml.model": "llama"}, "it")
