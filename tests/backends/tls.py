"""A node behind TLS that asks for a certificate and a token: what a provider of nodes looks like."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from pocketnode.supplier.certificate import create_certificate

TOKEN = "Bearer let-me-in"


@asynccontextmanager
async def guarded_node(folder: Path) -> AsyncIterator[str]:
    """Serve; yield the URL. `server.crt` in the folder is what to trust, `client.crt` and `client.key` who to be."""
    for name in ("server", "client"):
        create_certificate(folder / f"{name}.crt", folder / f"{name}.key", "127.0.0.1", days=1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "client.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    app = web.Application()
    app.router.add_post("/v2", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/v2"
    await runner.cleanup()


async def _answer(request: web.Request) -> web.Response:
    if request.headers.get("authorization") != TOKEN:
        return web.Response(status=401, text="who are you?")
    call = await request.json()
    return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": "0x10"})
