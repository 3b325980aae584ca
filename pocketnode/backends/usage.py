"""What an LLM answer cost, read from the answer itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from pocketnode.errors import RemoteError
from pocketnode.protocol.metering import TokenRates, token_units

_DONE = b"[DONE]"
_LINE_BYTES_MOST = 4 * 1024 * 1024
_TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the engine counts them."""

    prompt_tokens: int
    output_tokens: int

    def units(self, rates: TokenRates) -> int:
        """Return what they cost."""
        return token_units(self.prompt_tokens, self.output_tokens, rates)


def usage_of(answer: Any) -> Usage | None:
    """Return the usage in a parsed answer or stream event, if it tells any."""
    told = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(told, dict):
        return None
    prompt, output = told.get("prompt_tokens"), told.get("completion_tokens", 0)
    if not isinstance(prompt, int) or not isinstance(output, int) or prompt < 0 or output < 0:
        return None
    return Usage(prompt, output)


class StreamMeter:
    """Follows a stream of server-sent events and counts what it carries.

    Each event with text is one token until the engine's own usage, in the last event, says better (rule 3.16).
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.tokens = 0
        self.complete = False
        self._partial = b""

    def feed(self, data: bytes) -> int:
        """Take in a part of the stream, cut anywhere; return how many tokens it added.

        Raises
        ------
        RemoteError
            rule 3.9: not server-sent events of an OpenAI answer.
        """
        before = self.tokens
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        if len(self._partial) > _LINE_BYTES_MOST:
            raise RemoteError("3.9", "a line without an end in the stream")
        for line in lines:
            self._line(line.rstrip(b"\r"))
        return self.tokens - before

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._event(line[5:].strip())
        elif line and not line.startswith((b":", b"event:", b"id:", b"retry:", b"error:")):
            raise RemoteError("3.9", f"not an event: {line[:60]!r}")

    def _event(self, payload: bytes) -> None:
        if payload == _DONE:
            self.complete = True
            return
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise RemoteError("3.9", f"an event that is not JSON: {payload[:60]!r}") from error
        if not isinstance(event, dict):
            raise RemoteError("3.9", f"an event that is no object: {payload[:60]!r}")
        self.usage = usage_of(event) or self.usage
        choices = event.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise RemoteError("3.9", f"an event without choices: {payload[:60]!r}")
        for choice in choices:
            self.tokens += _carries_text(choice)
            self.complete = self.complete or bool(choice.get("finish_reason"))


def _carries_text(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(delta.get(name) for name in _TEXT_FIELDS)
    return bool(choice.get("text"))
