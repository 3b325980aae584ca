"""Ports: free ones are free and differ; a taken one is named with what to do."""

import socket

import pytest

from pocketnode.errors import ConfigError
from pocketnode.localnet import ports


def test_free_ports_differ_and_can_be_taken() -> None:
    found = ports.free(5)
    assert len(set(found)) == 5
    for port in found:
        socket.create_server((ports.HOST, port)).close()


def test_a_taken_port_is_one_line_that_says_what_to_do() -> None:
    with socket.create_server((ports.HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            ports.check(port, "the gateway", "choose another with --gateway-port")
    message = str(caught.value)
    assert f"port {port} of the gateway is taken" in message
    assert "--gateway-port" in message
    assert "\n" not in message
