"""One relay, looked up by its digest: what is answered proves itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pocketnode.crypto import merkle
from pocketnode.protocol.record import RelayRecord
from pocketnode.store.engine import open_store
from pocketnode.store.pots import Pot, PotStore
from pocketnode.store.records import RecordLog
from pocketnode.web.book import PotLine
from pocketnode.web.feed import Feed
from pocketnode.web.meter import Meter
from pocketnode.web.relays import Relays
from pocketnode.web.serve import Dashboard
from tests.web.fakes import FakeSource

GATEWAY = b"\x02" * 20


@dataclass
class Gateway:
    """Two sessions of records, the older one stated."""

    client: TestClient[web.Request, web.Application]
    log: RecordLog
    stated: dict[bytes, PotLine]
    pots: list[Pot]

    async def get(self, path: str) -> tuple[int, Any]:
        answer = await self.client.get(path)
        return answer.status, await answer.json()


def record(number: int, place: int) -> RelayRecord:
    digest = bytes([number]) + place.to_bytes(31, "big")
    return RelayRecord(digest, b"\x01" * 32, place % 3, 10 + place, 5, 9, 0)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    store, log = PotStore(open_store("sqlite://"), GATEWAY), RecordLog(tmp_path)
    pots = [Pot(b"\x01" * 20, b"eth".ljust(32, b"\x00"), number, bytes([number]) * 32, GATEWAY) for number in (3, 4)]
    for pot in pots:
        store.open(pot)
        for place in range(7):
            log.append(pot.id, record(pot.number, place))
        log.root(pot.id)
    line = PotLine(pots[0].id, GATEWAY, stated=True, relays_root=log.root(pots[0].id), block=70)
    line.transactions["statement"] = b"\x07" * 32
    stated = {pots[0].id: line}
    source = FakeSource()
    app = web.Application()
    Dashboard(source, Feed(Meter(), source, None), panels=[Relays(log, store, stated.get)]).attach(app)
    async with TestClient(TestServer(app)) as client:
        yield Gateway(client, log, stated, pots)
    log.close()


@pytest.mark.parametrize("place", range(7))
async def test_what_is_answered_proves_itself(gateway: Gateway, place: int) -> None:
    status, found = await gateway.get(f"/api/relays/0x{record(3, place).receipt.hex()}")
    assert status == 200
    raw, path = bytes.fromhex(found["record"][2:]), [bytes.fromhex(node[2:]) for node in found["path"]]
    assert merkle.verify(raw, found["place"], found["size"], path, bytes.fromhex(found["stated_root"][2:]))
    assert (found["session"], found["units"], found["statement_block"]) == (3, 10 + place, 70)


async def test_a_session_that_is_not_stated_says_so(gateway: Gateway) -> None:
    _, found = await gateway.get(f"/api/relays/0x{record(4, 2).receipt.hex()}")
    assert (found["stated_root"], found["statement"], found["service"]) == (None, None, "eth")


async def test_bytes_across_two_records_are_no_digest(gateway: Gateway) -> None:
    raw = (gateway.log.directory / f"{gateway.pots[0].id.hex()}.records").read_bytes()
    status, _ = await gateway.get(f"/api/relays/0x{raw[60:92].hex()}")
    assert status == 404


@pytest.mark.parametrize(("digest", "status"), [("0x" + "00" * 31, 400), ("zz", 400), ("0x" + "ee" * 32, 404)])
async def test_what_is_no_relay_is_refused(gateway: Gateway, digest: str, status: int) -> None:
    assert (await gateway.get(f"/api/relays/{digest}"))[0] == status


async def test_the_newest_come_first(gateway: Gateway) -> None:
    _, found = await gateway.get("/api/relays?limit=9")
    shown = [(one["session"], one["units"]) for one in found["relays"]]
    assert shown == [(4, 10 + place) for place in reversed(range(7))] + [(3, 16), (3, 15)]


async def test_records_that_are_gone_are_no_error(gateway: Gateway) -> None:
    for pot in gateway.pots:
        gateway.log.drop(pot.id)
    assert (await gateway.get("/api/relays"))[1] == {"relays": []}
