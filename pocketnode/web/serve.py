"""Serves the dashboard on an admin listener: its files, its series, its live events.

| path | answer |
|---|---|
| / and /static/ | the page; holds nothing secret, so it needs no token |
| POST /api/login | the admin token for a cookie |
| /api/about | what the daemon is; without the token only that it is locked |
| /api/now | how things stand |
| /api/events | the same as server-sent events, every two seconds |
| /api/chart | `?span_s=3600&service=eth&peers=1`: columns for charts |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from pocketnode import __version__
from pocketnode.errors import BadInput, NotFound, PocketError, Unavailable
from pocketnode.web import guard
from pocketnode.web.answers import body_of, json, number_of
from pocketnode.web.feed import MONTH_S, Feed
from pocketnode.web.ports import Panel, Source

STATIC: Final = Path(str(files(__package__))) / "static"
# Paths that see to themselves who may have them: an admin listener's own guard lets them through.
OWN_PATHS: Final = ("/static/", "/api/")
LOGIN_PAUSE_S: Final = 0.5
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_STATUS: Final[tuple[tuple[type[PocketError], int], ...]] = ((NotFound, 404), (BadInput, 400), (Unavailable, 503))
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """The dashboard of one daemon, attached to its admin application; `feed.run` is to be among its jobs."""

    def __init__(self, source: Source, feed: Feed, token: str = "", panels: Iterable[Panel] = ()) -> None:
        self.feed = feed
        self._source = source
        self._token = token
        self._panels = list(panels)

    def attach(self, app: web.Application) -> None:
        """Add every route, guarded by itself, and end the streams of events before the listener waits for them."""
        own = [
            web.get("/api/now", self._now),
            web.get("/api/events", self._events),
            web.get("/api/chart", self._chart),
        ]
        own += [route for panel in self._panels for route in panel.routes()]
        app.add_routes([web.RouteDef(r.method, r.path, self._guarded(r.handler), r.kwargs) for r in own])
        app.add_routes([web.get("/", _index), web.get("/static/{path:.+}", _static)])
        app.add_routes([web.get("/api/about", self._about), web.post("/api/login", self._login)])
        app.on_shutdown.append(self._end_streams)

    async def _end_streams(self, _: web.Application) -> None:
        self.feed.close()

    def _guarded(self, handler: Any) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if not guard.admits(request, self._token):
                return json({"error": "the admin token is needed"}, 401)
            try:
                found: web.StreamResponse = await handler(request)
            except PocketError as error:
                return json(
                    {"error": str(error)}, next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
                )
            return found

        return answer

    async def _login(self, request: web.Request) -> web.Response:
        try:
            given = (await body_of(request)).get("token", "")
        except BadInput as error:
            return json({"error": str(error)}, 400)
        if not guard.same(str(given), self._token):
            await asyncio.sleep(LOGIN_PAUSE_S)
            return json({"error": "this is not the admin token"}, 401)
        answer = json({})
        guard.set_cookie(request, answer, self._token)
        return answer

    async def _about(self, request: web.Request) -> web.Response:
        if not guard.admits(request, self._token):
            return json({"locked": True})  # no error: a page asks this before its user was asked for the token
        try:
            return await self._facts()
        except PocketError as error:
            return json({"error": str(error)}, 503)

    async def _facts(self) -> web.Response:
        facts: dict[str, Any] = {"version": __version__, "guarded": bool(self._token)}
        for panel in self._panels:
            facts |= await panel.about()
        return json(facts | await self._source.about())

    async def _now(self, _: web.Request) -> web.Response:
        return json(await self.feed.state())

    async def _chart(self, request: web.Request) -> web.Response:
        query = request.query
        span_s = number_of(query.get("span_s", "3600"), 60, MONTH_S)
        return json(await self.feed.chart(span_s, query.get("service"), peers="peers" in query))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-store"})
        await answer.prepare(request)
        messages = self.feed.listen()
        try:
            async for message in messages:
                await answer.write(b"data: " + message + b"\n\n")
        except (ConnectionResetError, asyncio.CancelledError):
            pass
        finally:
            await messages.aclose()
        return answer


async def _index(_: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "index.html", headers=_HEADERS)


async def _static(request: web.Request) -> web.StreamResponse:
    path = (STATIC / request.match_info["path"]).resolve()
    if not path.is_relative_to(STATIC.resolve()) or not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers=_HEADERS)


def guards_itself(path: str) -> bool:
    """Return whether the dashboard decides by itself who may have this path."""
    return path == "/" or path.startswith(OWN_PATHS)
