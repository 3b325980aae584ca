"""Reads requests and writes answers, for every part of the dashboard."""

from __future__ import annotations

import json as codec
from typing import Any

import orjson
from aiohttp import web

from pocketnode.errors import BadInput


def json(value: Any, status: int = 200) -> web.Response:
    """Return a value as an answer. Numbers may exceed 64 bits, which orjson refuses."""
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    body = codec.dumps(value, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return a request's JSON object. Other sites can make a browser send forms, but not this content type.

    Raises
    ------
    BadInput
        it is something else.
    """
    if request.content_type != "application/json":
        raise BadInput("send application/json")
    try:
        value = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadInput("a JSON object is wanted")
    return value


def number_of(text: str, least: int, most: int) -> int:
    """Return a whole number in a query.

    Raises
    ------
    BadInput
        it is none, or out of range.
    """
    if not text.isdigit() or not least <= int(text) <= most:
        raise BadInput(f"{text!r} is not a number from {least} to {most}")
    return int(text)


def hex_of(text: str, size: int) -> bytes | None:
    """Return the bytes in `0x` and hex digits, or None where it is something else.

    >>> hex_of("0x0102", 2), hex_of("0x01", 2), hex_of("zz", 1)
    (b'\\x01\\x02', None, None)
    """
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return None
    return raw if len(raw) == size else None
