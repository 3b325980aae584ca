"""The port that all workers of a gateway listen on together, held by the process that keeps them."""

from __future__ import annotations

import socket

from pocketnode.errors import ConfigError
from pocketnode.gateway.config import host_port


def held(listen: str) -> socket.socket:
    """Return a socket that is bound to `host:port`, and listens to nobody: connections go to the workers.

    It gives port 0 a number, and refuses a port on which another gateway listens: the kernel would let both share it.

    Raises
    ------
    ConfigError
        the address cannot be had.
    """
    host, port = host_port(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of one process before, connections may linger
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        raise ConfigError(f"listener {listen}: {error.strerror}: choose another `listen`") from error
    return bound


def listen_of(listen: str, bound: socket.socket) -> str:
    """Return `host:port` with the port that is held."""
    host, _, _ = listen.rpartition(":")
    return f"{host}:{bound.getsockname()[1]}"
