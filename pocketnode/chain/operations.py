"""What applications, gateways, suppliers and service owners do on chain. Each function returns once it is mined.

Changes hold from the first block of the next session (rule 4.7). Amounts are base units of the token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pocketnode.chain.actor import Actor
from pocketnode.chain.contracts import contract, log_of
from pocketnode.chain.heads import block_at
from pocketnode.chain.reader import Reader
from pocketnode.chain.sender import Mined
from pocketnode.crypto.eip712 import Domain, address_word
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key
from pocketnode.errors import BadInput, Unavailable
from pocketnode.protocol.session import service_id
from pocketnode.services.spec import parse, spec_hash

OPERATE_TYPE = "Operate(address owner,bytes32 service)"
FOREVER = 2**32 - 1

# ---- token


async def mint(actor: Actor, account: bytes, amount: int) -> None:
    """Make test tokens for an account; only the test token does that."""
    await actor.do("TestToken", "mint", account, amount)


async def token_balance(reader: Reader, account: bytes) -> int:
    """Return what an account holds of the token."""
    (balance,) = await reader.call("TestToken", "balanceOf", account)
    return int(balance)


async def allow(actor: Actor, name: str, amount: int) -> None:
    """Let a contract pull `amount` from the actor, if it may not already.

    Raises
    ------
    BadInput
        the actor has less than that.
    """
    if not amount:
        return
    balance = await token_balance(actor.reader, actor.address)
    if balance < amount:
        raise BadInput(f"0x{actor.address.hex()} has {balance} base units of the token, {amount} are needed")
    spender = actor.reader.address(name)
    (allowed,) = await actor.reader.call("TestToken", "allowance", actor.address, spender)
    if allowed < amount:
        await actor.do("TestToken", "approve", spender, amount)


# ---- services


async def add_service(actor: Actor, spec: bytes, uri: str, max_price: int, owner_share: int = 0) -> bytes:
    """Add the service that a spec describes and return its 32-byte id; the actor owns it.

    Parameters
    ----------
    spec : the YAML file's bytes; the chain keeps their hash.
    uri : where the spec is found.
    max_price : most a registration may ask, base units per million units.
    owner_share : of the fee, in ten-thousandths.
    """
    parsed = parse(spec, "service spec")
    service, kind = service_id(parsed.id), parsed.kind.encode().ljust(32, b"\x00")
    head = await block_at(actor.reader.rpc, "latest")
    (running,) = await actor.reader.call("Params", "numberAt", head.number)
    (charges,) = await actor.reader.call("Params", "chargesAt", running)
    fee = charges[2]
    await allow(actor, "Services", fee)
    await actor.do("Services", "add", service, kind, spec_hash(spec), uri, max_price, owner_share, fee)
    return service


# ---- applications


async def deposit(actor: Actor, application: bytes, amount: int) -> None:
    """Add to an application's escrow, from the actor's tokens."""
    await allow(actor, "Escrow", amount)
    await actor.do("Escrow", "deposit", application, amount)


async def grant(actor: Actor, gateway: bytes, service: bytes, cap: int, expiry: int = FOREVER) -> None:
    """Let a gateway spend up to `cap` in each session of a service, up to and with session `expiry`."""
    await actor.do("Escrow", "grant", gateway, service, cap, expiry)


async def revoke(actor: Actor, gateway: bytes, service: bytes) -> None:
    """Take a grant back."""
    await actor.do("Escrow", "grant", gateway, service, 0, FOREVER)


async def thaw_escrow(actor: Actor, amount: int) -> None:
    """Start to take `amount` out of the actor's escrow."""
    await actor.do("Escrow", "thaw", amount)


async def withdraw_escrow(actor: Actor, to: bytes) -> None:
    """Send what has thawed to `to`."""
    await actor.do("Escrow", "withdraw", to)


# ---- gateways


async def bond_gateway(actor: Actor, gateway: bytes, amount: int) -> None:
    """Add to a gateway's bond, from the actor's tokens."""
    await allow(actor, "Gateways", amount)
    await actor.do("Gateways", "addBond", gateway, amount)


