"""supplier.yaml: what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketnode.errors import ConfigError
from pocketnode.supplier import config as configs
from pocketnode.supplier.config import Secret, SupplierConfig

ROOT = Path(__file__).parents[2]
LEAST: dict[str, Any] = {
    "deployment": "deployment.json",
    "rpc": ["http://127.0.0.1:8545"],
    "keystore": "operator.json",
    "password_file": "password",
    "services": [{"id": "eth", "price": 5, "backends": [{"url": "http://127.0.0.1:8545"}]}],
}


def loaded(folder: Path, **changed: Any) -> SupplierConfig:
    path = folder / "supplier.yaml"
    path.write_text(yaml.safe_dump({**LEAST, **changed}))
    return configs.load(path)


def test_paths_are_meant_from_the_files_folder(tmp_path: Path) -> None:
    secret = {"authorization": {"file": "token", "prefix": "Bearer "}}
    backends = [{"url": "https://node.example/v2", "headers": secret, "tls": {"ca": "ca.pem"}}]
    config = loaded(tmp_path, services=[{"id": "eth", "price": 5, "spec": "eth.yaml", "backends": backends}])
    (tmp_path / "token").write_text("abc\n")
    assert config.deployment == tmp_path / "deployment.json"
    assert config.store == f"sqlite:///{tmp_path / 'supplier.db'}"
    (service,) = config.services
    assert service.spec == tmp_path / "eth.yaml"
    assert service.backends[0].tls.ca == tmp_path / "ca.pem"
    header = service.backends[0].headers["authorization"]
    assert isinstance(header, Secret)
    assert header.value() == "Bearer abc"
    assert service.backends[0].label == "node.example"


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"unknown": 1}, "unknown"),
        ({"listen": "nowhere"}, "listen"),
        ({"rpc": []}, "rpc"),
        ({"services": [{"id": "eth", "price": -1, "backends": [{"url": "http://x"}]}]}, "services.0.price"),
        ({"services": [{"id": "eth", "price": 1, "backends": [{"url": "x"}]}]}, "services.0.backends.0.url"),
        ({"services": [{"id": "eth", "price": 1, "backends": [{"url": "http://x"}] * 2}]}, "services"),
        ({"policy": {"allow": ["0x12"]}}, "policy.allow.0"),
    ],
)
def test_what_breaks_the_schema_is_named(changed: dict[str, Any], place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f": {place}: "):
        loaded(tmp_path, **changed)


def test_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "supplier.yaml"
    path.write_text("listen: 127.0.0.1:9443\nadmin:\n  listen: 127.0.0.1:9100\n  tokens: x\n")
    with pytest.raises(ConfigError, match=f"{path}:4: admin.tokens: ") as refused:
        configs.load(path)
    assert f"{path}:1: deployment: Field required" in str(refused.value)


def test_a_missing_file_or_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="readable configuration"):
        configs.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="not set"):
        Secret(env="POCKETNODE_NO_SUCH_VARIABLE").value()


def test_policy_knows_gateways_however_they_are_written(tmp_path: Path) -> None:
    gateway = "0xAbCdEf0000000000000000000000000000000001"
    raw = bytes.fromhex(gateway[2:])
    policy = loaded(tmp_path, policy={"allow": [gateway], "credit_limits": {gateway: 7}}).policy
    assert policy.serves(raw)
    assert not policy.serves(b"\x09" * 20)
    assert policy.credit_of(raw) == 7
    assert policy.credit_of(b"\x09" * 20) == 2_000_000
    assert not loaded(tmp_path, policy={"deny": [gateway]}).policy.serves(raw)


def test_the_example_holds() -> None:
    example = ROOT / "deploy" / "supplier.yaml"
    config = SupplierConfig.model_validate(yaml.safe_load(example.read_text()))
    assert {service.id for service in config.services} == {"eth", "smollm2"}
