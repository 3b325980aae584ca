"""What a local network writes is what the daemons read."""

from pathlib import Path

import pytest

from pocketnode.crypto import keystore
from pocketnode.gateway import config as gateway_config
from pocketnode.localnet import configs, plan
from pocketnode.localnet.plan import SUPPLIERS, Options, Plan
from pocketnode.localnet.state import Layout
from pocketnode.store.engine import open_store
from pocketnode.store.keys import KeyStore, hash_of
from pocketnode.supplier import config as supplier_config


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "net")
    found.make()
    return found


@pytest.fixture
def network(layout: Layout) -> Plan:
    made = plan.make(layout, Options(gateway_port=0, degraded="supplier-2", withhold=True))
    configs.write(layout, made)
    return made


def test_the_gateway_reads_its_file(layout: Layout, network: Plan) -> None:
    config = gateway_config.load(layout.config("gateway"))
    assert config.listen == network.url("gateway").removeprefix("http://")
    assert config.statements.withhold
    key = keystore.load(config.keystore, keystore.password_from(config.password_file))
    assert f"0x{key.address.hex()}" == network.addresses["gateway"]


@pytest.mark.parametrize("name", SUPPLIERS)
def test_every_supplier_reads_its_file_and_one_is_degraded(layout: Layout, network: Plan, name: str) -> None:
    config = supplier_config.load(layout.config(name))
    assert {service.id: service.price for service in config.services} == configs.PRICES
    degraded = [backend.degrade is not None for service in config.services for backend in service.backends]
    assert degraded == [name == "supplier-2"] * 2
    key = keystore.load(config.keystore, keystore.password_from(config.password_file))
    assert f"0x{key.address.hex()}" == network.addresses[name]


def test_the_api_key_is_in_the_gateways_store_and_stays_the_same(layout: Layout, network: Plan) -> None:
    secret = layout.api_key.read_text().strip()
    configs.write(layout, network)
    assert layout.api_key.read_text().strip() == secret
    store = open_store(gateway_config.load(layout.config("gateway")).store)
    found = KeyStore(store).by_hash(hash_of(secret))
    store.dispose()
    assert found
    assert found.name == "localnet"


def test_a_plan_is_read_as_it_was_made(layout: Layout, network: Plan) -> None:
    assert plan.read(layout) == network
    assert len(set(network.ports.values())) == len(network.ports)
    plan.check_ports(network)
