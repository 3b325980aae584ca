"""Wide `eth_getLogs` ranges as several requests: nodes refuse them, and one slow supplier would hold up all. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

from pocketnode.gateway.blocks import quantity
from pocketnode.gateway.json_places import field
from pocketnode.gateway.refusal import TOO_LARGE, Refused
from pocketnode.gateway.rpc_codec import Item, result
from pocketnode.services.spec import Method

PARTS_MOST: Final = 32


def parts_of(item: Item, method: Method) -> list[Item]:
    """Return the requests that a request for a range of blocks is made of; itself where it is narrow enough.

    Raises
    ------
    Refused
        it would take more than `PARTS_MOST`.
    """
    wanted = item.params[0] if method.split and isinstance(item.params, list) and item.params else None
    if method.split is None or not isinstance(wanted, dict):
        return [item]
    first, last = quantity(wanted.get("fromBlock")), quantity(wanted.get("toBlock"))
    if first is None or last is None or last - first < method.split:
        return [item]
    starts = range(first, last + 1, method.split)
    if len(starts) > PARTS_MOST:
        most = PARTS_MOST * method.split
        raise Refused(TOO_LARGE, f"a range has at most {most} blocks, this one {last - first + 1}")
    return [_part(item, wanted, start, min(last, start + method.split - 1)) for start in starts]


def joined(item: Item, bodies: list[bytes]) -> bytes:
    """Return one answer made of the parts' answers, in their order; the first error among them, if there is one."""
    inner: list[bytes] = []
    for body in bodies:
        raw = field(body, "result")
        if raw is None or not raw.startswith(b"["):
            return body
        if content := raw[1:-1].strip():
            inner.append(content)
    return result(item.raw_id, b"[" + b",".join(inner) + b"]")


def _part(item: Item, wanted: dict[str, Any], first: int, last: int) -> Item:
    params = [{**wanted, "fromBlock": hex(first), "toBlock": hex(last)}, *item.params[1:]]
    identity = item.raw_id or b"0"
    method = orjson.dumps(item.method)
    raw = b'{"jsonrpc":"2.0","id":' + identity + b',"method":' + method + b',"params":' + orjson.dumps(params) + b"}"
    return Item(raw, item.method, params, item.id, item.raw_id)
