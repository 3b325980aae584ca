"""How daemons log: one line per decision on stderr, as JSON for machines or coloured for people."""

from __future__ import annotations

import logging
import sys

import structlog


def log_to_stderr(level: str, as_json: bool) -> None:
    """Send every log line at `level` or above to stderr.

    Parameters
    ----------
    level : debug, info, warning or error.
    """
    rendered: structlog.typing.Processor
    rendered = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
