"""Writes a streamed answer as it comes: at once, to its signed end, over the loss of a supplier where that can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog
from aiohttp import web

from pocketnode.errors import PocketError
from pocketnode.gateway import trust
from pocketnode.gateway.attempt import Attempt
from pocketnode.gateway.continuing import Continuation, Delivered, Diverged
from pocketnode.gateway.llm_codec import Asked, counts, cut_output, cut_units_most, is_sound
from pocketnode.gateway.orders import Order, Stream
from pocketnode.gateway.recount import Recount, Told, texts_of_stream
from pocketnode.gateway.refusal import NO_SUPPLIER, Refused, bug
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.sse import KEEP_ALIVE, Meter, error_event
from pocketnode.protocol.quality import Verdict
from pocketnode.services.spec import Tokens
from pocketnode.silence import Silence

KEEP_ALIVE_S: Final = 15.0
CONTINUATIONS_MOST: Final = 2
BACKLOG_BYTES: Final = 32 * 1024  # unsent bytes of a user from which on writing may have to wait

log = structlog.get_logger()
Agrees = Callable[[list[str] | None, Told], Awaitable[bool]]  # holds a count of tokens against the gateway's own


class Broken(Exception):
    """A stream ended without its end."""


class Streaming:
    """One streamed answer.

    Parameters
    ----------
    whole_proof : the user wants every event and the proof, to check the answer.
    recount : is told of counts that cannot be.
    agrees : holds a count against our own; None where this gateway cannot count this model's tokens.
    """

    def __init__(
        self,
        relaying: Relaying,
        order: Order,
        asked: Asked,
        tokens: Tokens,
        timeout_s: float,
        whole_proof: bool,
        recount: Recount,
        agrees: Agrees | None = None,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._relaying = relaying
        self._order = order
        self._asked = asked
        self._tokens = tokens
        self._timeout_s = timeout_s
        self._whole_proof = whole_proof
        self._recount = recount
        self._agrees = agrees
        self._keep_alive_s = keep_alive_s
        self._delivered = Delivered()
        self._transport: asyncio.Transport | None = None
        self._continuation: Continuation | None = None
        self.attempt: Attempt | None = None  # the newest, of the supplier that goes on
        self.whole = False  # whether the user got the answer to its end
        self.meter = self._new_meter()

    async def run(self, stream: Stream, request: web.Request, response: web.StreamResponse) -> None:
        """Write the answer; `attempt` is the one that ended it, and is settled.

        Raises
        ------
        CancelledError, ConnectionResetError
            the user has left; the supplier is told, and paid for what was sent.
        """
        for left in range(CONTINUATIONS_MOST, -1, -1):
            self.attempt = stream.attempt
            try:
                await response.prepare(request)
                self._transport = request.transport
                await self._pass_on(stream, response)
                await self._judge(stream)
            except (asyncio.CancelledError, ConnectionResetError):
                await stream.attempt.cancel(partial(self._believes, stream))
                raise
            except Broken:
                stream.attempt.settle(Verdict.WRONG)
            except Diverged:
                await stream.attempt.cancel(partial(self._believes, stream))
                break
            except (PocketError, TimeoutError) as error:
                stream.attempt.failed(error)
                self._relaying.leave(stream.attempt, error)
            except Exception:  # a bug of ours: the answer has begun, so it is told of in the stream
                log.exception("a stream failed for a reason of our own")
                if stream.attempt.verdict is None:
                    await stream.attempt.cancel()
                await end(response, error_event(bug()))
                return
            else:
                self.whole = True
                await end(response, self.meter.done + self._proof(stream))
                return
            again = await self._again() if left else None
            if again is None:
                break
            stream = again
        await end(response, error_event(Refused(NO_SUPPLIER, "the supplier broke off", retry_after_s=1)))

    async def _again(self) -> Stream | None:
        """Ask another supplier for the same; None where its answer could not go on from here."""
        text = self._delivered.text()
        if text is None or (text and not self._asked.repeats):
            return None
        try:
            stream = await self._relaying.stream(self._order)
        except Refused:
            return None
        log.info("stream continued", characters=len(text), supplier=stream.attempt.seat.supplier_hex)
        self._continuation = Continuation(text)
        self.meter = self._new_meter()
        return stream

    async def _pass_on(self, stream: Stream, response: web.StreamResponse) -> None:
        """Write each part when it comes; say that we are alive where none comes for long."""
        alive = asyncio.ensure_future(keep_alive(response.write, self._keep_alive_s))
        try:
            async with asyncio.timeout(None) as deadline:
                silence = Silence(deadline, self._timeout_s)
                try:
                    while True:
                        silence.begin()
                        part = await stream.read()
                        silence.end()
                        if part is None:
                            break
                        await self._write(response, self.meter.feed(part))
                finally:
                    silence.close()
            await self._write(response, self.meter.rest())
        finally:
            alive.cancel()

    async def _write(self, response: web.StreamResponse, out: bytes) -> None:
        if out and self._continuation is not None:
            out = self._continuation.feed(out)
        if not out:
            return
        self._delivered.add(out)
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() < BACKLOG_BYTES:
            await response.write(out)
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await response.write(out)
        except TimeoutError as error:
            raise ConnectionResetError("the user reads no more") from error  # its own fault, and no supplier's

    async def _judge(self, stream: Stream) -> None:
        """Settle a stream that came to its signed end: is it whole, and is its count of tokens true?"""
        meter, reply = self.meter, stream.attempt.reply
        ended = reply.ended if reply is not None else None
        units = ended.signed.response.units if ended is not None else 0
        if meter.error:
            stream.attempt.settle(Verdict.FAULT)
        elif not meter.done and meter.usage is None:
            raise Broken
        elif meter.usage is None or not is_sound(meter.usage, self._asked, self._tokens, units, meter.text_bytes):
            stream.attempt.settle(Verdict.WRONG)
        else:
            stream.attempt.settle(Verdict.GOOD if await self._counted(stream, meter.usage) else Verdict.WRONG)

    async def _believes(self, stream: Stream, units: int) -> bool:
        """Return whether a stream that was cut can have cost so many units: what its events say (rule 3.16)."""
        while (part := await stream.read()) is not None:  # it came after the user had left
            self._delivered.add(self.meter.feed(part))
        self._delivered.add(self.meter.rest())
        meter, asked, tokens = self.meter, self._asked, self._tokens
        if meter.usage is not None and is_sound(meter.usage, asked, tokens, units, meter.text_bytes):
            return await self._counted(stream, meter.usage)
        most = cut_units_most(asked, tokens, meter.deltas)
        if units > most:
            self._recount.cut(self._order.kind, stream.attempt.seat.supplier_hex, units, most)
            return False
        return await self._counted(stream, {"completion_tokens": cut_output(asked, tokens, units)})

    async def _counted(self, stream: Stream, usage: dict[str, Any]) -> bool:
        """Return whether our own count of what was written allows the supplier's."""
        if self._agrees is None:
            return True
        chunks = self._delivered.chunks()
        told = Told(stream.attempt.seat.supplier_hex, *counts(usage))
        return await self._agrees(texts_of_stream(chunks) if chunks is not None else None, told)

    def _proof(self, stream: Stream) -> bytes:
        ended = stream.attempt.ended
        if not self._whole_proof or ended is None or self._continuation is not None:
            return b""
        return f": {trust.PROOF} {trust.proof(ended)}\n\n".encode()

    def _new_meter(self) -> Meter:
        return Meter(strip_usage=not (self._asked.wants_usage or self._whole_proof))


async def end(response: web.StreamResponse, tail: bytes) -> None:
    """Write the last bytes; a user who has left misses nothing that is paid for."""
    try:
        await response.write_eof(tail)
    except ConnectionResetError:
        return


async def keep_alive(write: Callable[[bytes], Awaitable[None]], every_s: float = KEEP_ALIVE_S) -> None:
    """Write a comment now and then, so that nothing between us and the user takes the connection for dead."""
    try:
        while True:
            await asyncio.sleep(every_s)
            await write(KEEP_ALIVE)
    except ConnectionResetError:
        return
