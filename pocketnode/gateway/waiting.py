"""A stream whose first part is long in coming: after a while its answer begins with a comment, lest a connection dies.

Until then an error has an HTTP status of its own; from then on it is told of in the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from pocketnode.gateway.llm_stream import keep_alive
from pocketnode.gateway.sse import KEEP_ALIVE


class Waiting:
    """One stream that is waited for. `close` it in any case.

    Parameters
    ----------
    headers : of an answer that begins before its supplier is known.
    every_s : of silence, after which a comment is written.
    """

    __slots__ = ("_every_s", "_headers", "_request", "_response", "_task", "_timer")

    def __init__(self, request: web.Request, headers: Mapping[str, str], every_s: float) -> None:
        self._request, self._headers, self._every_s = request, headers, every_s
        self._response: web.StreamResponse | None = None
        self._task: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(every_s, self._begin)

    async def over(self) -> web.StreamResponse | None:
        """Wait no more; return the answer if it has begun, and nothing writes to it any more."""
        self._timer.cancel()
        task, response = self._task, self._response
        if task is not None and response is not None:
            while not response.prepared and not task.done():  # noqa: ASYNC110 - a turn or two of the loop
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        return response

    def close(self) -> None:
        """Stop, whatever has become of it."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._response = web.StreamResponse(headers=self._headers)
        self._task = asyncio.ensure_future(self._keep(self._response))

    async def _keep(self, response: web.StreamResponse) -> None:
        try:
            await response.prepare(self._request)
            await response.write(KEEP_ALIVE)
            await keep_alive(response.write, self._every_s)
        except ConnectionResetError:
            return  # whoever asks finds that the user has left
