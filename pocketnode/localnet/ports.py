"""TCP ports on 127.0.0.1: free ones from the system, and who holds a taken one."""

from __future__ import annotations

import socket

import psutil

from pocketnode.errors import ConfigError

HOST = "127.0.0.1"


def free(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on now; a server must take its own soon."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [int(server.getsockname()[1]) for server in held]
    finally:
        for server in held:
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
