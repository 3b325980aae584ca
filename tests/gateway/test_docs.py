"""docs/gateway.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pocketnode.gateway.access import Rules
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.metrics import Metrics

TEXT = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()


def test_the_configuration_in_the_guide_is_accepted(tmp_path: Path) -> None:
    (example,) = re.findall(r"cat > gateway\.yaml <<END\n(.*?)\nEND", TEXT, re.DOTALL)
    filled = re.sub(r"\$\(.*?\)", "0x" + "ab" * 20, example).replace("$POCKETNODE_RPC", "http://127.0.0.1:8545")
    assert GatewayConfig.parse(yaml.safe_load(filled), tmp_path).aliases


def test_every_metric_is_in_the_guide() -> None:
    families = re.findall(rb"# TYPE (pocketnode_gateway_\w+)", Metrics().exposition(list))
    for family in families:
        name = family.decode().removeprefix("pocketnode_gateway")
        assert name in TEXT, name


def test_every_rule_of_a_key_is_in_the_guide() -> None:
    for rule in Rules.model_fields:
        measure = re.match(r"(requests|units|tokens)_per_", rule)
        assert (f"`{measure[0]}" if measure else f"`{rule}`") in TEXT, rule
