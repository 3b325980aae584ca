"""Whatever stands in a file that an operator names: it is read, or refused with a word; no traceback, no hang."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketnode.chain import deployment
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key
from pocketnode.errors import ConfigError
from pocketnode.gateway import config as gateway_config
from pocketnode.services import spec
from pocketnode.supplier import config as supplier_config

# The same cases each time; FUZZ=100000 looks at so many others.
MANY = int(os.environ.get("FUZZ", "0"))
quick = settings(
    max_examples=MANY or 150,
    deadline=2000,
    derandomize=not MANY,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

GATEWAY: dict[str, Any] = {
    "deployment": "deployment.json",
    "rpc": ["http://127.0.0.1:1"],
    "keystore": "key.json",
    "password_file": "password",
    "applications": [{"address": "0x" + "11" * 20, "services": ["eth"]}],
    "admin": {"token_file": "token"},
}
SUPPLIER: dict[str, Any] = {
    "deployment": "deployment.json",
    "rpc": ["http://127.0.0.1:1"],
    "keystore": "key.json",
    "password_file": "password",
    "services": [{"id": "eth", "price": 1, "backends": [{"url": "http://127.0.0.1:1"}]}],
}
DEPLOYMENT: dict[str, Any] = {
    "chain_id": 31337,
    "block": 1,
    "windows": {"anchor": 1, "length": 20, "grace": 2, "statement": 5, "claim": 10, "thaw": 60},
    "contracts": {"token": "0x" + "22" * 20},
}
PARTS = ("params", "escrow", "gateways", "services", "registry", "sessions", "settlement")
DEPLOYMENT["contracts"] |= dict.fromkeys(PARTS, "0x" + "33" * 20)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
TRAPS = [
    "2024-13-45",
    "!!python/object:os.system {}",
    "&a [*a]",
    "- ? :",
    "\t:",
    "1e999999",
    "[" * 600,
    "{a: " * 600,
    "\x00",
    "0x",
]


@st.composite
def spoiled(draw: st.DrawFn, sound: dict[str, Any]) -> dict[str, Any]:
    """A sound value with some of its parts, at any depth, put out or replaced."""
    made: dict[str, Any] = json.loads(json.dumps(sound))
    for _ in range(draw(st.integers(1, 3))):
        _spoil(draw, made)
    return made


def _spoil(draw: st.DrawFn, node: Any) -> None:
    places: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not places:
        return
    place = draw(st.sampled_from(places))
    if isinstance(node[place], dict | list) and draw(st.booleans()):
        _spoil(draw, node[place])
    elif draw(st.booleans()):
        node[place] = draw(values)
    else:
        del node[place]


def reads(read: Callable[[Path], object], path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        read(path)
    except ConfigError as refusal:
        assert str(path) in str(refusal)


READERS: dict[str, Callable[[Path], object]] = {
    "gateway": gateway_config.load,
    "supplier": supplier_config.load,
    "deployment": deployment.read,
    "keystore": lambda path: keystore.load(path, "password"),
}


@pytest.mark.parametrize("reader", READERS)
@quick
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "ignore")))
def test_any_bytes(tmp_path: Path, reader: str, raw: bytes) -> None:
    reads(READERS[reader], tmp_path / "file", raw)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_the_formats(tmp_path: Path, reader: str, trap: str) -> None:
    reads(READERS[reader], tmp_path / "file", trap)
    reads(READERS[reader], tmp_path / "file", f"listen: {trap}")


@quick
@given(made=spoiled(GATEWAY))
def test_a_gateway_configuration_that_is_nearly_sound(tmp_path: Path, made: dict[str, Any]) -> None:
    reads(gateway_config.load, tmp_path / "gateway.yaml", yaml.safe_dump(made, allow_unicode=True))


@quick
@given(made=spoiled(SUPPLIER))
def test_a_supplier_configuration_that_is_nearly_sound(tmp_path: Path, made: dict[str, Any]) -> None:
    reads(supplier_config.load, tmp_path / "supplier.yaml", yaml.safe_dump(made, allow_unicode=True))


@quick
@given(made=spoiled(DEPLOYMENT))
def test_a_deployment_file_that_is_nearly_sound(tmp_path: Path, made: dict[str, Any]) -> None:
    reads(deployment.read, tmp_path / "deployment.json", json.dumps(made))


@pytest.fixture(scope="module")
def sound_keystore(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("keys") / "key.json"
    keystore.create(path, Key(b"\x01" * 32), "password", cost=2)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@quick
@given(data=st.data())
def test_a_keystore_that_is_nearly_sound(tmp_path: Path, sound_keystore: dict[str, Any], data: st.DataObject) -> None:
    made = data.draw(spoiled(sound_keystore))
    reads(READERS["keystore"], tmp_path / "key.json", json.dumps(made))


@pytest.mark.parametrize("cost", [0, -1, 3, 2**20 + 1, 2**31, 2**40, 2**64, 10**30])
def test_a_keystore_that_asks_for_the_moon(tmp_path: Path, sound_keystore: dict[str, Any], cost: int) -> None:
    """Neither minutes of work nor gigabytes of memory, whatever the file says that opening it takes."""
    made = json.loads(json.dumps(sound_keystore))
    made["crypto"]["kdfparams"]["n"] = cost
    reads(READERS["keystore"], tmp_path / "key.json", json.dumps(made))
    made["crypto"]["kdf"] = "pbkdf2"
    made["crypto"]["kdfparams"] = {"c": cost, "dklen": 32, "prf": "hmac-sha256", "salt": "00" * 16}
    reads(READERS["keystore"], tmp_path / "key.json", json.dumps(made))


@quick
@given(raw=st.binary(max_size=200) | values.map(lambda value: yaml.safe_dump(value).encode()))
def test_any_bytes_are_a_service_spec_or_refused(raw: bytes) -> None:
    try:
        spec.parse(raw, "spec.yaml")
    except ConfigError as refusal:
        assert "spec.yaml" in str(refusal)
