"""The load generator against a server whose answers are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from pocketnode.bench.http import Exchange, Url
from pocketnode.bench.load import Load, answered, closed_loop, open_loop
from pocketnode.bench.requests import NUMBER, chat_body, json_rpc_body, numbered
from pocketnode.bench.summary import of_run, over_rounds, spread_ms


class Server:
    """Remembers every body; answers whole, in chunks of a stream, late, or not at all."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.delay_s = 0.0
        self.status = 200
        self.close = False

    async def whole(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        await asyncio.sleep(self.delay_s)
        response = web.Response(body=b"x" * 2000, status=self.status)
        if self.close:
            response.force_close()
        return response

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(5):
            # An event in two writes: what is counted are events, however they are cut.
            await response.write(b"data: %d\n" % number)
            await response.write(b"\n")
        await response.write_eof()
        return response


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def base(server: Server) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/whole", server.whole)
    app.router.add_post("/stream", server.stream)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def load_on(base: str, path: str, events: bool = False) -> Load:
    url = Url.parse(base + path)
    return Load(url, numbered(url, json_rpc_body()), sound=answered, events=events, warmup_s=0.05)


async def test_a_closed_loop_counts_what_the_server_answered(base: str, server: Server) -> None:
    run = await closed_loop(load_on(base, "/whole"), connections=4, seconds=0.3)
    assert 0 < len(run.sound) <= len(server.bodies)
    assert run.failed == 0


async def test_no_two_bodies_are_equal_and_all_have_one_length(base: str, server: Server) -> None:
    await closed_loop(load_on(base, "/whole"), connections=4, seconds=0.2)
    assert len(set(server.bodies)) == len(server.bodies)
    assert len({len(body) for body in server.bodies}) == 1


async def test_an_open_loop_asks_at_its_rate_however_slow_the_answers_are(base: str, server: Server) -> None:
    server.delay_s = 0.2
    run = await open_loop(load_on(base, "/whole"), rate=100, seconds=0.5)
    assert run.failed == 0
    assert len(run.sound) == pytest.approx(50, abs=2)


async def test_latency_counts_from_when_a_request_was_due(base: str, server: Server) -> None:
    server.delay_s = 0.05
    run = await open_loop(load_on(base, "/whole"), rate=100, seconds=0.3, connections_most=1)
    # One connection answers 20 a second: of 100 due, the last waits for all before it.
    assert max(exchange.latency_s for exchange in run.sound) > 0.3


async def test_events_of_a_stream_are_counted_however_they_are_cut(base: str) -> None:
    run = await closed_loop(load_on(base, "/stream", events=True), connections=2, seconds=0.2)
    assert run.sound
    assert {len(exchange.event_s) for exchange in run.sound} == {5}
    assert of_run(run)["events"] == 5 * len(run.sound)


async def test_a_server_that_closes_each_connection_is_measured_too(base: str, server: Server) -> None:
    server.close = True
    run = await closed_loop(load_on(base, "/whole"), connections=2, seconds=0.2)
    assert run.sound
    assert run.failed == 0


async def test_what_is_no_answer_is_not_counted_as_one(base: str, server: Server) -> None:
    server.status = 503
    run = await closed_loop(load_on(base, "/whole"), connections=2, seconds=0.2)
    assert not run.sound
    assert set(run.unsound) == {503}


def test_a_summary_has_the_spread_over_rounds() -> None:
    merged = over_rounds([{"a": {"b": 1}, "c": "text"}, {"a": {"b": 5}, "c": "text"}, {"a": {"b": 2}}])
    assert merged == {"a": {"b": {"median": 2, "min": 1, "max": 5}}}


def test_quantiles_are_by_nearest_rank() -> None:
    assert spread_ms([i / 1000 for i in range(1, 1001)]) == {
        "p50": 500.0,
        "p90": 900.0,
        "p99": 990.0,
        "p999": 999.0,
        "max": 1000.0,
    }


def test_a_latency_is_from_due_to_done() -> None:
    assert Exchange(due_s=1.0, sent_s=2.0, done_s=4.0).latency_s == 3.0


def test_chat_bodies_have_room_for_a_number() -> None:
    assert chat_body("m", 5, stream=True).count(NUMBER) == 1
