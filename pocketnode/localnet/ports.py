"""TCP ports on 127.0.0.1: free ones from the system, and who holds a taken one."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

import psutil

from pocketnode.errors import ConfigError

HOST = "127.0.0.1"
OURS = (20_000, 32_000)


def free(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on now; a server must take its own soon.

    They lie below those that the system hands out for port 0 and to clients: between now and the moment when a server
    takes its port, no other connection gets it by chance.
    """
    held: dict[int, socket.socket] = {}
    try:
        while len(held) < count:
            port = random.randint(*OURS)
            with suppress(OSError):
                held[port] = socket.create_server((HOST, port)) if port not in held else held[port]
        return list(held)
    finally:
        for server in held.values():
            server.close()


def check(port: int, what: str, cure: str) -> None:
    """Raise ConfigError if `port` is taken, naming who holds it."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise ConfigError(f"port {port} of {what} is taken{_holder(port)}: {cure}") from error


def _holder(port: int) -> str:
    """Return " by NAME (pid N)", or nothing where the system does not tell."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
