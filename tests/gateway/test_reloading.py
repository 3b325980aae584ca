"""What a configuration names in files is read again by a reload, and taken up only where all of it can be read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from pocketnode.cli.gateway_parts import Lanes, only_check
from pocketnode.errors import ConfigError
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.reloading import Reloading
from tests.gateway.conftest import Running, Start, configured
from tests.gateway.market import DOMAIN, GATEWAY
from tests.gateway.test_recount import ASK, CHAT, MODEL, WORDS, folder, says  # noqa: F401 - `folder` is a fixture
from tests.gateway.test_trail import Collector, collector  # noqa: F401 - a fixture


async def reload(gateway: Running, *configs: GatewayConfig) -> list[bool]:
    """Reload a gateway with one configuration after the other; return which were taken up."""
    waiting = list(configs)
    daemon = gateway.daemon
    reloading = Reloading(lambda: waiting.pop(0), daemon.config, [daemon.adopt], [daemon.prepare])
    return [await reloading.reload() for _ in configs]


async def test_tokenizers_are_taken_up(start: Start, tmp_path: Path, folder: Path) -> None:  # noqa: F811
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = says(WORDS, 34, 180)
    assert (await gateway.post(CHAT, ASK))[0] == 200
    with_one = configured(tmp_path, tokenizers={MODEL: str(folder)})
    missing = configured(tmp_path, tokenizers={MODEL: str(tmp_path / "nowhere")}, limits={"body_mib": 0.0001})
    with structlog.testing.capture_logs() as logged:
        assert await reload(gateway, with_one) == [True]
        assert (await gateway.post(CHAT, ASK))[0] == 503
        assert await reload(gateway, missing) == [False]
        assert (await gateway.post(CHAT, ASK))[0] == 503, "the old tokenizer counts on, and no other key is taken up"
    refusals = [line["error"] for line in logged if line["event"].startswith("reload refused")]
    assert ["nowhere" in refusal for refusal in refusals] == [True]
    assert not [line for line in logged if line["event"] == "restart needed"]
    assert await reload(gateway, configured(tmp_path)) == [True]
    assert (await gateway.post(CHAT, ASK))[0] == 200


async def test_a_collector_is_taken_up_and_left(
    start: Start,
    tmp_path: Path,
    collector: Collector,  # noqa: F811
) -> None:
    gateway = await start(suppliers=1)
    await gateway.rpc("eth_getCode", "0x1", "0x1")
    telling = configured(tmp_path, telemetry={"otlp": collector.url})
    assert await reload(gateway, telling) == [True]
    for number in range(3):
        await gateway.rpc("eth_getCode", hex(2 + number), "0x1")
    assert await reload(gateway, configured(tmp_path)) == [True]
    await asyncio.gather(*gateway.daemon._closing)
    await gateway.rpc("eth_getCode", "0x9", "0x1")
    assert [span.name for span in collector.spans if span.name.startswith("eth/")] == ["eth/eth_getCode"] * 3


def test_a_certificate_is_read_again_for_lanes_to_come(tmp_path: Path) -> None:
    lanes = Lanes(GATEWAY, DOMAIN)
    files: dict[str, Any] = {"certificate": "gateway.crt", "key": "gateway.key"}
    config = configured(tmp_path, client_tls=files)
    for check in (lanes.prepare, only_check):
        with pytest.raises(ConfigError, match=r"gateway\.crt"):
            check(config)
    for name in files.values():
        (tmp_path / name).write_text("first")
    lanes.prepare(config)()
    (tmp_path / "gateway.crt").write_text("renewed")
    take = lanes.prepare(config)
    assert lanes._links.client is not None
    assert lanes._links.client.certificate == b"first"
    take()
    assert lanes._links.client.certificate == b"renewed"
    lanes.prepare(configured(tmp_path))()
    assert lanes._links.client is None


def test_the_keeper_checks_what_workers_will_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        only_check(configured(tmp_path, tokenizers={MODEL: str(tmp_path / "nowhere")}))
    only_check(configured(tmp_path, telemetry={"otlp": "http://127.0.0.1:1"}))
