"""Every process of a local network: its command line, and how it says that it is ready."""

from __future__ import annotations

import sys
from typing import Any

import aiohttp

from pocketnode.localnet import parts
from pocketnode.localnet.children import Child, Ready
from pocketnode.localnet.plan import CHAIN, GATEWAY, LLM, Plan
from pocketnode.localnet.ports import HOST
from pocketnode.localnet.state import Layout
from pocketnode.localnet.traffic import MODEL

CHAIN_ID = 31337


def chain(layout: Layout, plan: Plan) -> Child:
    """anvil with one block a second once the market is open; its state is kept from one start to the next."""
    folder = layout.data(CHAIN)
    folder.mkdir(exist_ok=True)
    argv = [
        str(parts.anvil()),
        "--silent",
        *("--host", HOST, "--port", str(plan.ports[CHAIN]), "--chain-id", str(CHAIN_ID)),
        *("--state", str(folder / "state.json")),
    ]
    # anvil keeps older states under HOME; this keeps them in the network's folder.
    return Child(CHAIN, argv, layout.log(CHAIN), _answers_rpc(plan.url(CHAIN)), env={"HOME": str(folder)})


def llm(layout: Layout, plan: Plan) -> Child:
    parts.check_llama()
    argv = [
        *(sys.executable, "-m", "pocketnode.localnet.llama"),
        *("--model", str(parts.weights()), "--alias", MODEL, "--port", str(plan.ports[LLM])),
        *("--chat-template", str(parts.CHAT_TEMPLATE)),
    ]
    return Child(LLM, argv, layout.log(LLM), _answers(f"{plan.url(LLM)}/health"))


def supplier(layout: Layout, plan: Plan, name: str) -> Child:
    return _daemon(layout, plan, name, "supplier", stage=1)


def gateway(layout: Layout, plan: Plan) -> Child:
    return _daemon(layout, plan, GATEWAY, "gateway", stage=2)


def _daemon(layout: Layout, plan: Plan, name: str, group: str, stage: int) -> Child:
    """Return what an operator would start, by the same command."""
    argv = [sys.executable, "-m", "pocketnode", group, "start", "--config", str(layout.config(name))]
    return Child(name, argv, layout.log(name), _answers(f"{plan.admin_url(name)}/readyz"), stage)


async def rpc(url: str, method: str, *params: Any) -> Any:
    """Return the result of one JSON-RPC call to the chain."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        return (await answer.json())["result"]


def _answers(url: str) -> Ready:
    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready


def _answers_rpc(url: str) -> Ready:
    async def ready() -> bool:
        try:
            return bool(await rpc(url, "eth_chainId"))
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready
