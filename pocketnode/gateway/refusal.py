"""Why a user gets no answer, said in the user's own protocol: an OpenAI error or a JSON-RPC error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from pocketnode.errors import PocketError


@dataclass(frozen=True, slots=True)
class Reason:
    """One kind of refusal: HTTP status, OpenAI `type` and `code`, JSON-RPC `code`."""

    status: int
    kind: str
    code: str
    rpc: int


MALFORMED = Reason(400, "invalid_request_error", "invalid_json", -32700)
INVALID = Reason(400, "invalid_request_error", "invalid_request", -32600)
BAD_PARAMS = Reason(400, "invalid_request_error", "invalid_params", -32602)
NO_KEY = Reason(401, "authentication_error", "invalid_api_key", -32001)
FORBIDDEN = Reason(403, "permission_error", "not_allowed", -32001)
NO_MODEL = Reason(404, "invalid_request_error", "model_not_found", -32601)
NO_SERVICE = Reason(404, "invalid_request_error", "service_not_found", -32601)
NO_METHOD = Reason(404, "invalid_request_error", "method_not_found", -32601)
NOT_ALLOWED_VERB = Reason(405, "invalid_request_error", "method_not_allowed", -32600)
TOO_SLOW = Reason(408, "invalid_request_error", "request_timeout", -32600)
TOO_LARGE = Reason(413, "invalid_request_error", "request_too_large", -32600)
RATE_LIMITED = Reason(429, "rate_limit_error", "rate_limit_exceeded", -32005)
OUT_OF_BUDGET = Reason(429, "insufficient_quota", "insufficient_quota", -32005)
INTERNAL = Reason(500, "server_error", "internal_error", -32603)
NO_SUPPLIER = Reason(503, "server_error", "no_supplier", -32002)
NOT_READY = Reason(503, "server_error", "not_ready", -32002)
OVERLOADED = Reason(503, "server_error", "overloaded", -32005)
TIMED_OUT = Reason(504, "server_error", "timeout", -32002)


class Refused(PocketError):
    """A request that is not answered.

    Parameters
    ----------
    retry_after_s : the least wait worth trying; 0 where none helps.
    param : the field of the request that is meant, if one is.
    raw_id : the id of the JSON-RPC request that is meant, as JSON.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        retry_after_s: float = 0.0,
        param: str | None = None,
        raw_id: bytes = b"null",
    ) -> None:
        super().__init__(message)
        self.raw_id = raw_id
        self.headers: dict[str, str] = {}  # further HTTP headers of the answer
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.param = param


def bug() -> Refused:
    """Return what a user is told of an error that is ours."""
    return Refused(INTERNAL, "the gateway failed; the error is logged", retry_after_s=1)


def openai_error(refused: Refused) -> bytes:
    """Return the body that OpenAI's clients turn into their typed errors."""
    reason = refused.reason
    error = {"message": str(refused), "type": reason.kind, "param": refused.param, "code": reason.code}
    return orjson.dumps({"error": error})


def rpc_error(refused: Refused, raw_id: bytes = b"null") -> bytes:
    """Return a JSON-RPC error object; `raw_id` is the request's id as the user wrote it."""
    data: dict[str, Any] = {"reason": refused.reason.code}
    if refused.retry_after_s:
        data["retry_after_s"] = round(refused.retry_after_s, 3)
    error = orjson.dumps({"code": refused.reason.rpc, "message": str(refused), "data": data})
    return b'{"jsonrpc":"2.0","id":' + raw_id + b',"error":' + error + b"}"
