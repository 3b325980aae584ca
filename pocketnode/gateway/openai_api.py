"""The OpenAI routes: chat, completions, embeddings. Bytes pass as they are; only price and route are read."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import orjson
from aiohttp import web

from pocketnode.errors import PocketError
from pocketnode.gateway import trust
from pocketnode.gateway.access import Holder, Reservation
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.gate import JSON, REQUEST_ID, Gate, limit_headers
from pocketnode.gateway.judging import Judgement
from pocketnode.gateway.ledger import Ledger
from pocketnode.gateway.llm_codec import Asked, counts, holds, judge_whole, read_request, with_model
from pocketnode.gateway.llm_stream import Agrees, Streaming, end
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.openai_answers import covers, internal, refusal
from pocketnode.gateway.orders import Answer, Order, Stream
from pocketnode.gateway.recount import Recount, Told, texts_of
from pocketnode.gateway.refusal import (
    INTERNAL,
    NO_MODEL,
    NO_SUPPLIER,
    NOT_READY,
    TIMED_OUT,
    Refused,
    bug,
)
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.reporting import LEFT, PARENT, Reporting
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.sse import error_event
from pocketnode.gateway.trail import Trail
from pocketnode.gateway.waiting import Waiting
from pocketnode.gateway.watching import UNROUTED, Watched
from pocketnode.gateway.whole import whole
from pocketnode.protocol.payload import RequestHead, encode_request
from pocketnode.protocol.quality import Verdict
from pocketnode.services.spec import Tokens

EVENT_STREAM: Final = "text/event-stream"
STREAM_HEADERS: Final = {"Content-Type": EVENT_STREAM, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
DEFAULT_CONTEXT: Final = 1_000_000
FALL_BACK_ON: Final = (NO_SUPPLIER, NOT_READY, TIMED_OUT)


@dataclass(slots=True)
class Call:
    """One request on its way."""

    path: str
    body: bytes
    asked: Asked
    service: Service
    tokens: Tokens
    holder: Holder
    request_id: str
    whole_proof: bool
    trail: Trail
    renamed: bool = False  # another model is asked than the user named
    waiting: Waiting | None = None  # of a stream
    again: bool = False  # counted as a request already, with a model that failed


class OpenAiApi:
    """Answers what OpenAI's clients ask."""

    def __init__(
        self,
        gate: Gate,
        catalog: Catalog,
        sessions: Sessions,
        relaying: Relaying,
        ledger: Ledger,
        recount: Recount,
        metrics: Metrics,
        reporting: Reporting,
    ) -> None:
        self._gate = gate
        self._catalog = catalog
        self._sessions = sessions
        self._relaying = relaying
        self._ledger = ledger
        self._recount = recount
        self._metrics = metrics
        self._reporting = reporting

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat, a completion or embeddings, whole or streamed."""
        request_id = self._gate.request_id(request)
        trail = Trail(request.path, request.headers.get(PARENT))
        waiting: Waiting | None = None
        try:
            self._gate.enter()
        except Refused as refused:
            self._metrics.turned_away(UNROUTED, refused)
            return refusal(refused, request_id)
        try:
            call = await self._read(request, request_id, trail)
            if call.asked.stream:
                waiting = call.waiting = self._waiting(request, call)
            with self._metrics.watch(call.service.name) as watched:
                response = await self._answer_or_fall_back(request, call, watched)
            trail.status = trail.status or response.status
            return response
        except Refused as refused:
            trail.status = refused.reason.status
            return await _told_late(waiting, refused) or refusal(refused, request_id, trail)
        except Exception:
            trail.status = INTERNAL.status
            response = internal(request_id, trail)
            return await _told_late(waiting, bug()) or response
        finally:
            if waiting is not None:
                waiting.close()
            self._gate.leave()
            self._reporting.ended(trail, request_id)

    # ---- reading

    async def _read(self, request: web.Request, request_id: str, trail: Trail) -> Call:
        try:
            return await self._read_checked(request, request_id, trail)
        except Refused as refused:
            self._metrics.turned_away(UNROUTED, refused)
            raise

    async def _read_checked(self, request: web.Request, request_id: str, trail: Trail) -> Call:
        holder = await self._gate.holder(request)
        trail.key, trail.holder = holder.key.id, holder
        body = given = await self._gate.body(request)
        path = request.path
        asked = read_request(path, body, DEFAULT_CONTEXT)
        service, model = self._route(asked.model)
        if covers(holder, asked.model) is False:
            holder.check_model(asked.model)
        holder.check(time.time(), service.name, request.headers.get("Origin"), request.remote)
        tokens = service.spec.tokens
        assert tokens is not None
        if model != asked.model:
            body = with_model(body, model)
        asked = read_request(path, body, tokens.context)
        whole_proof = request.headers.get(trust.WANTS_PROOF) is not None
        trail.service, trail.what = service.name, asked.model
        renamed = body is not given
        return Call(path, body, asked, service, tokens, holder, request_id, whole_proof, trail, renamed)

    def _route(self, name: str) -> tuple[Service, str]:
        """Return the service and model that answer a name: itself or its alias, else the first fall-back served."""
        model = self._catalog.model(name)
        candidates = [model, *self._catalog.fallbacks.get(model, ())]
        known = [(self._catalog.models[m], m) for m in candidates if m in self._catalog.models]
        if not known:
            raise Refused(NO_MODEL, f"the model {name[:128]!r} does not exist", param="model")
        return next(((s, m) for s, m in known if self._sessions.served(s)), known[0])

    async def _answer_or_fall_back(self, request: web.Request, call: Call, watched: Watched) -> web.StreamResponse:
        """Answer with the model that is asked for, or with its fall-backs, one after the other, where nobody can."""
        tried = {call.asked.model}
        others = iter(self._catalog.fallbacks.get(call.asked.model, ()))
        while True:
            try:
                return await self._answer(request, call, watched)
            except Refused as refused:
                following = next((m for m in others if m not in tried and self._may_use(call.holder, m)), None)
                if refused.reason not in FALL_BACK_ON or following is None:
                    raise
                tried.add(following)
                call = self._with_model(call, following)

    def _may_use(self, holder: Holder, model: str) -> bool:
        service = self._catalog.models.get(model)
        services = holder.rules.services
        return service is not None and covers(holder, model) and (not services or service.name in services)

    def _with_model(self, call: Call, model: str) -> Call:
        """Return a call for another model."""
        service = self._catalog.models[model]
        tokens = service.spec.tokens
        assert tokens is not None
        body = with_model(call.body, model)
        call.trail.service, call.trail.what = service.name, model
        asked = read_request(call.path, body, tokens.context)
        return replace(call, body=body, asked=asked, service=service, tokens=tokens, renamed=True, again=True)

    async def _answer(self, request: web.Request, call: Call, watched: Watched) -> web.StreamResponse:
        hold, most = holds(call.asked, call.tokens)
        reservation = call.holder.reserve(time.time(), most, _tokens_most(call.asked), 0 if call.again else 1)
        head = encode_request(RequestHead("POST", call.path, {"content-type": JSON}))
        used = _Used()

        def check(status: int, body: bytes, units: int) -> Judgement:
            judgement, usage = judge_whole(call.path, call.asked, call.tokens, body, units)
            used.prompt, used.output = counts(usage)
            return judgement

        current = partial(self._sessions.active, call.service, call.holder.application)
        order = Order(current, call.asked.model, head, call.body, hold, most, check, trail=call.trail.attempts)
        order.prefix = call.asked.prefix
        agrees = self._agrees(call)
        if agrees is not None and not call.asked.stream:
            order.recount = partial(_agrees_whole, agrees)
        try:
            if call.asked.stream:
                return await self._stream(request, call, order, used, agrees, watched)
            return self._whole(request, call, await self._relaying.whole(order), used)
        finally:
            self._settle(call, reservation, used)

    def _agrees(self, call: Call) -> Agrees | None:
        """Return what holds a supplier's count of tokens against ours, if this gateway can count this model's."""
        if not self._recount.covers(call.asked.model):
            return None
        return partial(self._recount.agrees, call.asked.model, call.path, call.body)

    # ---- answering

    def _whole(self, request: web.Request, call: Call, answer: Answer, used: _Used) -> web.Response:
        status = answer.head.status
        body = answer.body
        if status >= 400 and not body.lstrip().startswith(b"{"):
            raise Refused(INTERNAL, f"the backend answered with HTTP {status}")
        used.book(answer.attempt.units, answer.attempt.seat.supplier.price)
        call.trail.charge(used.units, used.worth)
        headers = {REQUEST_ID: call.request_id, **trust.headers_of(answer.attempt, answer.head)}
        if call.renamed:
            headers[trust.MODEL] = call.asked.model
        headers.update(call.trail.headers())
        headers.update(limit_headers(call.holder))
        return whole(request, body, status, headers)

    async def _stream(
        self, request: web.Request, call: Call, order: Order, used: _Used, agrees: Agrees | None, watched: Watched
    ) -> web.StreamResponse:
        stream = await self._relaying.stream(order)
        begun = await call.waiting.over() if call.waiting is not None else None
        watched.begun()
        if stream.head.status >= 400:
            refused = await _drained(stream)
            answer = self._whole(request, call, refused, used)
            if begun is not None:
                await end(begun, b"data: " + b" ".join(refused.body.splitlines()) + b"\n\n")
            return begun or answer
        attempt = stream.attempt
        headers = {REQUEST_ID: call.request_id, **STREAM_HEADERS, **limit_headers(call.holder)}
        headers.update(call.trail.begun())
        if (kind := stream.head.headers.get("content-type", "")).startswith(EVENT_STREAM):
            headers["Content-Type"] = kind  # as it is signed
        if call.renamed:
            headers[trust.MODEL] = call.asked.model
        headers[trust.SUPPLIER], headers[trust.SESSION] = attempt.seat.supplier_hex, attempt.active.session_hex
        response = begun or web.StreamResponse(headers=headers)
        streaming = Streaming(
            self._relaying,
            order,
            call.asked,
            call.tokens,
            call.service.spec.timeout_s,
            call.whole_proof,
            self._recount,
            agrees,
            self._gate.limits.keep_alive_s,
        )
        try:
            await streaming.run(stream, request, response)
            watched.broken = not streaming.whole
        except ConnectionResetError:
            call.trail.status = LEFT  # nobody is there to be told of an error
        finally:
            used.prompt, used.output = counts(streaming.meter.usage or {})
            attempt = streaming.attempt or attempt
            used.book(attempt.units, attempt.seat.supplier.price)
            call.trail.charge(used.units, used.worth)
        return response

    def _waiting(self, request: web.Request, call: Call) -> Waiting:
        headers = {REQUEST_ID: call.request_id, **STREAM_HEADERS, **limit_headers(call.holder)}
        return Waiting(request, headers, self._gate.limits.keep_alive_s)

    def _settle(self, call: Call, reservation: Reservation, used: _Used) -> None:
        call.trail.prompt_tokens, call.trail.output_tokens = (used.prompt, used.output) if used.units else (0, 0)
        # What a supplier says of an answer that was not taken counts for nothing.
        reservation.settle(used.units, used.prompt + used.output if used.units else 0)
        if used.units:
            self._ledger.add(
                call.holder.key.id,
                call.service.name,
                call.asked.model,
                used.units,
                used.worth,
                used.prompt,
                used.output,
            )


@dataclass(slots=True)
class _Used:
    """What one request came to."""

    units: int = 0
    worth: int = 0
    prompt: int = 0
    output: int = 0

    def book(self, units: int, price: int) -> None:
        self.units, self.worth = units, units * price


async def _told_late(waiting: Waiting | None, refused: Refused) -> web.StreamResponse | None:
    """Tell of a refusal in a stream that has begun; None where none has."""
    response = await waiting.over() if waiting is not None else None
    if response is not None:
        await end(response, error_event(refused))
    return response


async def _agrees_whole(agrees: Agrees, answer: Answer) -> bool:
    body = orjson.loads(answer.body)
    told = Told(answer.attempt.seat.supplier_hex, *counts(body["usage"]))
    return await agrees(texts_of(body.get("choices")), told)


def _tokens_most(asked: Asked) -> int:
    return asked.body_bytes // 4 + (asked.output_most if asked.named else 0)


async def _drained(stream: Stream) -> Answer:
    """Return the whole of an answer that is an error of the user's."""
    parts: list[bytes] = []
    try:
        while (part := await stream.read()) is not None:
            parts.append(part)
    except asyncio.CancelledError:
        await stream.attempt.cancel()
        raise
    except PocketError as error:
        stream.attempt.failed(error)
        raise Refused(NO_SUPPLIER, "the supplier broke off", retry_after_s=1) from error
    stream.attempt.settle(Verdict.NOBODY)
    return Answer(stream.head, b"".join(parts), stream.attempt, stream.attempts)
