"""Goes on with a stream whose supplier broke off: another one begins anew, what the user has is left out. Pure.

That works where the same request gives the same text, as at temperature 0. Where the new text is another one, the user
is told that the answer broke off: half of one answer and half of another is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pocketnode.gateway.sse import DONE, events

HELD_BYTES_MOST: Final = 4 * 1024 * 1024


class Diverged(Exception):
    """The second answer does not begin with what the user has of the first."""


@dataclass(slots=True)
class Delivered:
    """What the user has of an answer, kept to compare."""

    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    def add(self, part: bytes) -> None:
        """Keep a part that was written."""
        self._size += len(part)
        if self._size <= HELD_BYTES_MOST:
            self._parts.append(part)

    def chunks(self) -> list[dict[str, Any]] | None:
        """Return what was written, chunk by chunk; None where it is too long."""
        if self._size > HELD_BYTES_MOST:
            return None
        found = (chunk_of(event) for event in events(b"".join(self._parts)))
        return [chunk for chunk in found if chunk is not None]

    def text(self) -> str | None:
        """Return the text so far; None where it is more than text of one choice, or too long to compare."""
        text = ""
        chunks = self.chunks()
        if chunks is None:
            return None
        for chunk in chunks:
            piece = piece_of(chunk)
            if piece is None:
                return None
            text += piece
        return text


@dataclass(slots=True)
class Continuation:
    """Leaves out of a second stream what the user has: feed it whole events, it returns what is new."""

    sent: str
    _at: int = 0

    def feed(self, part: bytes) -> bytes:
        """Return the events that go beyond what was sent.

        Raises
        ------
        Diverged
        """
        if self._at > len(self.sent):
            return part
        return b"".join([self._rest_of(event) for event in events(part)])

    def _rest_of(self, event: bytes) -> bytes:
        chunk = chunk_of(event)
        if chunk is None or self._at > len(self.sent):
            return event
        piece = piece_of(chunk)
        if piece is None:
            raise Diverged
        known = self.sent[self._at : self._at + len(piece)]
        if not piece.startswith(known) or (_ends(chunk) and self._at + len(piece) < len(self.sent)):
            raise Diverged
        begun = self._at
        self._at += len(piece)
        if len(piece) > len(known):
            self._at = len(self.sent) + 1
            return event if begun == len(self.sent) else _with_piece(chunk, piece[len(known) :])
        return _with_piece(chunk, "") if _ends(chunk) else b""


def chunk_of(event: bytes) -> dict[str, Any] | None:
    """Return the chunk in an event; None for comments, the end mark and what is no chunk."""
    payload = event.strip()
    if not payload.startswith(b"data:") or payload.endswith(DONE):
        return None
    try:
        chunk = orjson.loads(payload[5:])
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) and chunk.get("choices") else None


def piece_of(chunk: dict[str, Any]) -> str | None:
    """Return the text in a chunk; None where it has more than text of the first choice."""
    choices = chunk["choices"]
    if len(choices) != 1 or choices[0].get("index", 0) != 0:
        return None
    if "text" in choices[0]:
        return str(choices[0]["text"] or "")
    delta = choices[0].get("delta") or {}
    if any(delta.get(name) for name in delta if name not in ("content", "role")):
        return None
    return str(delta.get("content") or "")


def _ends(chunk: dict[str, Any]) -> bool:
    return chunk["choices"][0].get("finish_reason") is not None


def _with_piece(chunk: dict[str, Any], piece: str) -> bytes:
    choice = chunk["choices"][0]
    if "text" in choice:
        choice["text"] = piece
    else:
        choice["delta"]["content"] = piece
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
