"""Of the processes that share a store one has the lease, and the next gets it when that is gone."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pocketnode.errors import Unavailable
from pocketnode.store.engine import open_store
from pocketnode.store.lease import Lease


def test_one_has_it_until_it_lets_go(url: str) -> None:
    engines = open_store(url), open_store(url)
    one, other = map(Lease, engines)
    assert one.take()
    assert one.take(), "again, by the same"
    assert not other.take()
    one.confirm()
    one.drop()
    assert other.take()
    assert not one.take()
    other.drop()
    for engine in engines:
        engine.dispose()


def test_who_loses_its_connection_has_lost_it(postgres: str) -> None:
    engines = open_store(f"{postgres}/postgres"), open_store(f"{postgres}/postgres")
    one, other = map(Lease, engines)
    assert one.take()
    with engines[1].connect() as connection:
        mine = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
        connection.execute(text(mine))
    with pytest.raises(Unavailable, match="lease is gone"):
        one.confirm()
    assert other.take()
    other.drop()
    for engine in engines:
        engine.dispose()


def test_a_store_in_memory_is_always_ones_own() -> None:
    engine = open_store("sqlite://")
    assert Lease(engine).take()
    assert Lease(engine).take()
    engine.dispose()
