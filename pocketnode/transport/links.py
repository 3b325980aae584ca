"""The links of a gateway worker: one for each endpoint and certificate, shared by all lanes to it (rule 8.4)."""

from __future__ import annotations

import asyncio

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.transport.answers import KeptAnswers
from pocketnode.transport.channels import ClientCertificate, open_channel
from pocketnode.transport.client import Lane
from pocketnode.transport.grpc_options import PATH
from pocketnode.transport.link import Link
from pocketnode.transport.ports import Opening
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, SupplierFrame

Place = tuple[str, bytes, ClientCertificate | None]  # endpoint, fingerprint of its certificate, what it is shown


class Links:
    """Opens lanes; whoever leads to the same place shares a link, and the attempt to make one.

    A link that ended is forgotten at once, so the next lane makes a new one.

    Parameters
    ----------
    key : of the gateway, which signs Receipts.
    client : shown to suppliers that ask for a certificate. May be replaced: then lanes that open later get other links.
    """

    def __init__(self, key: Key, domain: Domain, client: ClientCertificate | None = None) -> None:
        self._key = key
        self._domain = domain
        self.client = client
        self._links: dict[Place, asyncio.Task[Link]] = {}

    def __len__(self) -> int:
        return len(self._links)

    async def open(
        self, opening: Opening, endpoint: str, fingerprint: bytes, answers: KeptAnswers | None = None
    ) -> Lane:
        """Open a lane to the supplier at `endpoint` and return it once the supplier has agreed.

        Parameters
        ----------
        opening : `gateway` must be the address of our key.
        fingerprint : of the supplier's certificate, as registered; zero for plain text.
        answers : takes the answers of this lane that are worth keeping.

        Raises
        ------
        RemoteError
            the supplier refuses, with the rule it names, or shows another certificate than the registered one.
        Unavailable
            nobody answers there, or the supplier drains.
        """
        link = await self._link((endpoint, fingerprint, self.client))
        lane = Lane(opening, link, self._key, self._domain, answers or KeptAnswers())
        await lane.open()
        return lane

    async def _link(self, place: Place) -> Link:
        making = self._links.get(place)
        if making is None:
            making = self._links[place] = asyncio.ensure_future(self._connect(place))
            making.add_done_callback(lambda made: self._made(place, made))
        return await asyncio.shield(making)

    async def _connect(self, place: Place) -> Link:
        endpoint, fingerprint, client = place
        channel = await open_channel(endpoint, fingerprint, client)
        call = channel.stream_stream(
            PATH, request_serializer=GatewayFrame.SerializeToString, response_deserializer=SupplierFrame.FromString
        )
        return Link(call(), channel, endpoint, lambda: self._forget(place))

    def _made(self, place: Place, made: asyncio.Task[Link]) -> None:
        if made.cancelled() or made.exception() is not None:
            self._forget(place)

    def _forget(self, place: Place) -> None:
        self._links.pop(place, None)


async def open_lane(
    opening: Opening,
    endpoint: str,
    fingerprint: bytes,
    key: Key,
    domain: Domain,
    client: ClientCertificate | None = None,
) -> Lane:
    """Open a lane on a link of its own; otherwise as `Links.open`."""
    return await Links(key, domain, client).open(opening, endpoint, fingerprint)