async def thaw_gateway(actor: Actor, amount: int) -> None:
    """Start to take `amount` out of the actor's bond."""
    await actor.do("Gateways", "thaw", amount)


async def unbond_gateway(actor: Actor, to: bytes) -> None:
    """Send what has thawed of the actor's bond to `to`."""
    await actor.do("Gateways", "withdraw", to)


# ---- suppliers


@dataclass(frozen=True, slots=True)
class Profile:
    """What a registration says of itself.

    Parameters
    ----------
    operator : 20 bytes, who signs Responses.
    endpoint : `host:port`.
    payouts : (account, share in ten-thousandths); the shares sum to 10,000.
    fingerprint : 32 bytes, SHA-256 of the TLS certificate; zero for plain text.
    """

    operator: bytes
    endpoint: str
    payouts: tuple[tuple[bytes, int], ...]
    fingerprint: bytes = b"\x00" * 32

    @property
    def fields(self) -> tuple[object, ...]:
        """The struct as the contract takes it."""
        return self.operator, self.fingerprint, self.endpoint, self.payouts


def consent(operator: Key, registry: bytes, chain_id: int, owner: bytes, service: bytes) -> bytes:
    """Return an operator's signed consent to work for `owner` in a service, 65 bytes."""
    words = keccak(OPERATE_TYPE.encode()) + address_word(owner) + service
    return operator.sign(Domain(chain_id, registry).digest(words))


async def register(
    actor: Actor, service: bytes, profile: Profile, price: int, bond: int, operator: Key | None = None
) -> int:
    """Offer a service from the next session on and return the registration's id; the actor owns it.

    Parameters
    ----------
    price : base units per million units.
    bond : base units, pulled from the actor.
    operator : the profile's operator key, which consents; None where it is the actor's own.
    """
    await allow(actor, "Registry", bond)
    signed = _consent_of(actor, operator, service)
    mined = await actor.do("Registry", "register", service, profile.fields, price, bond, signed)
    registration: int = fact(mined, "Registry", "Registered", "registration")
    return registration


async def update(
    actor: Actor, registration: int, service: bytes, profile: Profile, operator: Key | None = None
) -> None:
    """Replace a registration's operator, endpoint, fingerprint and payouts."""
    await actor.do("Registry", "setProfile", registration, profile.fields, _consent_of(actor, operator, service))


async def set_price(actor: Actor, registration: int, price: int) -> None:
    """Change a registration's price; its operator may, too."""
    await actor.do("Registry", "setPrice", registration, price)


async def bond_registration(actor: Actor, registration: int, amount: int) -> None:
    """Add to a registration's bond, from the actor's tokens."""
    await allow(actor, "Registry", amount)
    await actor.do("Registry", "addBond", registration, amount)


async def leave(actor: Actor, registration: int) -> None:
    """Leave a service: the whole bond thaws."""
    await actor.do("Registry", "thawAll", registration)


async def stay(actor: Actor, registration: int) -> None:
    """Cancel a thaw; the registration is listed again if its bond suffices."""
    await actor.do("Registry", "cancelThaw", registration)


async def unbond_registration(actor: Actor, registration: int, to: bytes) -> None:
    """Send what has thawed of a registration's bond to `to`."""
    await actor.do("Registry", "withdraw", registration, to)


def fact(mined: Mined, name: str, event: str, value: str) -> Any:
    """Return a value of the first event of a name in a transaction's receipt."""
    known = contract(name)
    topic = known.topic(event)
    for log in map(log_of, mined.receipt["logs"]):
        if log.topics and log.topics[0] == topic:
            return known.events[topic].facts(log)[value]
    raise Unavailable(f"no event {event} in transaction 0x{mined.hash.hex()}")


def _consent_of(actor: Actor, operator: Key | None, service: bytes) -> bytes:
    if operator is None or operator.address == actor.address:
        return b""
    deployment = actor.deployment
    return consent(operator, deployment.contracts.registry, deployment.chain_id, actor.address, service)
