"""Answers in the shape of the OpenAI API that are this gateway's own: errors, and facts as JSON."""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from aiohttp import web

from pocketnode.gateway.access import Holder
from pocketnode.gateway.gate import JSON, REQUEST_ID, limit_headers, refusal_headers
from pocketnode.gateway.refusal import Refused, bug, openai_error
from pocketnode.gateway.trail import Trail

log = structlog.get_logger()


def refusal(refused: Refused, request_id: str, trail: Trail | None = None) -> web.Response:
    """Return the error answer that OpenAI's clients understand."""
    headers = refusal_headers(refused, request_id, trail)
    return web.Response(body=openai_error(refused), status=refused.reason.status, headers=headers, content_type=JSON)


def internal(request_id: str, trail: Trail | None = None) -> web.Response:
    """Log a bug of ours, from inside its `except`, and return what the user sees of it."""
    log.exception("a request failed for a reason of our own", request_id=request_id)
    return refusal(bug(), request_id, trail)


def shown(facts: Any, request_id: str, holder: Holder) -> web.Response:
    """Return facts as JSON, with the headers of every answer."""
    headers = {REQUEST_ID: request_id, **limit_headers(holder)}
    return web.Response(body=orjson.dumps(facts), content_type=JSON, headers=headers)


def covers(holder: Holder, model: str) -> bool:
    """Return whether a key is for a model."""
    return not holder.rules.models or model in holder.rules.models
