"""Deploys all contracts, checks what stands there, and can go on where a failure stopped it.

The sender's journal knows what is done: run again with the same plan, it creates what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import NAMES, contract
from pocketnode.chain.deployment import Address, Contracts, Deployment, Windows, _Strict
from pocketnode.chain.heads import block_at
from pocketnode.chain.reader import Reader, code_at
from pocketnode.chain.sender import Mined, Sender
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError
from pocketnode.store.journal import Intent, Stage

UINT96_MAX = 2**96 - 1


class Rules(_Strict):
    """What a deployment may tune, in ten-thousandths but for `suppliers` (section 7)."""

    suppliers: int = Field(default=24, ge=1, le=64)
    fee: int = Field(default=200, ge=0, le=1_000)
    quality_share: int = Field(default=2_000, ge=0, le=5_000)
    quality_min: int = Field(default=5_000, ge=1_000, le=10_000)
    owner_share_max: int = Field(default=5_000, ge=0, le=10_000)
    slash_share: int = Field(default=1_000, ge=0, le=10_000)


class Charges(_Strict):
    """What taking part needs, in base units of the token."""

    supplier_bond: int = Field(default=0, ge=0)
    gateway_bond: int = Field(default=0, ge=0)
    service_fee: int = Field(default=0, ge=0)


class Spans(_Strict):
    """The windows without the anchor, in blocks; the defaults are for 2 s blocks."""

    length: int = Field(default=1800, ge=1)
    grace: int = Field(default=30, ge=0)
    statement: int = Field(default=300, ge=1)
    claim: int = Field(default=1200, ge=1)
    thaw: int = Field(default=604_800, ge=1)


LOCAL_SPANS = Spans(length=20, grace=2, statement=5, claim=10, thaw=60)


class Plan(_Strict):
    """What is to be deployed.

    Parameters
    ----------
    token : the ERC-20 that everything is paid in; a test token is deployed where it is None.
    treasury, governance : the deployer where None.
    anchor : first block of session 0; the newest block where None.
    charge_max : the most that any charge can ever be, in base units.
    """

    token: Address | None = None
    token_decimals: int = Field(default=6, ge=0, le=18)
    treasury: Address | None = None
    governance: Address | None = None
    anchor: int | None = None
    spans: Spans = Spans()
    rules: Rules = Rules()
    charges: Charges = Charges()
    charge_max: int = Field(default=10**24, ge=0, le=UINT96_MAX)


Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Site:
    rpc: Rpc
    sender: Sender
    say: Say

    async def create(self, name: str, *args: Any) -> tuple[bytes, int]:
        """Return address and block of a contract, created now or by a former run."""
        mined = await self.send(f"create:{name}", None, contract(name).creation(*args))
        address = bytes.fromhex(mined.receipt["contractAddress"][2:])
        self.say(f"{name}: {checksum(address)}")
        return address, mined.block

    async def send(self, key: str, target: bytes | None, data: bytes) -> Mined:
        """Send, or try anew what failed before."""
        intent = Intent(f"deploy:{key}", target, data)
        begun = await self.sender.find(intent.key)
        if begun is not None and begun.stage is not Stage.FAILED and begun.intent.data != data:
            raise ConfigError(f"{key} was begun with another plan: finish that one, or delete the deployment's journal")
        return await self.sender.retry(intent)


async def deploy(rpc: Rpc, sender: Sender, plan: Plan, say: Say = lambda words: None) -> Deployment:
    """Deploy all contracts and return where they stand, checked.

    Parameters
    ----------
    sender : of the deployer, its job running; its journal makes a second run go on.
    say : told of each step, for people.

    Raises
    ------
    Reverted, TransactionFailed
        a contract refuses a value of the plan.
    ConfigError
        what stands there is not what was asked for, or the journal is of another plan.
    """
    site = _Site(rpc, sender, say)
    anchor = await _anchor(site, plan)
    spans, deployer = plan.spans, sender.address
    windows = Windows(anchor=anchor, **spans.model_dump())
    token = plan.token or (await site.create("TestToken", "Pocket Test Token", "tPOCK", plan.token_decimals))[0]
    params, block = await site.create("Params", *_params_arguments(plan, windows, deployer))
    escrow, _ = await site.create("Escrow", params, token)
    services, _ = await site.create("Services", params, token)
    registry, _ = await site.create("Registry", params, services, token)
    gateways, _ = await site.create("Gateways", params, token, escrow)
    sessions, _ = await site.create("Sessions", params, registry, escrow)
    settlement, _ = await site.create("Settlement", params, services, registry, gateways, escrow, sessions)
    for name, till in (("Escrow", escrow), ("Registry", registry), ("Gateways", gateways)):
        await site.send(f"bind:{name}", till, contract(name).call_data("bind", settlement))
    contracts = Contracts(
        token=token,
        params=params,
        escrow=escrow,
        gateways=gateways,
        services=services,
        registry=registry,
        sessions=sessions,
        settlement=settlement,
    )
    chain_id = int(await rpc.ask("eth_chainId"), 16)
    deployment = Deployment(chain_id=chain_id, block=block, windows=windows, contracts=contracts)
    await check(Reader(rpc, deployment), plan, deployer)
    return deployment


async def _anchor(site: _Site, plan: Plan) -> int:
    """Return the first block of session 0: that of a former run, that of the plan, or the newest block."""
    begun = await site.sender.find("deploy:create:Params")
    if begun is not None and begun.stage is not Stage.FAILED:
        code_bytes = len(contract("Params").bytecode)
        return int.from_bytes(begun.intent.data[code_bytes : code_bytes + 32], "big")
    return plan.anchor if plan.anchor is not None else (await block_at(site.rpc, "latest")).number


async def check(reader: Reader, plan: Plan, deployer: bytes) -> None:
    """Refuse a deployment that is not what `plan` says.

    Raises
    ------
    ConfigError
        a contract is missing, has other code, refers to another one, or has other parameters; the message names it.
    """
    c = reader.deployment.contracts
    for name in NAMES:
        code = await code_at(reader.rpc, reader.address(name))
        if not code:
            raise ConfigError(f"no code at {checksum(reader.address(name))}, where {name} should stand")
        if name != "TestToken" and not contract(name).is_code(code):  # the token may be any
            raise ConfigError(f"the code at {checksum(reader.address(name))} is not that of {name}")
    windows = tuple(reader.deployment.windows.model_dump().values())
    tills = ("Escrow", "Registry", "Gateways")
    expected: list[tuple[str, str, Any]] = [
        ("Params", "owner", plan.governance or deployer),
        ("Params", "treasury", plan.treasury or deployer),
        *((name, "windows", windows) for name in ("Params", "Settlement", "Sessions", "Escrow", "Registry")),
        *(
            (name, "params", c.params)
            for name in ("Escrow", "Services", "Registry", "Gateways", "Sessions", "Settlement")
        ),
        *((name, "token", c.token) for name in (*tills, "Services")),
        *((name, "settlement", c.settlement) for name in tills),
        *(("Settlement", name.lower(), reader.address(name)) for name in (*tills, "Services", "Sessions")),
        ("Sessions", "registry", c.registry),
        ("Sessions", "escrow", c.escrow),
        ("Registry", "services", c.services),
        ("Gateways", "escrow", c.escrow),
        ("Settlement", "domainSeparator", reader.deployment.domain.separator),
    ]
    for name, function, wanted in expected:
        (found,) = await reader.call(name, function)
        if found != wanted:
            raise ConfigError(f"{name}.{function} is {found!r}, not {wanted!r}")
    await _check_rules(reader, plan)


async def _check_rules(reader: Reader, plan: Plan) -> None:
    (rules,) = await reader.call("Params", "rulesAt", 0)
    if rules != tuple(plan.rules.model_dump().values()):
        raise ConfigError(f"Params.rulesAt(0) is {rules}, not {plan.rules}")
    (charges,) = await reader.call("Params", "chargesAt", 0)
    if charges != tuple(plan.charges.model_dump().values()):
        raise ConfigError(f"Params.chargesAt(0) is {charges}, not {plan.charges}")


def _params_arguments(plan: Plan, windows: Windows, deployer: bytes) -> tuple[Any, ...]:
    delay = windows.thaw + windows.statement + windows.claim + 1
    return (
        tuple(windows.model_dump().values()),
        delay,
        plan.charge_max,
        tuple(plan.rules.model_dump().values()),
        tuple(plan.charges.model_dump().values()),
        plan.treasury or deployer,
        plan.governance or deployer,
    )
