"""Where an admin application listens, and what opens it: shared by the daemons' admin listeners."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from pocketnode.errors import ConfigError
from pocketnode.web.guard import admits
from pocketnode.web.serve import guards_itself

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})


class Listener:
    """Serves an application until closed."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, host: str, port: int) -> int:
        """Listen, on any port where it is 0, and return the port.

        Raises
        ------
        ConfigError
            the address cannot be had.
        """
        await self._set_up()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            told = f"admin listener {host}:{port}: {error.strerror}: choose another `admin.listen`"
            raise ConfigError(told) from error
        bound: int = self._runner.addresses[0][1]
        return bound

    async def start_at(self, path: Path) -> None:
        """Listen on a Unix socket as well."""
        await self._set_up()
        await web.UnixSite(self._runner, str(path)).start()

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _set_up(self) -> None:
        if self._runner.server is None:
            await self._runner.setup()


def admitted(request: web.Request, token: str) -> bool:
    """Return whether a request may pass: it has the token, or asks for what needs none or is guarded by itself."""
    return request.path in OPEN_PATHS or guards_itself(request.path) or admits(request, token)


def token_in(file: Path) -> str:
    """Return the token in the first line of a file.

    Raises
    ------
    ConfigError
        there is none: an admin listener that asks for a token is never open to everybody.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"admin.token_file {file}: {error.strerror}: write a long random line into it") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"admin.token_file {file}: no token in its first line: write a long random one")
    return lines[0].strip()
