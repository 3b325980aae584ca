"""A market is set up by commands alone, as an operator does it, and every command tells what it did in JSON."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pocketnode.chain import operations
from pocketnode.chain.actor import acting
from pocketnode.chain.client import Rpc
from pocketnode.chain.deployment import Deployment, read
from pocketnode.chain.operations import Profile
from pocketnode.cli.main import main
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import checksum
from pocketnode.protocol.session import service_id
from pocketnode.store.audits import AuditRow, AuditStage, AuditStore
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.journal import Intent, Journal, Stage
from pocketnode.store.pots import Pot, PotStage, PotStore
from tests.anvil import KEYS, ready

OWNER, APPLICATION, GATEWAY, SUPPLIER, OPERATOR = KEYS[:5]
PEOPLE = {"owner": OWNER, "application": APPLICATION, "gateway": GATEWAY, "supplier": SUPPLIER}
AMOUNT = 1_000_000


class Terminal:
    """Runs commands with the options that all of them share."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.deployment = folder / "deployment.json"
        (folder / "password").write_text("secret\n")
        for name, key in PEOPLE.items():
            keystore.create(folder / f"{name}.json", key, "secret", cost=keystore.LIGHT_COST)

    def at(self) -> list[str]:
        return ["--rpc", self.url, "--deployment", str(self.deployment)]

    def by(self, name: str) -> list[str]:
        password = str(self.folder / "password")
        return [*self.at(), "--keystore", str(self.folder / f"{name}.json"), "--password-file", password, "--yes"]

    def run(self, *words: str, exit_code: int = 0) -> list[dict[str, Any]]:
        result = CliRunner().invoke(main, [*words, "--json"])
        assert result.exit_code == exit_code, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def one(self, *words: str) -> dict[str, Any]:
        (facts,) = self.run(*words)
        return facts

    def fail(self, *words: str, exit_code: int) -> str:
        result = CliRunner().invoke(main, list(words))
        assert result.exit_code == exit_code, result.output
        return result.output


