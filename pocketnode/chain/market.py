"""The market as daemons read it: parameters, sessions, grants, services, registrations. Cached and bounded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pocketnode.chain.cache import ChainCache
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.errors import Reverted
from pocketnode.chain.heads import Block, Heads
from pocketnode.chain.reader import Reader
from pocketnode.chain.registrations import Registration, registration_of
from pocketnode.errors import NotFound, Unavailable
from pocketnode.protocol.types import Grant, Params, Session, SessionSupplier

SESSIONS_MOST = 20_000
GRANTS_MOST = 50_000


@dataclass(frozen=True, slots=True)
class Service:
    """A service as the chain knows it; `max_price` is base units per million units."""

    id: bytes
    owner: bytes
    kind: str
    spec_hash: bytes
    uri: str
    max_price: int
    owner_share: int


class Market:
    """What the contracts say. `heads.run` must be among the daemon's jobs.

    Parameters
    ----------
    confirmations : blocks into a session after which a reorg of its start is no longer reckoned with.
    """

    def __init__(self, reader: Reader, heads: Heads, confirmations: int = 12) -> None:
        self.reader, self.heads = reader, heads
        self._confirmations = confirmations
        self._params: ChainCache[int, Params] = ChainCache(1_000)
        self._sessions: ChainCache[tuple[bytes, bytes, int], Session] = ChainCache(SESSIONS_MOST)
        self._grants: ChainCache[tuple[bytes, bytes, bytes, int], Grant | None] = ChainCache(GRANTS_MOST)
        self._owners: ChainCache[tuple[int, int], bytes] = ChainCache(GRANTS_MOST)
        self._services: ChainCache[bytes, Service] = ChainCache(1_000)

    @property
    def deployment(self) -> Deployment:
        """Which deployment this is."""
        return self.reader.deployment

    @property
    def head(self) -> int:
        """Number of the newest block; 0 before the first was read."""
        return self.heads.number

    async def wait_block(self, number: int) -> Block:
        """Return the head once it is block `number` or later."""
        return await self.heads.wait(number)

    def number_now(self) -> int:
        """Return the number of the running session (rule 4.1)."""
        windows = self.deployment.windows
        return max(0, self.head - windows.anchor) // windows.length

    async def params(self, number: int) -> Params:
        """Return the parameters as they hold in a session."""
        started = self._started(number)
        return await self._params.get(number, self._head_hash(), started, lambda: self._read_params(number))

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        """Return a session with its suppliers in rank order.

        `covered` is what it was when read first: the chain does not keep it for past sessions.

        Raises
        ------
        Unavailable
            the session has not begun, its seed is no longer known, or no node answers.
        """
        if self._start(number) > self.head:
            await self.heads.refresh()
        if self._start(number) > self.head:
            raise Unavailable(f"session {number} begins at block {self._start(number)}, it is {self.head}", 1.0)
        key = (application, service, number)
        return await self._sessions.get(key, self._head_hash(), self._settled(number), lambda: self._read_session(*key))

    async def grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        """Return an application's grant for a gateway as it holds in a session, or None (rule 3.5)."""
        key = (application, gateway, service, number)
        return await self._grants.get(key, self._head_hash(), self._settled(number), lambda: self._read_grant(*key))

    async def service(self, service: bytes) -> Service:
        """Return a service as it stands now.

        Raises
        ------
        NotFound
            nobody has added it.
        """
        return await self._services.get(service, self._head_hash(), False, lambda: self._read_service(service))

    async def registration(self, registration: int) -> Registration:
        """Return a registration by its id, as it stands from the next session on.

        Raises
        ------
        NotFound
            there is none.
        """
        return await registration_of(self.reader, registration)

    async def owner(self, registration: int) -> bytes:
        """Return who owned a registration when it was first asked for in the running session.

        Raises
        ------
        NotFound, Unavailable
            there is none, or no node answers.
        """

        async def read() -> bytes:
            return (await self.registration(registration)).owner

        return await self._owners.get((registration, self.number_now()), self._head_hash(), True, read)

    async def registration_by(self, service: bytes, operator: bytes) -> Registration | None:
        """Return the registration that an operator key belongs to in a service, or None."""
        (found,) = await self.reader.call("Registry", "registrationBy", service, operator)
        return await self.registration(found) if found else None

    # ---- reading

    async def _read_params(self, number: int) -> Params:
        (rules,) = await self.reader.call("Params", "rulesAt", number)
        suppliers, fee, quality_share, w_min, _, _ = rules
        w = self.deployment.windows
        return Params(w.anchor, w.length, suppliers, w.grace, w.statement, w.claim, w.thaw, fee, quality_share, w_min)

    async def _read_session(self, application: bytes, service: bytes, number: int) -> Session:
        try:
            (raw,) = await self.reader.call("Sessions", "sessionOf", application, service, number)
        except Reverted as error:
            raise Unavailable(f"session {number}: {error}", 1.0) from error
        return _session(raw)

    async def _read_grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        (cap,), (listed,) = await asyncio.gather(
            self.reader.call("Escrow", "capAt", application, gateway, service, number),
            self.reader.call("Escrow", "grantsOf", application),
        )
        if not cap:
            return None
        expiry = next((e for to, of, _, e in listed if (to, of) == (gateway, service)), number)
        return Grant(cap, max(expiry, number))

    async def _read_service(self, service: bytes) -> Service:
        try:
            (raw,) = await self.reader.call("Services", "serviceOf", service)
        except Reverted as error:
            raise NotFound(f"no service {service.rstrip(bytes(1)).decode(errors='replace')!r}") from error
        owner, _, kind, spec_hash, uri, max_price, owner_share = raw
        name = kind.rstrip(b"\x00").decode(errors="replace")
        return Service(service, owner, name, spec_hash, uri, max_price, owner_share)

    # ---- time

    def _start(self, number: int) -> int:
        return self.deployment.windows.anchor + number * self.deployment.windows.length

    def _started(self, number: int) -> bool:
        return self.head >= self._start(number)

    def _settled(self, number: int) -> bool:
        """Return whether the start of a session is deep enough in the chain to stay."""
        return self.head >= self._start(number) + self._confirmations

    def _head_hash(self) -> bytes:
        return self.heads.newest.hash if self.heads.newest else b""


def _session(raw: Any) -> Session:
    found, application, service, number, start, end, _, _, covered, suppliers = raw
    listed = tuple(
        SessionSupplier(index, registration, operator, price, endpoint, fingerprint)
        for index, registration, operator, price, fingerprint, endpoint in suppliers
    )
    return Session(found, application, service, number, start, end, covered, listed)
