"""What a worker asks of the process that keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import aiohttp

from pocketnode.errors import NotFound, Unavailable

ANSWER_S: Final = 20.0


class KeeperProofs:
    """Proofs of relays: the keeper has the records of all workers, and what the chain says of them.

    Parameters
    ----------
    socket : the Unix socket of its admin listener.
    """

    def __init__(self, socket: Path, token: str) -> None:
        self._socket = socket
        self._headers = {"authorization": f"Bearer {token}"}

    async def proven(self, digest: bytes) -> dict[str, Any]:
        """Return the record of the relay with this receipt digest and the path to its root.

        Raises
        ------
        NotFound
            none is kept.
        Unavailable
            the keeper does not answer.
        """
        connector = aiohttp.UnixConnector(str(self._socket))
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout) as http,
                http.get(f"http://keeper/api/relays/0x{digest.hex()}") as answer,
            ):
                facts: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the keeper of the records does not answer: {error}", 1.0) from error
        if answer.status == 404:
            raise NotFound(str(facts.get("error", "no relay of this digest")))
        if answer.status != 200:
            raise Unavailable(f"the keeper of the records answers with HTTP {answer.status}", 1.0)
        return facts
