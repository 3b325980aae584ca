"""How daemons log: one line per decision on stderr, as JSON for machines or coloured for people."""

from __future__ import annotations

import io
import logging
import sys
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import structlog


class LossyStderr(io.TextIOBase):
    """stderr, but what cannot be written is dropped: a daemon outlives a full disk and a reader that is gone."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError):
            sys.stderr.flush()


_LEVELS: Final = logging.getLevelNamesMapping()
_least = logging.INFO
# One list for good: loggers that were used before a second call keep it.
_processors: list[structlog.typing.Processor] = []


def log_at(level: str) -> None:
    """Send lines at `level` or above from now on: debug, info, warning or error."""
    global _least
    _least = _LEVELS[level.upper()]


def _at_level(_logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if _LEVELS.get(method.upper(), logging.ERROR) < _least:
        raise structlog.DropEvent
    return event


def log_to_stderr(level: str, as_json: bool) -> None:
    """Send every log line at `level` or above to stderr.

    Parameters
    ----------
    level : debug, info, warning or error.
    """
    stderr = cast(TextIO, LossyStderr())
    rendered: structlog.typing.Processor
    rendered = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    log_at(level)
    _processors[:] = [
        _at_level,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        rendered,
    ]
    structlog.configure(
        processors=_processors,
        logger_factory=structlog.WriteLoggerFactory(stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=stderr, format="%(levelname)s %(name)s %(message)s")