@pytest.fixture(scope="module")
def terminal(anvil_url: str, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A deployed market with one service and tokens for everyone."""
    terminal = Terminal(tmp_path_factory.mktemp("commands"), anvil_url)

    async def wait() -> None:
        async with Rpc([anvil_url]) as rpc:
            await ready(rpc)

    asyncio.run(wait())
    terminal.run("chain", "deploy", "--local", *terminal.by("owner"))
    asyncio.run(fund(anvil_url, read(terminal.deployment)))
    terminal.run(
        "service", "add", "--builtin", "eth", "--max-price", "5000", "--owner-share", "100", *terminal.by("owner")
    )
    asyncio.run(mine(anvil_url, 20))  # a service's terms hold from the next session on
    return terminal


async def fund(url: str, deployment: Deployment) -> None:
    async with Rpc([url]) as rpc, acting(rpc, deployment, OWNER) as actor:
        for key in (APPLICATION, GATEWAY, SUPPLIER):
            await operations.mint(actor, key.address, 10 * AMOUNT)


def test_a_deployment_is_never_overwritten(terminal: Terminal) -> None:
    assert "exists" in terminal.fail("chain", "deploy", "--local", *terminal.by("owner"), exit_code=2)


def test_the_chain_is_shown(terminal: Terminal) -> None:
    facts = terminal.one("chain", "status", *terminal.at())
    assert facts["chain_id"] == 31337
    assert facts["settlement"] == checksum(read(terminal.deployment).contracts.settlement)
    assert 1 <= facts["blocks_left"] <= 20


def test_a_service_is_shown_and_an_unknown_one_is_not_found(terminal: Terminal) -> None:
    facts = terminal.one("service", "show", "eth", *terminal.at())
    assert (facts["owner"], facts["max_price"], facts["owner_share"]) == (checksum(OWNER.address), 5000, 100)
    assert "no service" in terminal.fail("service", "show", "nothing", *terminal.at(), exit_code=5)


def test_a_service_is_added_once(terminal: Terminal) -> None:
    words = ("service", "add", "--builtin", "eth", "--max-price", "1", *terminal.by("owner"))
    assert "ServiceExists" in terminal.fail(*words, exit_code=1)


def test_an_application_pays_in_grants_and_takes_out(terminal: Terminal) -> None:
    by = terminal.by("application")
    assert terminal.one("app", "deposit", str(AMOUNT), *by)["escrow"] == AMOUNT
    gateway = checksum(GATEWAY.address)
    terminal.run("app", "grant", gateway, "eth", "--cap", "1000", *by)
    shown = terminal.one("app", "show", checksum(APPLICATION.address), *terminal.at())
    assert [(g["gateway"], g["service"], g["cap"]) for g in shown["grants"]] == [(gateway, "eth", 1000)]
    terminal.run("app", "revoke", gateway, "eth", *by)
    assert terminal.one("app", "thaw", "400", *by)["thawing"] == 400
    assert "StillThawing" in terminal.fail("app", "withdraw", *by, exit_code=1)
    asyncio.run(mine(terminal.url, 60))
    assert terminal.one("app", "withdraw", *by)["thawing"] == 0


def test_money_moves_after_a_yes_alone(terminal: Terminal) -> None:
    words = ["app", "deposit", "2500000", *terminal.by("application")]
    words.remove("--yes")
    owner = checksum(APPLICATION.address)
    before = terminal.one("app", "show", owner, *terminal.at())["escrow"]
    refused = CliRunner().invoke(main, words, input="n\n")
    assert (refused.exit_code, "pays 2.5 tPOCK into its escrow" in refused.stderr) == (1, True), refused.output
    unasked = CliRunner().invoke(main, words)
    assert (unasked.exit_code, "--yes" in unasked.stderr) == (1, True), unasked.output
    assert terminal.one("app", "show", owner, *terminal.at())["escrow"] == before
    agreed = CliRunner().invoke(main, words, input="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert "tPOCK" in agreed.stdout
    assert terminal.one("app", "show", owner, *terminal.at())["escrow"] == before + 2_500_000


def test_a_key_file_names_an_address(terminal: Terminal) -> None:
    shown = terminal.one("app", "show", str(terminal.folder / "application.json"), *terminal.at())
    assert shown["application"] == checksum(APPLICATION.address)


def test_more_than_one_has_is_refused_in_words(terminal: Terminal) -> None:
    said = terminal.fail("app", "deposit", str(100 * AMOUNT), *terminal.by("application"), exit_code=6)
    assert "are needed" in said


def test_a_gateway_bonds(terminal: Terminal) -> None:
    by = terminal.by("gateway")
    assert terminal.one("gateway", "bond", "500", *by)["bond"] == 500
    assert terminal.one("gateway", "thaw", "200", *by)["thawing"] == 200


def test_a_supplier_registers_changes_and_leaves(terminal: Terminal) -> None:
    by = terminal.by("supplier")
    number = str(asyncio.run(register(terminal.url, read(terminal.deployment))))
    payout = checksum(APPLICATION.address)
    changed = terminal.one("supplier", "update", number, "--price", "3000", "--payout", f"{payout}:10000", *by)
    assert (changed["price"], changed["payouts"], changed["endpoint"]) == (3000, f"{payout}:10000", "127.0.0.1:9443")
    assert terminal.one("supplier", "bond", number, "50", *by)["bond"] == 1050
    assert terminal.one("supplier", "leave", number, *by)["listed"] is False
    assert terminal.one("supplier", "stay", number, *by)["listed"] is True
    assert terminal.one("supplier", "registration", number, *terminal.at())["owner"] == checksum(SUPPLIER.address)
    asyncio.run(mine(terminal.url, 40))
    rows = terminal.run("session", "suppliers", payout, "eth", *terminal.at())
    assert [row["endpoint"] for row in rows] == ["127.0.0.1:9443"]
    assert "PriceTooHigh" in terminal.fail("supplier", "update", number, "--price", "6000", *by, exit_code=1)
    assert terminal.one("supplier", "leave", number, *by)["listed"] is False
    assert "StillThawing" in terminal.fail("supplier", "unbond", number, *by, exit_code=1)
    asyncio.run(mine(terminal.url, 100))
    assert terminal.one("supplier", "unbond", number, *by)["bond"] == 0


def test_an_empty_chain_has_no_books(terminal: Terminal) -> None:
    assert terminal.run("session", "list", *terminal.at()) == []
    assert "0 pots" in terminal.fail("session", "show", "0x" + "11" * 32, *terminal.at(), exit_code=5)


def test_another_chain_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    other = tmp_path / "deployment.json"
    other.write_text(terminal.deployment.read_text().replace('"chain_id": 31337', '"chain_id": 1'))
    said = terminal.fail("chain", "status", "--rpc", terminal.url, "--deployment", str(other), exit_code=2)
    assert "is of chain 31337" in said


def test_a_store_tells_what_each_pot_waits_for(terminal: Terminal, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "state.db")
    engine = open_store(url)
    PotStore(engine, OPERATOR.address).open(
        Pot(b"a" * 20, b"eth".ljust(32, b"\x00"), 3, b"s" * 32, b"g" * 20, earned=7)
    )
    (pot,) = PotStore(engine, OPERATOR.address).all()
    Journal(engine, OPERATOR.address).add(Intent(f"claim:{pot.id.hex()}:{OPERATOR.address.hex()}", None, b""))
    Journal(engine, OPERATOR.address).add(Intent("claim:1", None, b"", deadline=9))
    audits = AuditStore(engine, OPERATOR.address)
    audits.note(AuditRow(pot.id, pot.application, pot.service, pot.number, pot.gateway))
    audits.finish(pot.id, AuditStage.DIFFERS, note="quality: 0.5")
    party = ("--store", url, "--party", checksum(OPERATOR.address))
    shown = terminal.one("settlement", "status", *party)
    assert (shown["session"], shown["service"], shown["earned"], shown["stage"]) == (3, "eth", 7, "open")
    assert (shown["owed"], shown["payable"]) == (7, 0)
    assert shown["waits_for"] == "its claim to be mined and confirmed (not sent yet)"
    assert (shown["audit"], shown["note"]) == ("differs", "quality: 0.5")
    assert [row["key"][:7] for row in terminal.run("settlement", "transactions", *party)] == [
        "claim:" + pot.id.hex()[0],
        "claim:1",
    ]
    PotStore(engine, OPERATOR.address).change(pot.id, stage=PotStage.PAYABLE, stated=5)
    Journal(engine, OPERATOR.address).finish(f"claim:{pot.id.hex()}:{OPERATOR.address.hex()}", Stage.DONE)
    shown = terminal.one("settlement", "status", *party)
    assert (shown["payable"], shown["waits_for"]) == (5, "the next withdrawal")


async def register(url: str, deployment: Deployment) -> int:
    profile = Profile(OPERATOR.address, "127.0.0.1:9443", ((SUPPLIER.address, 10_000),))
    async with Rpc([url]) as rpc, acting(rpc, deployment, SUPPLIER) as actor:
        return await operations.register(actor, service_id("eth"), profile, 4_000, 1_000, OPERATOR)


async def mine(url: str, blocks: int) -> None:
    async with Rpc([url]) as rpc:
        await rpc.ask("anvil_mine", hex(blocks))
