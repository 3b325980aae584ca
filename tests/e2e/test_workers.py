"""A gateway of two worker processes: one endpoint, one set of limits, one statement, whatever happens to a worker."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import yaml

from pocketnode.crypto import merkle
from pocketnode.localnet import plan
from pocketnode.localnet.plan import LLM, SUPPLIERS
from pocketnode.localnet.state import Layout
from tests.e2e.network import Localnet, described, running

pytestmark = pytest.mark.e2e

SETTLED_WITHIN_S = 100
RECORD_BYTES = 85
CLIENTS = 6
LEFT_MOST_S = 0.2
MODEL = "smollm2-135m"
AT_THE_BACKEND = "pocketnode_supplier_backend_in_flight{"
UNITS_MOST = 20  # of one request here, by the service's spec


@dataclass
class Gateway:
    """The gateway of a local network, as its operator sees it."""

    net: Localnet
    admin_url: str
    token: str

    @property
    def config(self) -> Path:
        return self.net.folder / "config" / "gateway.yaml"

    @property
    def records(self) -> Path:
        return self.net.folder / "data" / "gateway" / "records"

    async def admin(self, path: str, method: str = "GET", body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.token}"}
        url = self.admin_url + path
        async with aiohttp.ClientSession(headers=headers) as http, http.request(method, url, json=body) as answer:
            return await answer.json()

    async def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.admin("/status"))["workers"]
        return found

    async def ready_within(self, seconds: float) -> None:
        deadline_s = time.monotonic() + seconds
        while not all(worker["ready"] for worker in await self.workers()):
            assert time.monotonic() < deadline_s, await self.admin("/status")
            await asyncio.sleep(0.2)

    def keeper(self, worker: dict[str, Any]) -> int:
        """Return the process that started a worker."""
        return psutil.Process(worker["pid"]).ppid()

    def log(self) -> str:
        return (self.net.folder / "logs" / "gateway.log").read_text()


@dataclass
class Load:
    """What became of requests that were sent all the time."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("workers") / "localnet"
    with running(folder, "--degrade", "none", env={"POCKETNODE_GATEWAY__WORKERS": "2"}):
        net = described(folder)
        config = yaml.safe_load((folder / "config" / "gateway.yaml").read_text())
        token = Path(config["admin"]["token_file"]).read_text().strip()
        yield Gateway(net, f"http://{config['admin']['listen']}", token)


