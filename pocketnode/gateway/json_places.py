"""Where the fields of a JSON object stand: one can be taken out or changed, and all else stays as written. Pure."""

from __future__ import annotations

import json
from typing import Final

from pocketnode.gateway.refusal import MALFORMED, Refused

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = " \t\r\n"


def fields(text: str) -> list[tuple[str, int, int]]:
    """Return name, start and end of each field's value of the object in `text`, which is known to be sound JSON.

    >>> fields('{"a": [1, 2],"b":"x"}')
    [('a', 6, 12), ('b', 17, 20)]
    """
    found: list[tuple[str, int, int]] = []
    at = skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _value(text, at)
        at = skip(text, at, _SPACE + ":")
        end = end_of(text, at)
        found.append((str(name), at, end))
        at = skip(text, end, _SPACE + ",")
    return found


def field(body: bytes, name: str) -> bytes | None:
    """Return the value of a field as it is written, the last one where it stands twice; None where it is missing.

    >>> field(b'{"id":1,"result":  {"x":1.0}}', "result")
    b'{"x":1.0}'
    """
    text = body.decode()
    places = [(start, end) for found, start, end in fields(text) if found == name]
    return text[places[-1][0] : places[-1][1]].encode() if places else None


def with_field(body: bytes, name: str, value: bytes) -> bytes:
    """Return the object with the value of a field replaced; every other byte stays.

    >>> with_field(b'{"messages": [], "model" : "a", "x": 1.0}', "model", b'"b"')
    b'{"messages": [], "model" : "b", "x": 1.0}'
    """
    text = body.decode()
    for found, start, end in reversed(fields(text)):
        if found == name:
            text = text[:start] + value.decode() + text[end:]
    return text.encode()


def with_item(body: bytes, name: str, position: int, value: bytes) -> bytes:
    """Return the object with one item of the array in a field replaced, or put behind its last one.

    >>> with_item(b'{"params": [ "0x1" ,"latest"],"id":1.0}', "params", 1, b'"0x2"')
    b'{"params": [ "0x1" ,"0x2"],"id":1.0}'
    >>> with_item(b'{"params":["0x1"]}', "params", 1, b'"0x2"'), with_item(b'{"params":[ ]}', "params", 0, b'2')
    (b'{"params":["0x1","0x2"]}', b'{"params":[2]}')
    """
    text = body.decode()
    _, start, end = [place for place in fields(text) if place[0] == name][-1]
    places = _places(text[start:end])
    if position < len(places):
        first, last = (start + at for at in places[position])
        return (text[:first] + value.decode() + text[last:]).encode()
    kept = text[start : start + places[-1][1]] + "," if places else "["
    return (text[:start] + kept + value.decode() + "]" + text[end:]).encode()


def with_place(body: bytes, place: str, value: bytes) -> bytes:
    """Return a request with one parameter replaced: `place` is its position, or that of an object and a field in it.

    >>> with_place(b'{"params":["0x1","latest"]}', "1", b'"0x2"')
    b'{"params":["0x1","0x2"]}'
    >>> with_place(b'{"params":[{ "fromBlock":"latest" }]}', "0.fromBlock", b'"0x2"')
    b'{"params":[{ "fromBlock":"0x2" }]}'
    >>> with_place(b'{"params":[{"address":"0x1"}]}', "0.toBlock", b'"0x2"')
    b'{"params":[{"address":"0x1","toBlock":"0x2"}]}'
    """
    position, _, name = place.partition(".")
    if name:
        old = items((field(body, "params") or b"[]").decode())[int(position)]
        value = with_field(old, name, value) if field(old, name) is not None else _with_new(old, name, value)
    return with_item(body, "params", int(position), value)


def _with_new(body: bytes, name: str, value: bytes) -> bytes:
    text = body.decode()
    end = max((end for _, _, end in fields(text)), default=0)
    at = end or text.index("{") + 1
    return (text[:at] + ("," if end else "") + f'"{name}":' + value.decode() + text[at:]).encode()


def _places(text: str) -> list[tuple[int, int]]:
    """Return start and end of each item of the JSON array in `text`."""
    found: list[tuple[int, int]] = []
    at = skip(text, text.index("[") + 1)
    while text[at] != "]":
        end = end_of(text, at)
        found.append((at, end))
        at = skip(text, end, _SPACE + ",")
    return found


def items(text: str) -> list[bytes]:
    """Return the items of a JSON array as they are written.

    >>> items('[ {"a": 1} ,[2,  3], "x,y" ]')
    [b'{"a": 1}', b'[2,  3]', b'"x,y"']
    """
    return [text[start:end].encode() for start, end in _places(text)]


def skip(text: str, at: int, characters: str = _SPACE) -> int:
    """Return the first place from `at` on that holds none of `characters`."""
    while text[at] in characters:
        at += 1
    return at


def end_of(text: str, at: int) -> int:
    """Return where the value that starts at `at` ends."""
    return _value(text, at)[1]


def _value(text: str, at: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise Refused(MALFORMED, f"the body is not JSON: {error}") from error
