"""Requests that differ in their bodies, so that nothing between client and backend can merge or remember them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from pocketnode.bench.http import Url

# What each body has in place of this text is its own number, in as many hexadecimal digits.
NUMBER: Final = "@number@"
DIGITS: Final = 16

MakeRequest = Callable[[int], bytes]


def numbered(url: Url, body: str, headers: Mapping[str, str] | None = None) -> MakeRequest:
    """Return a function from a number to a whole POST request; everything but the number is made once.

    The numbers start anywhere, so that two runs do not repeat each other's bodies.

    Parameters
    ----------
    body : has `NUMBER` once.
    """
    start = int.from_bytes(os.urandom(6)) << 12
    before, after = body.split(NUMBER)
    first, last = before.encode(), after.encode()
    lines = {
        "host": f"{url.host}:{url.port}",
        "content-type": "application/json",
        "content-length": str(len(first) + DIGITS + len(last)),
        **(headers or {}),
    }
    head = f"POST {url.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    opening = head.encode() + first
    return lambda number: b"%b%016x%b" % (opening, start + number, last)


def json_rpc_body() -> str:
    """Return an `eth_call` of about 200 bytes, its argument the number."""
    data = "0x70a08231" + "0" * 24 + NUMBER + "0" * 24
    call = {"to": "0x" + "a0b8" * 10, "data": data}
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    return json.dumps(request, separators=(",", ":"))


def chat_body(model: str, tokens: int, stream: bool) -> str:
    """Return a chat completion whose question holds the number.

    Parameters
    ----------
    tokens : the most that may be answered.
    """
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": f"Which words follow {NUMBER} in this list, and why?"}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    if stream:
        request["stream"] = True
    return json.dumps(request, separators=(",", ":"))