def asked() -> dict[str, Any]:
    """Return a request that no cache answers."""
    params = [f"0x{secrets.token_hex(20)}", "latest"]
    return {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": params}


async def post(http: aiohttp.ClientSession, net: Localnet, body: Any, key: str = "") -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key or net.api_key}"}
    async with http.post(f"{net.gateway_url}/rpc/eth", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def loaded(net: Localnet, clients: int = CLIENTS) -> AsyncIterator[Load]:
    """Send requests all the time, each client on a connection of its own that it keeps."""
    load, over = Load(), asyncio.Event()

    async def client() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
            while not over.is_set():
                try:
                    load.statuses[(await post(http, net, asked()))[0]] += 1
                except aiohttp.ClientError:
                    load.broken += 1
                await asyncio.sleep(0.02)

    clients_run = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield load
    finally:
        over.set()
        await asyncio.gather(*clients_run)


async def many(net: Localnet, count: int, key: str = "", body: Any = None) -> list[int]:
    """Send requests at once, each on a new connection."""
    connector = aiohttp.TCPConnector(force_close=True, limit=16)
    async with aiohttp.ClientSession(connector=connector) as http:
        answers = await asyncio.gather(*(post(http, net, body or asked(), key) for _ in range(count)))
    return [status for status, _ in answers]


async def test_requests_come_to_both_workers(gateway: Gateway) -> None:
    assert await many(gateway.net, 80) == [200] * 80
    workers = await gateway.workers()
    assert [worker["worker"] for worker in workers] == [1, 2]
    metrics = await text_of(gateway, "/metrics")
    for worker in ("1", "2"):
        assert f'pocketnode_gateway_attempts_total{{service="eth",verdict="good",worker="{worker}"}}' in metrics
    assert "pocketnode_gateway_workers 2.0" in metrics
    deadline_s, charted = time.monotonic() + 20, 0
    while charted < 80:  # what both counted comes to the dashboard's charts within seconds
        assert time.monotonic() < deadline_s, charted
        await asyncio.sleep(0.5)
        chart = await gateway.admin("/api/chart?span_s=300&service=eth")
        charted = sum(chart["series"].get("eth", {}).get("relays", []))


async def test_any_worker_proves_a_relay_of_any_worker_before_it_is_stated(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {gateway.net.api_key}"}
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        for _ in range(6):
            async with http.post(f"{gateway.net.gateway_url}/rpc/eth", json=asked()) as answer:
                digest = answer.headers["x-pocketnode-relay"]
            async with http.get(f"{gateway.net.gateway_url}/v1/relays/{digest}") as proof:
                facts = await proof.json()
            assert (facts["digest"], facts["verdict"]) == (digest, "good")
            record = bytes.fromhex(facts["record"][2:])
            path = [bytes.fromhex(node[2:]) for node in facts["path"]]
            assert merkle.verify(record, facts["place"], facts["size"], path, bytes.fromhex(facts["root"][2:]))


async def text_of(gateway: Gateway, path: str) -> str:
    headers = {"authorization": f"Bearer {gateway.token}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(gateway.admin_url + path) as answer:
        return await answer.text()


async def test_a_limit_holds_over_both_workers_and_a_restart_of_one(gateway: Gateway) -> None:
    body = {"name": "limited", "rules": {"requests_per_day": 50}}
    key = (await gateway.admin("/keys", "POST", body))["secret"]
    assert sorted(await many(gateway.net, 90, key)) == [200] * 50 + [429] * 40
    os.kill((await gateway.workers())[1]["pid"], signal.SIGKILL)
    await asyncio.sleep(1)
    assert (await gateway.admin("/status"))["ready"]  # the other one answers meanwhile
    await gateway.ready_within(30)
    assert await many(gateway.net, 30, key) == [429] * 30


async def test_a_killed_worker_breaks_its_own_connections_only_and_the_statement_is_whole(gateway: Gateway) -> None:
    seen: dict[str, dict[str, bytes]] = {}
    async with loaded(gateway.net) as load:
        await seeing(gateway, seen, 4)
        worker = (await gateway.workers())[0]
        os.kill(worker["pid"], signal.SIGKILL)
        await seeing(gateway, seen, 10)
    assert set(load.statuses) == {200}
    assert load.statuses[200] > 200
    assert load.broken <= CLIENTS  # one request in flight on each connection, at most
    again = (await gateway.workers())[0]
    assert again["restarts"] == worker["restarts"] + 1
    assert again["pid"] not in (None, worker["pid"])
    pot = max(seen, key=lambda pot: min(map(len, seen[pot].values())) if len(seen[pot]) == 2 else 0)
    session = await settled(gateway, pot)
    assert session["stated"] is True
    assert session["balanced"] is True
    whole = (gateway.records / f"{pot}.records").read_bytes()
    first, second = (seen[pot][f"worker-{number}"] for number in (1, 2))
    assert whole.startswith(first)
    assert second in whole
    assert len(whole) >= len(first) + len(second)
    assert not list(gateway.records.glob(f"worker-*/{pot}.records"))
    units: Counter[int] = Counter()
    for _, counted in struct.iter_unpack(">64xIQ9x", whole):
        units[_] += counted
    # What the killed worker had in flight it neither recorded nor stated: its suppliers claim it by their Responses.
    paid = sorted((supplier["units"], supplier["claimed"]) for supplier in session["suppliers"])
    for (got, claimed), recorded in zip(paid, sorted(filter(None, units.values())), strict=True):
        assert 0 <= got - recorded <= (CLIENTS * UNITS_MOST if claimed else 0)
    assert all(supplier["compensation"] == 0 for supplier in session["suppliers"])


async def seeing(gateway: Gateway, seen: dict[str, dict[str, bytes]], seconds: float) -> None:
    """Read what the workers have recorded, again and again: their files go when a session is stated."""
    over_s = time.monotonic() + seconds
    while time.monotonic() < over_s:
        for path in gateway.records.glob("worker-*/*.records"):
            try:
                raw = path.read_bytes()
            except FileNotFoundError:
                continue
            whole = raw[: len(raw) // RECORD_BYTES * RECORD_BYTES]
            if whole:
                seen.setdefault(path.stem, {})[path.parent.name] = whole
        await asyncio.sleep(0.05)


async def settled(gateway: Gateway, pot: str) -> dict[str, Any]:
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline_s:
        for session in await asyncio.to_thread(gateway.net.payouts):
            if session["pot"].removeprefix("0x") == pot:
                return session
        await asyncio.sleep(1)
    raise AssertionError(f"pot {pot} was not settled; the gateway's log ends with {gateway.log()[-2000:]}")


async def test_a_reload_reaches_every_worker_without_losing_a_request(gateway: Gateway) -> None:
    before = gateway.config.read_text()
    batch = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId", "params": []} for n in range(4)]
    keeper = gateway.keeper((await gateway.workers())[0])

    async def refused_batches() -> int:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            answers = await asyncio.gather(*(post(http, gateway.net, batch) for _ in range(20)))
        return sum(not isinstance(answer, list) for _, answer in answers)

    assert await refused_batches() == 0
    async with loaded(gateway.net) as load:
        await asyncio.sleep(1)
        gateway.config.write_text(yaml.safe_dump({**yaml.safe_load(before), "limits": {"batch_items": 3}}))
        os.kill(keeper, signal.SIGHUP)
        await asyncio.sleep(2)
        assert await refused_batches() == 20
        gateway.config.write_text("limits: {batch_items: many}")
        os.kill(keeper, signal.SIGHUP)
        await asyncio.sleep(2)
        assert await refused_batches() == 20
    assert (set(load.statuses), load.broken) == ({200}, 0)
    refusals = [json.loads(line) for line in gateway.log().splitlines() if "reload refused" in line]
    assert "batch_items" in refusals[0]["error"]
    gateway.config.write_text(before)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_who_leaves_stops_the_work_of_worker_supplier_and_model(gateway: Gateway, stream: bool) -> None:
    """The least of several times counts, since this machine does much else."""
    network = plan.read(Layout(gateway.net.folder))
    assert network is not None
    body = {"model": MODEL, "max_tokens": 1500, "stream": stream, "messages": [{"role": "user", "content": "Count."}]}
    # llama.cpp looks once a second whether who waits for a whole answer is still there.
    model_most_s = LEFT_MOST_S + (0 if stream else 1)
    admins, took_s = suppliers_of(gateway), []
    async with aiohttp.ClientSession() as http:
        for _ in range(12):
            left_s = await leave(gateway.net, http, network, body)
            await suppliers_free(http, admins)
            work_s = time.monotonic() - left_s
            await until_working(http, network, False)
            took_s.append((work_s, time.monotonic() - left_s))
            if work_s < LEFT_MOST_S and min(model_s for _, model_s in took_s) < model_most_s:
                return
    raise AssertionError(took_s)


async def leave(net: Localnet, http: aiohttp.ClientSession, network: plan.Plan, body: dict[str, Any]) -> float:
    """Ask, close the connection while the model works, and return when that was."""
    headers = {"authorization": f"Bearer {net.api_key}"}
    async with asyncio.timeout(60), aiohttp.ClientSession(headers=headers) as user:
        asking = asyncio.create_task(user.post(f"{net.gateway_url}/v1/chat/completions", json=body))
        await until_working(http, network, True)
        await asyncio.sleep(0.3)
        left_s = time.monotonic()
        if body["stream"]:
            (await asking).close()
        else:
            asking.cancel()
    return left_s


async def until_working(http: aiohttp.ClientSession, network: plan.Plan, working: bool) -> None:
    """Wait until the model works on something, or on nothing."""
    deadline_s = time.monotonic() + 20
    while True:
        async with http.get(f"{network.url(LLM)}/slots") as answer:
            if any(slot["is_processing"] for slot in await answer.json()) == working:
                return
        assert time.monotonic() < deadline_s, "the model goes on for nobody" if not working else "it is not asked"
        await asyncio.sleep(0.005)


def suppliers_of(gateway: Gateway) -> list[tuple[str, dict[str, str]]]:
    """Return where each supplier tells of itself, and what opens it."""
    configs = [yaml.safe_load((gateway.net.folder / "config" / f"{n}.yaml").read_text())["admin"] for n in SUPPLIERS]
    tokens = [Path(config["token_file"]).read_text().strip() for config in configs]
    return [
        (f"http://{config['listen']}/metrics", {"authorization": f"Bearer {token}"})
        for config, token in zip(configs, tokens, strict=True)
    ]


async def suppliers_free(http: aiohttp.ClientSession, admins: list[tuple[str, dict[str, str]]]) -> None:
    """Wait until no supplier has a request at the model, as each tells of itself."""

    async def busy(url: str, headers: dict[str, str]) -> bool:
        async with http.get(url, headers=headers) as answer:
            lines = [line for line in (await answer.text()).splitlines() if line.startswith(AT_THE_BACKEND)]
        assert any("smollm2" in line for line in lines)
        return any("smollm2" in line and not line.endswith(" 0.0") for line in lines)

    deadline_s = time.monotonic() + 10
    while any(await asyncio.gather(*(busy(*admin) for admin in admins))):
        assert time.monotonic() < deadline_s, "a supplier goes on for nobody"


async def test_no_worker_outlives_the_gateway(gateway: Gateway) -> None:
    workers = await gateway.workers()
    os.kill(gateway.keeper(workers[0]), signal.SIGKILL)
    deadline_s = time.monotonic() + 20
    while any(psutil.pid_exists(worker["pid"]) for worker in workers):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.1)
