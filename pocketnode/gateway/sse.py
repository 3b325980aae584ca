"""Server-sent events as they pass: what they are metered by, and what only the gateway asked for. Pure.

Whole events go on at once, byte for byte. Only a torn event waits for its rest, and `[DONE]` for the supplier's
signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from pocketnode.gateway.refusal import Refused, openai_error

DONE: Final = b"[DONE]"
KEEP_ALIVE: Final = b": pocketnode keep-alive\n\n"  # told apart from an engine's own, which is signed
EVENT_BYTES_MOST: Final = 8 * 1024 * 1024


@dataclass(slots=True)
class Meter:
    """Feeds on parts of a stream; returns what the user gets of them.

    Parameters
    ----------
    strip_usage : the user did not ask for the usage event, so it does not get it.
    """

    strip_usage: bool
    usage: dict[str, Any] | None = None
    deltas: int = 0  # events with a choice in them
    text_bytes: int = 0  # of all events, an upper bound of what was generated
    done: bytes = b""  # the end mark, held back
    error: bool = False  # the backend put an error into the stream
    _torn: bytes = field(default=b"", repr=False)

    def feed(self, part: bytes) -> bytes:
        """Return the whole events in what has come so far, without those that are held back."""
        data = self._torn + part if self._torn else part
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            end = data.rfind(b"\r\n\r\n") + 4
            if end == 3:
                return self._waits(data)
        self._torn = data[end:]
        whole = data[:end] if self._torn else data
        self.text_bytes += len(whole)
        if b'"usage"' not in whole and DONE not in whole and b'"error"' not in whole:
            self.deltas += whole.count(b"data:")
            return whole
        return b"".join([event for event in events(whole) if self._keeps(event)])

    def _waits(self, torn: bytes) -> bytes:
        """Keep a torn event until its rest comes; one without an end is no event, and its stream is at fault."""
        if len(torn) <= EVENT_BYTES_MOST:
            self._torn = torn
            return b""
        self._torn, self.error = b"", True
        self.text_bytes += len(torn)
        return torn

    def rest(self) -> bytes:
        """Return what is left of a stream that ended without an empty line."""
        torn, self._torn = self._torn, b""
        if self.done:  # what comes after the end mark stays behind it
            self.done += torn
            return b""
        return torn if torn and self._keeps(torn) else b""

    def _keeps(self, event: bytes) -> bool:
        """Look at one event; False where the user does not get it, or not yet."""
        payload = event.strip()
        if not payload.startswith(b"data:"):
            return True
        payload = payload[5:].strip()
        if payload == DONE:
            self.done = event
            return False
        self.deltas += 1
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return True
        if not isinstance(chunk, dict):
            return True
        if chunk.get("error"):
            self.error = True
        if not isinstance(chunk.get("usage"), dict):
            return True
        self.usage = chunk["usage"]
        if chunk.get("choices"):
            return True
        self.deltas -= 1
        return not self.strip_usage


def error_event(refused: Refused) -> bytes:
    """Return the event that tells a user in mid-stream that no more comes."""
    return b"data: " + openai_error(refused) + b"\n\n"


def events(whole: bytes) -> list[bytes]:
    """Return the events in bytes that end with one, each with its empty line."""
    separator = b"\r\n\r\n" if b"\r\n\r\n" in whole else b"\n\n"
    return [event + separator for event in whole.split(separator) if event]
