"""What every request passes first: its id, its key, its body within bounds. What refuses it here costs no supplier."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import time
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pocketnode.gateway.access import Access, Holder
from pocketnode.gateway.config import Limits
from pocketnode.gateway.places import Places
from pocketnode.gateway.refusal import MALFORMED, NO_KEY, OVERLOADED, TOO_LARGE, TOO_SLOW, Refused
from pocketnode.gateway.shared import Shared
from pocketnode.gateway.trail import Trail

REQUEST_ID: Final = "x-request-id"
REQUEST_ID_CHARS_MOST: Final = 128
CAUSE_CHARS_MOST: Final = 120
JSON: Final = "application/json"


class Gate:
    """One for the daemon."""

    def __init__(self, access: Access, limits: Limits, shared: Shared | None = None) -> None:
        self.access = access
        self.limits = limits
        self._places = _places(limits, shared)
        self.in_flight = 0
        self._quiet: asyncio.Event | None = None
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def adopt(self, limits: Limits) -> None:
        """Hold requests that come from now on to other limits."""
        self.limits = limits
        self._places.adopt(limits.concurrency, self.in_flight)

    async def holder(self, request: web.Request, service: str = "") -> Holder:
        """Return whose key a request carries, in a header, the path or the query.

        Raises
        ------
        Refused
            there is no key, or it does not cover this service, origin or address.
        """
        secret = _secret_of(request)
        if not secret:
            raise Refused(NO_KEY, "no API key: send it as 'Authorization: Bearer KEY'")
        holder = await self.access.holder(secret)
        holder.check(time.time(), service, request.headers.get("Origin"), request.remote)
        return holder

    async def body(self, request: web.Request) -> bytes:
        """Return the body.

        Raises
        ------
        Refused
            it is too large, or comes too slowly.
        """
        most = self.limits.body_bytes
        if (request.content_length or 0) > most:
            raise Refused(TOO_LARGE, f"a body has at most {most} bytes")
        try:
            if request.content.is_eof():  # it is all here already: no timer is needed, and no copy
                body = request.content.read_nowait()
            else:
                async with asyncio.timeout(self.limits.body_s):
                    body = await _read(request, most)
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise Refused(MALFORMED, "the body is not as its headers say: " + _cause(error)) from error
        except TimeoutError as error:
            raise Refused(TOO_SLOW, f"the body did not arrive in {self.limits.body_s:.0f} s") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise Refused(TOO_LARGE, f"a body has at most {most} bytes") from error
        if len(body) > most:
            raise Refused(TOO_LARGE, f"a body has at most {most} bytes")
        return body

    def enter(self) -> None:
        """Count a request in; `leave` must follow.

        Raises
        ------
        Refused
            there are too many already: an early no is better than a late one.
        """
        if self.in_flight >= self._places.drawn and not self._places.draw():
            raise Refused(OVERLOADED, "the gateway is at its limit", retry_after_s=1)
        self.in_flight += 1

    def leave(self) -> None:
        """Count a request out."""
        self.in_flight -= 1
        if self._places.drawn - self.in_flight > self._places.kept:
            self._places.give_back(self.in_flight)
        if not self.in_flight and self._quiet is not None:
            self._quiet.set()

    async def quiet(self) -> None:
        """Return once nothing is in flight."""
        while self.in_flight:
            self._quiet = asyncio.Event()
            await self._quiet.wait()

    def now_s(self) -> float:
        """Return the wall clock in seconds."""
        return time.time()

    def request_id(self, request: web.Request) -> str:
        """Return the user's own id of a request if it is sound, or a new one."""
        given = request.headers.get(REQUEST_ID)
        if given and len(given) <= REQUEST_ID_CHARS_MOST and given.isascii() and given.isprintable():
            return given
        return self.new_id()

    def new_id(self) -> str:
        """Return an id that no other request has."""
        return f"{self._prefix}-{next(self._numbers):x}"


def _cause(error: BaseException) -> str:
    """Return in a few words what is wrong with a body, as the library says it."""
    said = str(error.__cause__ or error).split("\n", 1)[0].split(", message:")[-1]
    return " ".join(said.replace("message=", "").split())[:CAUSE_CHARS_MOST]


def _places(limits: Limits, shared: Shared | None) -> Places:
    if shared is None or shared.workers == 1:
        return Places(limits.concurrency)
    return Places(limits.concurrency, shared.counters, shared.workers)


async def _read(request: web.Request, most: int) -> bytes:
    """Return a body as it comes, or its beginning once that is too long."""
    body = bytearray()
    while len(body) <= most and (piece := await request.content.readany()):
        body += piece
    return bytes(body)


def refusal_headers(refused: Refused, request_id: str, trail: Trail | None = None) -> dict[str, str]:
    """Return the headers of an error answer, with what its user may still do and who was asked."""
    headers = {REQUEST_ID: request_id}
    if trail is not None and trail.holder is not None:
        headers.update(limit_headers(trail.holder))
    headers.update(refused.headers)
    if trail is not None and trail.attempts:
        headers.update(trail.headers())
    if refused.retry_after_s > 0:
        headers["Retry-After"] = str(max(1, math.ceil(refused.retry_after_s)))
    if refused.reason.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def limit_headers(holder: Holder) -> dict[str, str]:
    """Return the x-ratelimit headers of an answer; none for a key without limits."""
    return holder.headers(time.time()) if holder.windows else {}


def _secret_of(request: web.Request) -> str:
    authorization = request.headers.get("Authorization", "")
    if authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    if (header := request.headers.get("x-api-key")) is not None:
        return header
    return request.match_info.get("key") or request.query.get("key") or ""
