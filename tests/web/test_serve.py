"""Who may see the dashboard, what it answers, and that it lets its listener stop."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from pocketnode.web.feed import Feed
from pocketnode.web.meter import Meter
from pocketnode.web.serve import STATIC, Dashboard
from tests.web.fakes import FakeSource

TOKEN = "a long random line"
BEARER = {"authorization": f"Bearer {TOKEN}"}
Client = TestClient[web.Request, web.Application]


class Shown:
    """A dashboard on a listener of its own."""

    def __init__(self, token: str) -> None:
        self.source, self.meter = FakeSource(), Meter()
        self.feed = Feed(self.meter, self.source, None)
        self.app = web.Application()
        Dashboard(self.source, self.feed, token).attach(self.app)


@pytest.fixture
def shown() -> Shown:
    return Shown(TOKEN)


@pytest.fixture
async def client(shown: Shown) -> AsyncIterator[Client]:
    async with TestClient(TestServer(shown.app), cookie_jar=CookieJar(unsafe=True)) as found:
        yield found


async def test_the_page_is_open_and_its_facts_are_not(client: Client) -> None:
    assert (await client.get("/")).status == 200
    assert (await client.get("/static/js/app.js")).status == 200
    for path in ("/api/now", "/api/events", "/api/chart"):
        assert (await client.get(path)).status == 401
    assert await (await client.get("/api/about")).json() == {"locked": True}


async def test_the_token_opens_in_a_header_and_by_login(client: Client) -> None:
    assert (await client.get("/api/now", headers=BEARER)).status == 200
    assert (await client.post("/api/login", json={"token": "wrong"})).status == 401
    assert (await client.get("/api/now")).status == 401
    login = await client.post("/api/login", json={"token": TOKEN})
    assert login.status == 200
    flags = login.headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=strict" in flags
    assert TOKEN not in flags
    assert (await client.get("/api/now")).status == 200


@pytest.mark.parametrize(
    "cookie", ["", "x", f"{2**31}.00", "1.00", "9" * 5000], ids=["none", "word", "ahead", "past", "long"]
)
async def test_a_forged_cookie_opens_nothing(client: Client, cookie: str) -> None:
    assert client.port
    name = f"pocketnode_{client.port}"
    assert (await client.get("/api/now", headers={"cookie": f"{name}={cookie}"})).status == 401


async def test_a_form_from_another_site_cannot_log_in(client: Client) -> None:
    assert (await client.post("/api/login", data={"token": TOKEN})).status == 400


async def test_daemons_on_one_host_have_cookies_of_their_own(client: Client) -> None:
    login = await client.post("/api/login", json={"token": TOKEN})
    assert login.headers["set-cookie"].startswith(f"pocketnode_{client.port}=")


async def test_without_a_token_all_is_open() -> None:
    async with TestClient(TestServer(Shown("").app)) as client:
        assert (await client.get("/api/now")).status == 200
        assert (await (await client.get("/api/about")).json())["guarded"] is False


async def test_amounts_beyond_64_bits_are_told(client: Client) -> None:
    state = json.loads(await (await client.get("/api/now", headers=BEARER)).text())
    assert state["now"]["cap"] == 2**90


async def test_a_chain_that_is_away_is_said_not_hidden(client: Client, shown: Shown) -> None:
    shown.source.away = True
    state = await (await client.get("/api/now", headers=BEARER)).json()
    assert state["now"]["problem"] == "no chain node answers"


@pytest.mark.parametrize("span", ["0", "x", "-5", str(10**9)])
async def test_a_wrong_span_is_the_users_fault(client: Client, span: str) -> None:
    assert (await client.get(f"/api/chart?span_s={span}", headers=BEARER)).status == 400


@pytest.mark.parametrize(
    "path", ["../serve.py", "js/../../serve.py", "%2e%2e/serve.py", "..%2fserve.py", "js", "nothing.js"]
)
async def test_only_the_pages_files_are_served(client: Client, path: str) -> None:
    answer = await client.get(f"/static/{path}", allow_redirects=False)
    assert answer.status == 404


async def test_pages_may_load_nothing_from_elsewhere(client: Client) -> None:
    policy = (await client.get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    for file in STATIC.rglob("*"):
        if file.suffix in {".html", ".css", ".js"} and "vendor" not in file.parts:
            assert "http://" not in file.read_text().replace("http://www.w3.org/", "")
            assert "https://" not in file.read_text()


async def test_events_come_and_end_with_the_listener(shown: Shown) -> None:
    async with TestClient(TestServer(shown.app)) as client:
        stream = await client.get("/api/events", headers=BEARER)
        first = await stream.content.readuntil(b"\n\n")
        assert json.loads(first.removeprefix(b"data: "))["now"]["block"] == 7
        shown.meter.of("eth").succeed(2.0, 3.0)
        await shown.feed.turn()
        assert (await stream.content.readuntil(b"\n\n")).startswith(b"data: ")
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5, "an open page keeps the daemon from stopping"
