"""A market of processes of the bench's own, without a chain: what a gateway costs by suppliers, sessions and workers.

The gateway is the real daemon with everything on: keys, limits, lanes, signatures, verification, records, scores.
Sessions are computed instead of read from a chain, so that a thousand of them are there at once. Suppliers are real
lanes over gRPC that sign at once what a backend would have said; or, where the gateway alone is to be measured, such
answers within its own process.

`python -m bench.lab gateway FOLDER NUMBER` and `supplier FOLDER` are its processes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from sqlalchemy import insert

from bench.canned import CannedStream, NoChannel
from pocketnode.cli.logs import log_to_stderr
from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key
from pocketnode.daemon import spare_collector, stop_on_signals
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import GatewayDaemon, Outside, Place
from pocketnode.gateway.shared import Shared
from pocketnode.gateway.workers import end_with_parent
from pocketnode.localnet.ports import HOST
from pocketnode.protocol.payload import AnswerHead, encode_answer
from pocketnode.protocol.session import end_of, session_id, start_of
from pocketnode.protocol.types import (
    ZERO32,
    Grant,
    Params,
    Session,
    SessionSupplier,
    SignedReceipt,
    SignedResponse,
)
from pocketnode.settlement.records import SessionRecords
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.gathering import worker_folder
from pocketnode.store.keys import api_keys, hash_of
from pocketnode.store.pots import PotStore
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import ServingLocks
from pocketnode.transport.answers import KeptAnswers
from pocketnode.transport.client import Lane
from pocketnode.transport.link import Link
from pocketnode.transport.links import Links
from pocketnode.transport.ports import LaneTerms, Opening, Relay, Served
from pocketnode.transport.server import RelayServer

DOMAIN: Final = Domain(31337, b"\x11" * 20)
GATEWAY: Final = Key(keccak(b"lab gateway"))
PARAMS: Final = Params(1, 10_000, 64, 2, 20, 20, 100_000, 200, 2000, 5000)
HEAD: Final = 5_000
PRICE: Final = 1_000_000
CREDIT: Final = 10**12
TOKEN: Final = "lab"
OK: Final = encode_answer(AnswerHead(200, {"content-type": "application/json"}))
BLOCK: Final = b"0x3e8"
RESULT: Final = b"0x" + b"ab" * 1000  # 2 kB


@dataclass(frozen=True, slots=True)
class Lab:
    """What its processes are told.

    Parameters
    ----------
    supplier_ports : one for each supplier: they stand for operators of their own, who share nothing.
    sessions : as many applications, each with a session of its own.
    canned : answers come from within the gateway.
    """

    port: int
    supplier_ports: list[int]
    sessions: int = 1
    workers: int = 1
    canned: bool = False

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls(**json.loads((folder / "lab.json").read_text()))

    def write(self, folder: Path) -> None:
        """Write it, and the API keys of all applications at once."""
        (folder / "lab.json").write_text(json.dumps(asdict(self)))
        (folder / "token").write_text(TOKEN)
        engine = open_store(sqlite_url(folder / "gateway.db"))
        rows = [
            {
                "id": f"lab{number}",
                "hash": hash_of(secret_of(number)),
                "name": "lab",
                "created_s": 0,
                "rules": json.dumps({"application": f"0x{application(number).hex()}"}),
            }
            for number in range(self.sessions)
        ]
        with engine.begin() as tx:
            tx.execute(insert(api_keys), rows)
        engine.dispose()


def secret_of(number: int) -> str:
    return f"pn_lab_{number}"


def application(number: int) -> bytes:
    return keccak(b"lab application %d" % number)[12:]


def supplier_key(number: int) -> Key:
    return Key(keccak(b"lab supplier %d" % number))


class LabMarket:
    """Sessions as the chain would give them; implements the gateway's `Market`."""

    head = HEAD

    def __init__(self, lab: Lab) -> None:
        self._listed = tuple(
            SessionSupplier(index, 1 + index, supplier_key(index).address, PRICE, f"{HOST}:{port}", ZERO32)
            for index, port in enumerate(lab.supplier_ports)
        )

    def number_now(self) -> int:
        return 0

    async def params(self, number: int) -> Params:
        return PARAMS

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        bounds = start_of(number, PARAMS), end_of(number, PARAMS)
        found = session_id(application, service, number)
        return Session(found, application, service, number, *bounds, True, self._listed)

    async def grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        return Grant(10**18, number)

    async def owner(self, registration: int) -> bytes:
        return keccak(b"lab owner %d" % registration)[12:]


