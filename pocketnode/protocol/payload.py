"""Heads and hashes of payloads (section 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from pocketnode.crypto.keccak import hasher
from pocketnode.errors import RemoteError

REQUEST_HEADERS = frozenset({"accept", "content-type"})
ANSWER_HEADERS = frozenset({"content-type"})
HEAD_BYTES_MOST = 8192


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Method, path with query, and the relayed headers (lower-case names)."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """HTTP status and the relayed headers."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


def encode_request(head: RequestHead) -> bytes:
    """Return the head's bytes (rule 2.1).

    >>> encode_request(RequestHead("POST", "/", {"content-type": "application/json"}))
    b'POST /\\ncontent-type: application/json\\n\\n'
    """
    return _encode(f"{head.method} {head.path}", head.headers, REQUEST_HEADERS)


def encode_answer(head: AnswerHead) -> bytes:
    """Return the head's bytes (rule 2.2)."""
    return _encode(str(head.status), head.headers, ANSWER_HEADERS)


@lru_cache(maxsize=1024)
def decode_request(raw: bytes) -> RequestHead:
    """Return the head in these bytes; remembered, since most heads are alike.

    Raises
    ------
    RemoteError
        rule 2.1: not of that form.
    """
    first, headers = _decode("2.1", raw, REQUEST_HEADERS)
    method, space, path = first.partition(" ")
    if not space or not method.isalpha() or not path.startswith("/"):
        raise RemoteError("2.1", f"malformed request line {first[:80]!r}")
    return RequestHead(method, path, headers)


@lru_cache(maxsize=1024)
def decode_answer(raw: bytes) -> AnswerHead:
    """Return the head in these bytes.

    Raises
    ------
    RemoteError
        rule 2.2: not of that form.
    """
    first, headers = _decode("2.2", raw, ANSWER_HEADERS)
    if not (first.isascii() and first.isdigit() and len(first) == 3):
        raise RemoteError("2.2", f"malformed status line {first[:80]!r}")
    return AnswerHead(int(first), headers)


def payload_hash(head: bytes, body: bytes) -> bytes:
    """Return the 32-byte hash of a payload (rule 2.4)."""
    fed = hasher(head)
    fed.update(body)
    return fed.digest()


def _encode(first: str, headers: dict[str, str], relayed: frozenset[str]) -> bytes:
    lines = [first, *(f"{name}: {headers[name]}" for name in sorted(headers) if name in relayed), "", ""]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("a line break inside a head")
    return "\n".join(lines).encode()


def _decode(rule: str, raw: bytes, relayed: frozenset[str]) -> tuple[str, dict[str, str]]:
    if len(raw) > HEAD_BYTES_MOST or not raw.endswith(b"\n\n"):
        raise RemoteError(rule, f"malformed head of {len(raw)} bytes")
    try:
        first, *lines = raw[:-2].decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise RemoteError(rule, "head is not UTF-8") from error
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    if len(headers) != len(lines) or not relayed.issuperset(headers):
        raise RemoteError(rule, f"headers other than {', '.join(sorted(relayed))}")
    return first, headers
