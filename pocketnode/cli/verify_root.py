"""Is an answer's record under the root that its session's statement put on chain? The second half of `verify`."""

from __future__ import annotations

from typing import Any

import aiohttp

from pocketnode.chain.client import Rpc
from pocketnode.chain.deployment import Deployment, address
from pocketnode.chain.events import Stated, read_logs, topic_of, typed
from pocketnode.chain.heads import block_at
from pocketnode.crypto import merkle
from pocketnode.errors import BadInput, RemoteError, Unavailable
from pocketnode.gateway.verifying import Verified
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.record import decode
from pocketnode.protocol.session import pot_id


async def under_root(
    deployed: Deployment, rpc: Rpc, gateway_url: str, api_key: str, number: int, checked: Verified
) -> dict[str, Any]:
    """Return what the statement says of the answer, its record shown to be under the statement's root.

    Raises
    ------
    RemoteError
        rule 5.5: the record is of another answer, or not under the root.
    Unavailable
        the gateway does not answer, or the session is not stated yet.
    """
    told = await _told(gateway_url, api_key, checked)
    try:
        record, path = bytes.fromhex(told["record"][2:]), [bytes.fromhex(node[2:]) for node in told["path"]]
        place, size, gateway = int(told["place"]), int(told["size"]), address(told["gateway"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{gateway_url} gives a malformed proof: {error}") from error
    found = decode(record)
    if (found.receipt, found.response) != (checked.relay, checked.response_digest):
        raise RemoteError("5.5", "the gateway's record is of another answer")
    pot = pot_id(checked.receipt.session, gateway)
    stated = await _stated(deployed, rpc, number, pot)
    if stated is None:
        raise Unavailable("the session is not stated yet: ask again when it is over", 30.0)
    if not merkle.verify(record, place, size, path, stated.relays_root):
        raise RemoteError("5.5", f"the record is not under the root 0x{stated.relays_root.hex()} of the statement")
    verdict = Verdict(found.verdict).name.lower()
    return {"relays_root": "0x" + stated.relays_root.hex(), "place": place, "relays": size, "verdict": verdict}


async def _told(gateway_url: str, api_key: str, checked: Verified) -> dict[str, Any]:
    url = f"{gateway_url.rstrip('/')}/v1/relays/0x{checked.relay.hex()}"
    try:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {api_key}"}) as http,
            http.get(url) as answer,
        ):
            told = await answer.json()
            if answer.status != 200:
                raise Unavailable(f"{url}: HTTP {answer.status}: {told}")
    except (aiohttp.ClientError, ValueError) as error:
        raise Unavailable(f"{url}: {error}") from error
    return told if isinstance(told, dict) else {}


async def _stated(deployed: Deployment, rpc: Rpc, number: int, pot: bytes) -> Stated | None:
    windows = deployed.windows
    end = windows.anchor + (number + 1) * windows.length - 1
    last = min(end + windows.statement, (await block_at(rpc, "latest")).number)
    logs = await read_logs(rpc, deployed.contracts.settlement, end + 1, last, (topic_of(Stated), pot))
    return next((event for event in map(typed, logs) if isinstance(event, Stated)), None)