class WireLanes:
    """Opens lanes to the lab's supplier process."""

    def __init__(self) -> None:
        self._links = Links(GATEWAY, DOMAIN)

    async def open(self, opening: Opening, endpoint: str, fingerprint: bytes) -> Lane:
        return await self._links.open(opening, endpoint, fingerprint)


class CannedLanes:
    """Opens lanes that end within this process."""

    def __init__(self, lab: Lab) -> None:
        self._keys = {key.address: key for key in map(supplier_key, range(len(lab.supplier_ports)))}

    async def open(self, opening: Opening, endpoint: str, fingerprint: bytes) -> Lane:
        stream = CannedStream(opening, self._keys[opening.supplier], DOMAIN, OK, answer_to, CREDIT)
        lane = Lane(opening, Link(stream, NoChannel(), endpoint), GATEWAY, DOMAIN, KeptAnswers())
        await lane.open()
        return lane


def answer_to(body: bytes) -> tuple[bytes, int]:
    """Return the answer to one JSON-RPC request, and its units."""
    asked = orjson.loads(body)
    result = BLOCK if asked["method"] == "eth_blockNumber" else RESULT
    return b'{"jsonrpc":"2.0","id":' + orjson.dumps(asked["id"]) + b',"result":"' + result + b'"}', 1


class _Account:
    """Trusts the gateway."""

    terms = LaneTerms(CREDIT, max_in_flight=100_000)

    def hold(self, units: int) -> None: ...

    def release(self, held: int, served: int) -> None: ...

    def acknowledge(self, receipt: SignedReceipt, gained: int) -> None: ...

    def responded(self, receipt: SignedReceipt, response: SignedResponse) -> None: ...

    def lane_closed(self, lane: bytes) -> None: ...


class _Answerer:
    async def admit(self, opening: Opening) -> _Account:
        return _Account()

    async def answer(self, relay: Relay) -> Served:
        body, units = answer_to(relay.body)
        await relay.start(OK)
        await relay.write(body)
        return Served(units, ZERO32)


async def supplier(folder: Path) -> None:
    """Run all suppliers, each on a listener of its own."""
    stop, lab = stop_on_signals(), Lab.read(folder)
    servers = []
    for index, port in enumerate(lab.supplier_ports):
        servers.append(RelayServer(_Answerer(), [supplier_key(index)], DOMAIN, max_lanes=1_000_000))
        await servers[-1].start(f"{HOST}:{port}")
    spare_collector()
    await stop.wait()
    await asyncio.gather(*(server.drain(0.2) for server in servers))


async def gateway(folder: Path, number: int) -> None:
    """Run one worker."""
    stop, lab = stop_on_signals(), Lab.read(folder)
    end_with_parent(stop, 2.0)
    records = folder / "records"
    engine = open_store(sqlite_url(folder / "gateway.db"))
    log = RecordLog(worker_folder(records, number))
    kept = SessionRecords(log, PotStore(engine, GATEWAY.address), GATEWAY.address, ServingLocks(records))
    lanes = CannedLanes(lab) if lab.canned else WireLanes()
    outside = Outside(
        GATEWAY.address,
        LabMarket(lab),
        lanes,
        kept,
        engine,
        shared=Shared.opened(records, number, lab.workers),
        name=str(number),
        place=Place(f"{HOST}:{lab.port}", folder / f"{number}.sock"),
    )
    jobs = {"records": log.run, "pots": kept.run}
    async with GatewayDaemon(_config(folder, lab), outside, jobs) as daemon:
        spare_collector()
        await daemon.run(stop)
    engine.dispose()


def _config(folder: Path, lab: Lab) -> GatewayConfig:
    applications = [
        {"address": f"0x{application(number).hex()}", "services": ["eth"]} for number in range(lab.sessions)
    ]
    content: dict[str, Any] = {
        "deployment": "none",
        "rpc": ["http://127.0.0.1:1"],
        "keystore": "none",
        "password_file": "none",
        "applications": applications,
        "listen": f"{HOST}:{lab.port}",
        "admin": {"listen": f"{HOST}:0", "token_file": "token"},
    }
    return GatewayConfig.parse(content, folder)


def main(role: str, folder: Path, *number: str) -> None:
    log_to_stderr("warning", as_json=True)
    from uvloop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(supplier(folder) if role == "supplier" else gateway(folder, int(number[0])))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
