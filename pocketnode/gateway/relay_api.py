"""What anyone may see of a session that is over.

| path | answer |
|---|---|
| GET /v1/relays/{digest} | the record of an answer, with the path that proves it to be in its session's statement |
| GET /v1/records/{pot} | all records of a session, 85 bytes each, once it is stated (rule 5.18) |

The first needs an API key. The second needs none: a statement puts who served how much, and how well, on chain for
everyone, and records add times to that, but nothing of requests, answers or users. A few are given at once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from aiohttp import web

from pocketnode.errors import NotFound, Unavailable
from pocketnode.gateway.gate import REQUEST_ID, Gate
from pocketnode.gateway.openai_answers import refusal, shown
from pocketnode.gateway.ports import Proofs, RecordFiles
from pocketnode.gateway.refusal import INVALID, OVERLOADED, Reason, Refused
from pocketnode.store.parts import part_of

BYTES: Final = "application/octet-stream"
NO_RELAY: Final = Reason(404, "invalid_request_error", "relay_not_found", -32601)
NO_RECORDS: Final = Reason(404, "invalid_request_error", "records_not_found", -32601)
DOWNLOADS_MOST: Final = 8
DOWNLOAD_RETRY_S: Final = 10
DOWNLOAD_MOST_S: Final = 900.0
INDEX_DIGITS_MOST: Final = 10


class RelayApi:
    """Serves proofs to whoever has a key, and whole sessions' records to suppliers."""

    def __init__(self, gate: Gate, proofs: Proofs | None, files: RecordFiles | None = None) -> None:
        self._gate = gate
        self._proofs = proofs
        self._files = files
        self._downloads = 0

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
        return shown(facts, request_id, holder)

    async def records(self, request: web.Request) -> web.StreamResponse:
        """Send the file with a pot's records; HTTP ranges are understood."""
        request_id = self._gate.request_id(request)
        try:
            if self._downloads >= DOWNLOADS_MOST:
                raise Refused(OVERLOADED, f"{DOWNLOADS_MOST} sessions' records are being sent", DOWNLOAD_RETRY_S)
            path = await self._file(request.match_info["pot"])
        except Refused as refused:
            return refusal(refused, request_id)
        self._downloads += 1
        try:
            answer = web.FileResponse(path, headers={"Content-Type": BYTES, REQUEST_ID: request_id})
            async with asyncio.timeout(DOWNLOAD_MOST_S):  # who reads too slowly keeps others from theirs
                await answer.prepare(request)
            return answer
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            return answer
        finally:
            self._downloads -= 1

    async def part(self, request: web.Request) -> web.StreamResponse:
        """Send one supplier's part of a pot's records (rule 5.20), made while it is sent."""
        request_id = self._gate.request_id(request)
        try:
            if self._downloads >= DOWNLOADS_MOST:
                raise Refused(OVERLOADED, f"{DOWNLOADS_MOST} sessions' records are being sent", DOWNLOAD_RETRY_S)
            index = _index_of(request.match_info["index"])
            path = await self._file(request.match_info["pot"])
        except Refused as refused:
            return refusal(refused, request_id)
        self._downloads += 1
        try:
            answer = web.StreamResponse(headers={"Content-Type": BYTES, REQUEST_ID: request_id})
            async with asyncio.timeout(DOWNLOAD_MOST_S):
                await answer.prepare(request)
                pieces = part_of(path, index)
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    await answer.write(piece)
                await answer.write_eof()
            return answer
        except (TimeoutError, Unavailable):
            if request.transport is not None:
                request.transport.abort()  # or what is here would be taken for all of it
            return answer
        finally:
            self._downloads -= 1

    async def _file(self, text: str) -> Path:
        pot = _hash_of(text)
        if pot is None:
            raise Refused(INVALID, "a pot's id is 0x and 64 hex digits", param="pot")
        if self._files is None:
            raise Refused(NO_RECORDS, "this gateway keeps no records that it could give")
        try:
            return await self._files.of(pot)
        except NotFound as error:
            raise Refused(NO_RECORDS, str(error)) from error

    async def _found(self, text: str) -> dict[str, object]:
        digest = _hash_of(text)
        if digest is None:
            raise Refused(
                INVALID, "a relay's digest is 0x and 64 hex digits: the header x-pocketnode-relay", param="digest"
            )
        if self._proofs is None:
            raise Refused(NO_RELAY, "this gateway keeps no records that it could prove")
        try:
            return await self._proofs.proven(digest)
        except NotFound as error:
            raise Refused(NO_RELAY, str(error)) from error


def _index_of(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= INDEX_DIGITS_MOST and int(text) < 2**32):
        raise Refused(INVALID, "a supplier's index is a whole number below 2^32", param="index")
    return int(text)


def _hash_of(text: str) -> bytes | None:
    """Return the 32 bytes that a path names, or None."""
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return None
    return found if len(found) == 32 else None
