"""`GET /v1/relays/{digest}`: the record of an answer, with the path that proves it to be in its session's statement."""

from __future__ import annotations

import json
from typing import Final

from aiohttp import web

from pocketnode.errors import NotFound
from pocketnode.gateway.gate import JSON, REQUEST_ID, Gate
from pocketnode.gateway.openai_api import refusal
from pocketnode.gateway.ports import Proofs
from pocketnode.gateway.refusal import INVALID, Reason, Refused

NO_RELAY: Final = Reason(404, "invalid_request_error", "relay_not_found", -32601)


class RelayApi:
    """Serves proofs to whoever has a key."""

    def __init__(self, gate: Gate, proofs: Proofs | None) -> None:
        self._gate = gate
        self._proofs = proofs

    async def get(self, request: web.Request) -> web.Response:
        """Return the record, its place and path."""
        request_id = self._gate.request_id(request)
        try:
            holder = await self._gate.holder(request)
            reservation = holder.reserve(self._gate.now_s(), 0)
            try:
                facts = await self._found(request.match_info["digest"])
            finally:
                reservation.settle(0)
        except Refused as refused:
            return refusal(refused, request_id)
        return web.Response(body=json.dumps(facts).encode(), content_type=JSON, headers={REQUEST_ID: request_id})

    async def _found(self, text: str) -> dict[str, object]:
        try:
            digest = bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise Refused(
                INVALID, "a relay's digest is 0x and 64 hex digits: the header x-pocketnode-relay", param="digest"
            )
        if self._proofs is None:
            raise Refused(NO_RELAY, "this gateway keeps no records that it could prove")
        try:
            return await self._proofs.proven(digest)
        except NotFound as error:
            raise Refused(NO_RELAY, str(error)) from error
