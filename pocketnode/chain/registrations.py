"""Registrations as the chain keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from pocketnode.chain.errors import Reverted
from pocketnode.chain.reader import Reader
from pocketnode.errors import NotFound


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration as it stands from the next session on.

    Parameters
    ----------
    listed : whether it is among the service's registrations.
    bond, thawing : base units; `thaws_at` is the first block in which `thawing` can be withdrawn, 0 for none.
    payouts : (account, share in ten-thousandths).
    """

    id: int
    owner: bytes
    service: bytes
    listed: bool
    index: int
    bond: int
    thawing: int
    thaws_at: int
    price: int
    operator: bytes
    fingerprint: bytes
    endpoint: str
    payouts: tuple[tuple[bytes, int], ...]


async def registration_of(reader: Reader, registration: int) -> Registration:
    """Return a registration by its id, as it stands from the next session on.

    Raises
    ------
    NotFound
        there is none.
    """
    try:
        (raw,) = await reader.call("Registry", "registrationOf", registration)
    except Reverted as error:
        raise NotFound(f"no registration {registration}") from error
    owner, service, listed, index, bond, thawing, thaws_at, price, profile = raw
    operator, fingerprint, endpoint, payouts = profile
    return Registration(
        registration,
        owner,
        service,
        listed,
        index,
        bond,
        thawing,
        thaws_at,
        price,
        operator,
        fingerprint,
        endpoint,
        payouts,
    )
