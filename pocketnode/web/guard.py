"""Who may see an admin listener: who has the token, in a header or, in a browser, in a cookie made from it.

The cookie is `EXPIRY.MAC`, keyed by the token: nothing is kept of it, it works with every worker and after a restart,
and it ends when the token is changed. Scripts cannot read it and other sites cannot make a browser send it.
"""

from __future__ import annotations

import hmac
import time
from typing import Final

from aiohttp import web

COOKIE_LIFE_S: Final = 12 * 3600
EXPIRY_DIGITS_MOST: Final = 12


def admits(request: web.Request, token: str) -> bool:
    """Return whether a request carries the token or a cookie of it; every request does where there is no token."""
    if not token:
        return True
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return same(given, token) or _holds(request.cookies.get(cookie_name(request), ""), token)


def same(given: str, token: str) -> bool:
    """Compare without telling by the time taken where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def set_cookie(request: web.Request, answer: web.Response, token: str) -> None:
    """Have the browser remember that it was shown the token."""
    expiry_s = int(time.time()) + COOKIE_LIFE_S
    answer.set_cookie(
        cookie_name(request),
        f"{expiry_s}.{_mac(str(expiry_s), token)}",
        max_age=COOKIE_LIFE_S,
        httponly=True,
        samesite="Strict",
        secure=request.secure,
        path="/",
    )


def cookie_name(request: web.Request) -> str:
    """Return the cookie's name: one for each port, since browsers share cookies between the ports of a host."""
    port = request.url.port or 80
    return f"pocketnode_{port}"


def _holds(cookie: str, token: str) -> bool:
    expiry, _, mac = cookie.partition(".")
    if not expiry.isdigit() or len(expiry) > EXPIRY_DIGITS_MOST or int(expiry) < time.time():
        return False
    return hmac.compare_digest(mac.encode("utf-8", "surrogateescape"), _mac(expiry, token).encode())


def _mac(expiry: str, token: str) -> str:
    return hmac.new(token.encode(), f"pocketnode dashboard until {expiry}".encode(), "sha256").hexdigest()
