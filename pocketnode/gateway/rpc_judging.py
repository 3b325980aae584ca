"""What a JSON-RPC answer is worth, and whose fault an error in it is. Pure.

Errors of the chain (a revert, a used nonce) are answers: every honest node gives them. Errors of the node are its
supplier's. What could be either is asked of another supplier, and taken if that one says nothing better.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from pocketnode.gateway.blocks import quantity
from pocketnode.gateway.judging import Judgement
from pocketnode.gateway.showing import shown_in
from pocketnode.services.spec import Method

# Codes of JSON-RPC 2.0 and EIP-1474.
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32001
RESOURCE_UNAVAILABLE: Final = -32002
TRANSACTION_REJECTED: Final = -32003
LIMIT_EXCEEDED: Final = -32005
REVERTED: Final = 3

_CHAIN_WORDS: Final = (
    "revert",
    "nonce too",
    "insufficient funds",
    "already known",
    "known transaction",
    "underpriced",
    "gas limit",
    "intrinsic gas",
    "out of gas",
    "invalid opcode",
    "gas required exceeds",
    "invalid argument",
    "invalid sender",
    "max fee per gas",
    "exceeds block",
    "stack underflow",
)
_NODE_WORDS: Final = ("missing trie node", "header not found", "unknown block", "not synced", "syncing", "state not")
KNOWN_WORDS: Final = ("already known", "known transaction", "already imported", "alreadyknown")


def judge(method: Method, request_id: Any, body: bytes, units: int) -> Judgement:
    """Return what an answer to one request is worth.

    Parameters
    ----------
    request_id : of the request; an answer with another one is to another request.
    units : what it is said to cost.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Judgement.WRONG
    if not isinstance(answer, dict) or not _same_id(answer.get("id", ...), request_id) or units > method.units:
        return Judgement.WRONG
    error = answer.get("error")
    if error is not None:
        return judge_error(error)
    if "result" not in answer:
        return Judgement.WRONG
    if answer["result"] is None and not method.empty:
        return Judgement.UNSURE
    return Judgement.TAKE


def check_answer(
    method: Method, request_id: object, least_block: int, status: int, body: bytes, units: int
) -> Judgement:
    """Return what an answer is worth to a client that was shown block `least_block`: none that is older."""
    judgement = judge(method, request_id, body, units)
    if judgement is not Judgement.TAKE or not (method.head or least_block):
        return judgement
    number = quantity(orjson.loads(body).get("result")) if method.head else shown_in(method, body)
    if number is None:
        return Judgement.WRONG if method.head else judgement
    return Judgement.UNSURE if number < least_block else judgement  # it lags behind what this client has seen


def judge_error(error: Any) -> Judgement:
    """Return whose fault a JSON-RPC error is."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return Judgement.WRONG
    code, message = error["code"], str(error.get("message", "")).lower()
    if any(word in message for word in _NODE_WORDS):
        return Judgement.UNSURE
    if code in (REVERTED, TRANSACTION_REJECTED) or any(word in message for word in _CHAIN_WORDS):
        return Judgement.TAKE
    if code in (INVALID_PARAMS, INVALID_REQUEST):
        return Judgement.REFUSED
    return Judgement.UNSURE


def is_known_transaction(error: Any) -> bool:
    """Return whether an error says that the node has this transaction already, which is what was wanted."""
    message = str(error.get("message", "")).lower() if isinstance(error, dict) else ""
    return any(word in message for word in KNOWN_WORDS)


def _same_id(answered: Any, asked: Any) -> bool:
    return answered == asked and isinstance(answered, bool) == isinstance(asked, bool)
