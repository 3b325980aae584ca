"""Counts tokens as a model's own tokenizer does: prompts as its chat template writes them, and texts."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any, Self

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from pocketnode.errors import BadInput, ConfigError
from pocketnode.services.gguf import TEMPLATE_FILE, TOKENIZER_FILE


class ModelTokenizer:
    """One model's tokenizer and chat template. `count` leaves the interpreter's lock, so a thread helps."""

    def __init__(self, tokenizer: Tokenizer, template: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._template: Template | None = None
        if template is not None:
            environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
            environment.globals.update(raise_exception=_refuse, strftime_now=_now)
            self._template = environment.from_string(template)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the tokenizer in a folder as models are published, or in a tokenizer.json alone.

        A folder holds `tokenizer.json`, and the chat template in `chat_template.jinja` or `tokenizer_config.json`.

        Raises
        ------
        ConfigError
            a file is missing or broken.
        """
        file = path / TOKENIZER_FILE if path.is_dir() else path
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise ConfigError(f"{file}: not a tokenizer: {error}") from error
        try:
            return cls(tokenizer, _template_in(path) if path.is_dir() else None)
        except (OSError, ValueError, TemplateError) as error:
            raise ConfigError(f"{path}: the chat template: {error}") from error

    @property
    def has_template(self) -> bool:
        """Whether prompts of chats are counted as the model sees them."""
        return self._template is not None

    def count(self, text: str) -> int:
        """Return the tokens of a text, without any that mark its beginning or end."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def chat(self, messages: list[dict[str, Any]], tools: Any = None) -> str:
        """Return the prompt that the template makes of a chat.

        Raises
        ------
        BadInput
            the template refuses these messages, or there is none.
        """
        if self._template is None:
            raise BadInput("no chat template")
        try:
            return self._template.render(
                messages=messages, tools=tools, add_generation_prompt=True, bos_token="", eos_token=""
            )
        except Exception as error:  # a template runs on what a stranger wrote: anything may go wrong in it
            raise BadInput(f"the chat template refuses the messages: {error}") from error


def _template_in(folder: Path) -> str | None:
    file, config = folder / TEMPLATE_FILE, folder / "tokenizer_config.json"
    if file.exists():
        return file.read_text()
    found = json.loads(config.read_text()).get("chat_template") if config.exists() else None
    return found if isinstance(found, str) else None


def _refuse(message: str) -> None:
    raise BadInput(message)


def _now(layout: str) -> str:
    return datetime.datetime.now().strftime(layout)
