"""What was signed of what a user saved: a stream without this gateway's own comments, one item of a batch. Pure."""

from __future__ import annotations

import re
from typing import Final

from pocketnode.errors import BadInput
from pocketnode.gateway.json_places import end_of, skip
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.rpc_codec import NOTIFICATION, Item, parse
from pocketnode.gateway.sse import KEEP_ALIVE
from pocketnode.gateway.trust import PROOF

ITEMS_MOST: Final = 1_000_000
_OWN: Final = re.compile(rb"(?:\A|(?<=\n))(?:" + KEEP_ALIVE.strip() + rb"|: " + PROOF.encode() + rb" ([^\n]*))\n\n")


def signed_events(stream: bytes) -> tuple[bytes, str]:
    """Return a saved stream as its supplier signed it, and the proof at its end; empty where there is none.

    >>> signed_events(b": pocketnode keep-alive\\n\\ndata: {}\\n\\n: x-pocketnode-proof AAA=\\n\\n")
    (b'data: {}\\n\\n', 'AAA=')
    """
    proofs = [found for found in _OWN.findall(stream) if found]
    return _OWN.sub(b"", stream), proofs[-1].decode(errors="replace") if proofs else ""


def batch_item(request: bytes, answer: bytes, place: int) -> tuple[bytes, bytes]:
    """Return one item of a batch, counted from 0 as it was asked, and its answer, each with every byte of its own.

    Raises
    ------
    BadInput
        it is no batch, has no such item, or the item has no answer.
    """
    try:
        items = parse(request, ITEMS_MOST)
    except Refused as error:
        raise BadInput(f"the request is no batch: {error}") from error
    if not isinstance(items, list) or not 0 <= place < len(items):
        raise BadInput(f"the request has no item {place}")
    item, before = items[place], items[:place]
    answers = _parts(answer)
    position = sum(isinstance(one, Refused) or one.raw_id != NOTIFICATION for one in before)
    if not isinstance(item, Item) or item.raw_id == NOTIFICATION or position >= len(answers):
        raise BadInput(f"item {place} has no answer of a supplier")
    return item.raw, answers[position]


def _parts(array: bytes) -> list[bytes]:
    """Return what stands between the commas of a JSON array, spaces and all: an answer may end in a line's end.

    >>> _parts(b'[{"id": 1}\\n,{"id":2}]')
    [b'{"id": 1}\\n', b'{"id":2}']
    """
    try:
        text = array.decode()
        begin, found = skip(text, 0) + 1, []
        while True:
            after = skip(text, end_of(text, skip(text, begin)))
            found.append(text[begin:after].encode())
            if text[after] == "]":
                return found
            begin = after + 1
    except (ValueError, IndexError, Refused) as error:
        raise BadInput("the answer is no batch") from error
