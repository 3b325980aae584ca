"""Pots and events: what is noted once stays, and a reorg takes out exactly what it undid."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from pocketnode.protocol.session import pot_id, session_id
from pocketnode.store.events import EventStore
from pocketnode.store.pots import Pot, PotStage, PotStore

PARTY, OTHER = b"p" * 20, b"q" * 20


def pot(number: int = 1) -> Pot:
    application, service = b"a" * 20, b"s" * 32
    return Pot(application, service, number, session_id(application, service, number), b"g" * 20)


def log(block: int, position: int = 0, topics: int = 2) -> dict[str, Any]:
    names = (b"T" * 32, b"P" * 32, b"R" * 32)
    return {
        "address": b"c" * 20,
        "topics": names[:topics],
        "data": b"data",
        "block": block,
        "block_hash": bytes([block]) * 32,
        "transaction": b"t" * 32,
        "position": position,
    }


def test_a_pot_is_opened_once(engine: Engine) -> None:
    pots = PotStore(engine, PARTY)
    pots.open(pot())
    pots.change(pot().id, stage=PotStage.STATED, stated=2**96 - 1)
    pots.open(pot())
    found = pots.get(pot().id)
    assert found is not None
    assert (found.stage, found.stated, found.id) == (PotStage.STATED, 2**96 - 1, pot_id(pot().session, b"g" * 20))
    assert PotStore(engine, OTHER).get(pot().id) is None


def test_finished_pots_are_forgotten_and_others_kept(engine: Engine) -> None:
    pots = PotStore(engine, PARTY)
    for number in (1, 2, 3):
        pots.open(pot(number))
    pots.change(pot(1).id, stage=PotStage.PAID)
    pots.change(pot(3).id, stage=PotStage.PAID)
    assert [p.number for p in pots.unfinished()] == [2]
    assert [p.number for p in pots.prune(before=3)] == [1]
    assert [p.number for p in pots.all()] == [2, 3]


def test_a_reorg_takes_out_what_it_undid(engine: Engine) -> None:
    store = EventStore(engine)
    store.extend(5, b"5" * 32, [log(4), log(5), log(5, 1)])
    store.extend(6, b"6" * 32, [log(6)])
    assert store.checkpoints() == [(6, b"6" * 32), (5, b"5" * 32)]
    assert store.unwind(5) == 1
    assert store.checkpoints() == [(5, b"5" * 32)]
    assert store.of(b"T" * 32, b"P" * 32) == [log(4), log(5), log(5, 1)]
    assert store.of(b"T" * 32, b"X" * 32) == []
    store.prune(before=5)
    assert store.of(b"T" * 32) == [log(5), log(5, 1)]


def test_events_without_a_subject_are_kept_too(engine: Engine) -> None:
    store = EventStore(engine)
    store.extend(1, b"1" * 32, [log(1, topics=1)])
    assert store.of(b"T" * 32) == [log(1, topics=1)]
