"""What workers share through files and the store: two daemons over one market, as two worker processes would be."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from pocketnode.errors import ConfigError, PocketError
from pocketnode.gateway.catalog import catalog_of
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import GatewayDaemon, Outside
from pocketnode.gateway.keeping import ScoreKeeping
from pocketnode.gateway.merging import explained_of, exposition_of, sessions_of
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.noted import NotedFilters, NotedHeads
from pocketnode.gateway.reloading import FIXED, LIVE, Reloading
from pocketnode.gateway.scoreboard import Scoreboard
from pocketnode.gateway.shared import Shared
from pocketnode.protocol.quality import Verdict
from pocketnode.store.notes import Notes
from pocketnode.store.scores import ScoreStore
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start, configured, until
from tests.gateway.market import GATEWAY, Kept, Lanes, node, reply_json


@asynccontextmanager
async def beside(gateway: Running, folder: Path, worker: int, **config: Any) -> AsyncIterator[Running]:
    """Run a second worker of a gateway in this process: the same suppliers, store and shared folder."""
    shared = Shared.opened(folder / "records", worker, workers=2)
    kept = Kept()
    outside = Outside(GATEWAY.address, gateway.market, Lanes(), kept, gateway.engine, shared=shared, name=str(worker))
    async with GatewayDaemon(configured(folder, **config), outside) as daemon:
        stop = asyncio.Event()
        task = asyncio.create_task(daemon.run(stop))
        await asyncio.wait_for(daemon.started.wait(), 5)
        await until(lambda: not daemon.status.missing())
        try:
            yield replace(gateway, daemon=daemon, kept=kept, stop=stop, task=task)
        finally:
            stop.set()
            await task


async def get_code(gateway: Running, number: int) -> int:
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getCode", "params": [hex(number), "0x1"]}
    return (await gateway.post("/rpc/eth", body))[0]


async def test_a_limit_is_shared_exactly_and_kept_over_a_restart(start: Start, tmp_path: Path) -> None:
    gateway = await start(rules='{"requests_per_day": 30, "concurrency": 64}')
    async with beside(gateway, tmp_path, 1) as one:
        async with beside(gateway, tmp_path, 2) as other:
            statuses = await asyncio.gather(*(get_code((one, other)[n % 2], n) for n in range(50)))
            assert sorted(statuses) == [200] * 30 + [429] * 20
        async with beside(gateway, tmp_path, 2) as again:
            assert await get_code(again, 99) == 429


@pytest.mark.parametrize("most", [5, 300])
async def test_requests_at_once_are_limited_over_all_workers(start: Start, tmp_path: Path, most: int) -> None:
    gateway = await start(suppliers=1)
    going = asyncio.Event()

    async def waits(relay: Relay) -> Served:
        await going.wait()
        return await node(relay)

    gateway.suppliers[0].answers["eth"] = waits
    limits = {"concurrency": most}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        beside(replace(gateway, http=http), tmp_path, 1, limits=limits) as one,
        beside(replace(gateway, http=http), tmp_path, 2, limits=limits) as other,
    ):
        for _ in range(2):  # what was drawn before is there again
            asking = [asyncio.create_task(get_code((one, other)[n % 3 == 0], n)) for n in range(most + 40)]
            await until(lambda asking=asking: sum(task.done() for task in asking) >= 40)  # type: ignore[misc]
            assert one.daemon.gate.in_flight + other.daemon.gate.in_flight <= most
            going.set()
            statuses = Counter(await asyncio.gather(*asking))
            going.clear()
            assert set(statuses) == {200, 503}
            assert statuses[200] == most if most < 64 * 2 else most * 0.9 <= statuses[200] <= most
        alone = [asyncio.create_task(get_code(one, n)) for n in range(most)]
        await until(lambda: one.daemon.gate.in_flight >= most * 0.9)
        going.set()
        assert Counter(await asyncio.gather(*alone))[200] >= most * 0.9


async def test_what_fails_is_given_back_to_both(start: Start, tmp_path: Path) -> None:
    gateway = await start(rules='{"units_per_day": 100000}')
    async with beside(gateway, tmp_path, 1) as one, beside(gateway, tmp_path, 2) as other:
        for supplier in gateway.suppliers:
            supplier.answers["eth"] = lambda relay: reply_json(relay, {"nonsense": 1}, 10)
        await asyncio.gather(*(get_code((one, other)[n % 2], n) for n in range(6)))
        assert one.daemon._outside.shared.counters is not other.daemon._outside.shared.counters
        holder = await other.daemon.gate.access.holder(gateway.secret)
        assert holder._left(holder.windows[0], time.time()) == 100_000


async def test_a_cap_is_not_exceeded_by_both_together(start: Start, tmp_path: Path) -> None:
    gateway = await start()
    gateway.market.cap = 450  # base units: 45 relays of 10 units at a price of 1 each
    async with beside(gateway, tmp_path, 1) as one, beside(gateway, tmp_path, 2) as other:
        for n in range(60):
            await get_code((one, other)[n % 2], n)
        await asyncio.sleep(0.7)  # each leaves to the other what it spares
        for n in range(60, 80):
            await get_code((one, other)[n % 2], n)
        spent = [sum(active.purse.spent for active in w.daemon.sessions.all()) for w in (one, other)]
        price = gateway.suppliers[0].price
        assert sum(spent) == sum(r.units for w in (one, other) for r in w.records()) * price
        assert 440 * 1_000_000 <= sum(spent) <= 450 * 1_000_000
        assert min(spent) > 0


async def test_a_restarted_worker_knows_what_it_spent(start: Start, tmp_path: Path) -> None:
    gateway = await start()
    async with beside(gateway, tmp_path, 1) as one:
        for n in range(5):
            await get_code(one, n)
        before = next(a.purse for a in one.daemon.sessions.all() if a.service.name == "eth")
    shared = Shared.opened(tmp_path / "records", 1, 2)
    assert shared.caps.own(before._id) >= before.spent > 0


async def test_a_client_never_sees_the_head_go_back_on_another_worker(start: Start, tmp_path: Path) -> None:
    gateway = await start()
    head = [1000]

    async def lagging(relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": hex(head[0])}, 10)

    for supplier in gateway.suppliers:
        supplier.answers["eth"] = lagging
    async with beside(gateway, tmp_path, 1) as one, beside(gateway, tmp_path, 2) as other:
        assert (await one.rpc("eth_blockNumber"))["result"] == hex(1000)
        head[0] = 995
        assert (await other.rpc("eth_blockNumber"))["result"] == hex(1000)
        head[0] = 1001
        await asyncio.sleep(0.3)
        assert (await other.rpc("eth_blockNumber"))["result"] == hex(1001)
        head[0] = 996
        await asyncio.sleep(0.3)
        assert (await one.rpc("eth_blockNumber"))["result"] == hex(1001)


async def test_a_filter_is_found_whichever_worker_is_reached(start: Start, tmp_path: Path) -> None:
    gateway = await start()

    def keeping(number: int) -> Any:
        async def answer(relay: Relay) -> Served:
            asked = orjson.loads(relay.body)
            made = {"eth_newFilter": hex(number), "eth_getFilterChanges": [hex(number)]}
            body = {"jsonrpc": "2.0", "id": asked["id"], "result": made[asked["method"]]}
            return await reply_json(relay, body, 10)

        return answer

    for number, supplier in enumerate(gateway.suppliers):
        supplier.answers["eth"] = keeping(number + 1)
    async with beside(gateway, tmp_path, 1) as one, beside(gateway, tmp_path, 2) as other:
        for n in range(12):
            maker, asker = ((one, other), (other, one))[n % 2]
            made = (await maker.rpc("eth_newFilter", {}))["result"]
            assert (await asker.rpc("eth_getFilterChanges", made))["result"] == [made]


def test_what_is_noted_of_heads_and_filters_is_seen_by_others(tmp_path: Path) -> None:
    now_s = [1e9]
    one, other = (NotedHeads(Notes(tmp_path / "notes"), "eth", lambda: now_s[0]) for _ in range(2))
    one.tell(100)
    other.tell(90)
    assert (one.head(), other.head()) == (100, 100)
    now_s[0] += 61
    assert one.head() == 0
    other.tell(90)
    assert one.head() == 90
    filters = [NotedFilters(Notes(tmp_path / "notes")) for _ in range(2)]
    filters[0].note("key", "eth", "0x1", b"\x07" * 20)
    assert filters[1].operator("key", "eth", "0x1") == b"\x07" * 20
    assert filters[1].operator("another", "eth", "0x1") is None


async def test_scores_of_all_workers_add_up_and_survive(engine: Engine) -> None:
    now_s = [1000.0]
    operator = b"\x01" * 20
    boards = [Scoreboard(lambda: now_s[0]) for _ in range(2)]
    keepings = [ScoreKeeping(b, ScoreStore(engine, str(n)), 1, lambda: now_s[0]) for n, b in enumerate(boards)]
    for board, verdict, times in ((boards[0], Verdict.GOOD, 30), (boards[1], Verdict.FAULT, 10)):
        for _ in range(times):
            board.score("eth", "quick", operator).add(verdict, 20.0, now_s[0])
    for _ in range(2):
        for keeping in keepings:
            await keeping.turn()
    wholes = [board.whole("eth", "quick", operator, now_s[0]) for board in boards]
    assert [(w.passes, w.tries, w.traffic, w.latency_ms) for w in wholes] == [(30.0, 40.0, 40.0, 20.0)] * 2
    again = Scoreboard(lambda: now_s[0])
    await ScoreKeeping(again, ScoreStore(engine, "1"), 1).restore()
    assert again.score("eth", "quick", operator).tries == 10.0
    assert again.whole("eth", "quick", operator, now_s[0]).tries == 40.0


async def test_what_workers_tell_is_shown_as_one(start: Start, tmp_path: Path) -> None:
    gateway = await start()
    async with beside(gateway, tmp_path, 1) as one, beside(gateway, tmp_path, 2) as other:
        await asyncio.gather(*(get_code((one, other, other)[n % 3], n) for n in range(30)))
        told = [w.daemon.status.facts()["sessions"] for w in (one, other)]
        whole = {session["service"]: session for session in sessions_of(told)}
        assert set(whole) == {"eth", "smollm2"}
        eth = whole["eth"]
        assert sum(supplier["relays"] for supplier in eth["suppliers"]) == 30
        assert sum(supplier["units"] for supplier in eth["suppliers"]) == sum(
            record.units for w in (one, other) for record in w.records()
        )
        assert all(supplier["quality"] > 9000 and supplier["lane"] == "open" for supplier in eth["suppliers"])
        assert eth["spent"] == sum(s["spent"] for sessions in told for s in sessions if s["service"] == "eth")
        rows = explained_of(w.daemon.status.explain("eth", "quick") for w in (one, other))
        assert len(rows) == len(gateway.suppliers)


def test_metrics_of_workers_are_told_apart_and_parts_are_summed() -> None:
    told = {}
    for worker in (1, 2):
        metrics = Metrics()
        for _ in range(worker):
            metrics.answered("/rpc/{service}", 200)
        text = metrics.exposition(list).decode()
        told[worker] = text + (
            "# TYPE pocketnode_gateway_grant_spent_ratio gauge\n"
            'pocketnode_gateway_grant_spent_ratio{service="eth"} 0.25\n'
        )
    families = {f.name: f for f in text_string_to_metric_families(exposition_of(told).decode())}
    requests = {s.labels["worker"]: s.value for s in families["pocketnode_gateway_requests"].samples}
    assert requests == {"1": 1.0, "2": 2.0}
    (spent,) = families["pocketnode_gateway_grant_spent_ratio"].samples
    assert (spent.labels, spent.value) == ({"service": "eth"}, 0.5)


@pytest.mark.parametrize("change", ["sold", "gone"])
async def test_a_changed_configuration_is_taken_up_without_losing_requests(
    start: Start, tmp_path: Path, change: str
) -> None:
    gateway = await start()
    application = configured(tmp_path).applications[0].address
    services = ["eth"] if change == "gone" else ["eth", "smollm2"]
    new = configured(
        tmp_path,
        applications=[{"address": application, "services": services}],
        limits={"batch_items": 2, "body_mib": 0.001},
        retry={"attempts": 1},
        aliases={} if change == "gone" else {"small": "smollm2-135m"},
    )
    loading = [asyncio.create_task(get_code(gateway, n)) for n in range(40)]
    await asyncio.sleep(0)
    gateway.daemon.adopt(new, catalog_of(new))
    assert await asyncio.gather(*loading) == [200] * 40
    assert (await gateway.post("/rpc/eth", b"[" + b" " * 2000 + b"]"))[0] == 413
    batch = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId"} for n in range(3)]
    assert "error" in (await gateway.post("/rpc/eth", batch))[1]
    ask = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
    assert (await gateway.post("/v1/chat/completions", ask))[0] == (404 if change == "gone" else 200)
    if change == "gone":
        await until(lambda: {a.service.name for a in gateway.daemon.sessions.all()} == {"eth"})


def test_of_every_key_it_is_known_whether_a_reload_changes_it() -> None:
    assert set(FIXED).isdisjoint(LIVE)
    assert {*FIXED, *LIVE} == GatewayConfig.model_fields.keys()


async def test_a_bad_file_changes_nothing_and_what_is_fixed_is_named(tmp_path: Path) -> None:
    old = configured(tmp_path)
    taken: list[GatewayConfig] = []
    answers: list[GatewayConfig | PocketError] = [
        ConfigError("limits.batch_items: too many"),
        configured(tmp_path, listen="127.0.0.1:1", limits={"batch_items": 7}, log={"json": False}),
        configured(tmp_path, applications=[{"address": "0x" + "aa" * 20, "services": ["nobody-knows"]}]),
    ]

    def load() -> GatewayConfig:
        answer = answers.pop(0)
        if isinstance(answer, PocketError):
            raise answer
        return answer

    reloading = Reloading(load, old, [lambda config, _: taken.append(config)])
    with structlog.testing.capture_logs() as logged:
        assert [await reloading.reload() for _ in range(3)] == [False, True, False]
    (config,) = taken
    assert (config.limits.batch_items, config.listen) == (7, old.listen)
    (restart,) = [line for line in logged if line["event"] == "restart needed"]
    assert restart["changed"] == ["listen", "log.as_json"]
