"""JSON-RPC as bytes: reads the few fields that are needed and leaves the rest as the user wrote it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from pocketnode.gateway import json_places
from pocketnode.gateway.refusal import BAD_PARAMS, INVALID, MALFORMED, TOO_LARGE, Refused

METHOD_CHARS_MOST: Final = 128
NOTIFICATION: Final = b""


@dataclass(slots=True)
class Item:
    """One request.

    Parameters
    ----------
    raw : as the user wrote it.
    raw_id : its id as JSON; `NOTIFICATION` where there is none.
    """

    raw: bytes
    method: str
    params: Any
    id: Any
    raw_id: bytes


def parse(body: bytes, items_most: int) -> Item | list[Item | Refused]:
    """Return the request, or the items of a batch; an item that is no request becomes its refusal.

    Raises
    ------
    Refused
        not JSON, neither an object nor an array, an empty batch, or too large a one.
    """
    try:
        parsed = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise Refused(MALFORMED, f"the body is not JSON: {error}") from error
    if isinstance(parsed, dict):
        return _item(parsed, body)
    if not isinstance(parsed, list) or not parsed:
        raise Refused(INVALID, "a request is an object, a batch an array with at least one")
    if len(parsed) > items_most:
        raise Refused(TOO_LARGE, f"a batch has at most {items_most} items, this one {len(parsed)}")
    pieces = json_places.items(body.decode())
    return [_item_or_refusal(value, raw) for value, raw in zip(parsed, pieces, strict=True)]


def item_of(parsed: Any, raw: bytes) -> Item:
    """Return one request.

    Raises
    ------
    Refused
        it is none.
    """
    if not isinstance(parsed, dict):
        raise Refused(INVALID, "a request is an object")
    method = parsed.get("method")
    if not isinstance(method, str) or not 1 <= len(method) <= METHOD_CHARS_MOST:
        raise Refused(INVALID, "'method' must be a string")
    params = parsed.get("params")
    if params is not None and not isinstance(params, list | dict):
        raise Refused(BAD_PARAMS, "'params' must be an array or an object")
    if "id" not in parsed:
        return Item(raw, method, params, None, NOTIFICATION)
    identity = parsed["id"]
    if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int | float)):
        raise Refused(INVALID, "'id' must be a string, a number or null")
    return Item(raw, method, params, identity, orjson.dumps(identity))


def numbered(item: Item) -> bytes:
    """Return the request as it is relayed: a notification gets an id, since a supplier owes an answer for its pay."""
    if item.raw_id != NOTIFICATION:
        return item.raw
    return b'{"id":0,' + item.raw.lstrip()[1:]


def raw_id_of(parsed: Any) -> bytes:
    """Return the id that an error about a malformed item carries."""
    identity = parsed.get("id") if isinstance(parsed, dict) else None
    if isinstance(identity, str | int | float) and not isinstance(identity, bool):
        return orjson.dumps(identity)
    return b"null"


def result(raw_id: bytes, raw_result: bytes) -> bytes:
    """Return an answer made of parts that are JSON already."""
    return b'{"jsonrpc":"2.0","id":' + raw_id + b',"result":' + raw_result + b"}"


def _item_or_refusal(parsed: Any, raw: bytes) -> Item | Refused:
    try:
        return _item(parsed, raw)
    except Refused as refused:
        return refused


def _item(parsed: Any, raw: bytes) -> Item:
    try:
        return item_of(parsed, raw)
    except Refused as refused:
        refused.raw_id = raw_id_of(parsed)
        raise
