"""All contracts are deployed, checked, and gone on with after a failure half-way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pocketnode.chain import deployment as deployments
from pocketnode.chain.actor import sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Plan, Rules, check, deploy
from pocketnode.chain.errors import TransactionFailed
from pocketnode.chain.reader import Reader
from pocketnode.errors import ConfigError
from pocketnode.store.engine import open_store, sqlite_url
from tests.anvil import KEYS
from tests.chain.conftest import Chain

PLAN = Plan(spans=LOCAL_SPANS)


async def test_the_file_of_a_deployment_reads_back(chain: Chain, tmp_path: Path) -> None:
    deployments.write(tmp_path / "deployment.json", chain.deployment)
    assert deployments.read(tmp_path / "deployment.json") == chain.deployment


async def test_a_deployment_with_other_parameters_is_refused(chain: Chain) -> None:
    other = Plan(spans=LOCAL_SPANS, rules=Rules(fee=201))
    with pytest.raises(ConfigError, match="rulesAt"):
        await check(Reader(chain.rpc, chain.deployment), other, KEYS[0].address)


async def test_other_code_at_an_address_is_refused(chain: Chain) -> None:
    """One byte of Settlement's code is another: nothing that its views say would tell."""
    place = "0x" + chain.deployment.contracts.settlement.hex()
    code = bytearray.fromhex((await chain.rpc.ask("eth_getCode", place, "latest"))[2:])
    code[-1] ^= 1
    await chain.rpc.ask("anvil_setCode", place, "0x" + code.hex())
    with pytest.raises(ConfigError, match="is not that of Settlement"):
        await check(Reader(chain.rpc, chain.deployment), PLAN, KEYS[0].address)


async def test_an_interrupted_deployment_goes_on(rpc: Rpc, tmp_path: Path) -> None:
    store = open_store(sqlite_url(tmp_path / "journal.db"))
    said: list[str] = []

    def interrupt(words: str) -> None:
        said.append(words)
        if words.startswith("Services"):
            raise KeyError("pulled the plug")

    with pytest.raises(ExceptionGroup):
        async with sending(rpc, KEYS[0], store) as sender:
            await deploy(rpc, sender, PLAN, interrupt)
    again: list[str] = []
    async with sending(rpc, KEYS[0], store) as sender:
        await deploy(rpc, sender, PLAN, again.append)
    assert again[: len(said)] == said
    assert len(again) == 8


async def test_another_plan_does_not_go_on_with_a_journal(rpc: Rpc, tmp_path: Path) -> None:
    store = open_store(sqlite_url(tmp_path / "journal.db"))
    async with sending(rpc, KEYS[0], store) as sender:
        await deploy(rpc, sender, PLAN)
        with pytest.raises(ConfigError, match="another plan"):
            await deploy(rpc, sender, Plan(spans=LOCAL_SPANS, rules=Rules(fee=0)))


async def test_windows_that_the_contracts_refuse_are_named(rpc: Rpc) -> None:
    short = LOCAL_SPANS.model_copy(update={"thaw": 10})
    async with sending(rpc, KEYS[0]) as sender:
        with pytest.raises(TransactionFailed, match="BadWindows"):
            await asyncio.wait_for(deploy(rpc, sender, Plan(spans=short)), 10)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"chain_id": 1, "block": "x"}'])
def test_a_malformed_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deployment.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"deployment\.json"):
        deployments.read(path)
