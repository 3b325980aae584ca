"""Audits are noted, noted again, finished once and forgotten, whatever was heard in which order."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from pocketnode.store.audits import NOTE_MOST, AuditRow, AuditStage, AuditStore

ME, OTHER = b"\x01" * 20, b"\x02" * 20
ROW = AuditRow(b"\x0a" * 32, b"\x03" * 20, b"eth".ljust(32, b"\x00"), 7, b"\x04" * 20, "http://one", 100)


def test_what_is_heard_later_is_kept_but_never_less(engine: Engine) -> None:
    store = AuditStore(engine, ME)
    for served, url in ((100, "http://one"), (300, ""), (200, "http://two")):
        store.note(replace(ROW, served=served, url=url))
    assert store.all() == [replace(ROW, served=300, url="http://two")]
    assert store.get(b"\x0b" * 32) is None


def test_a_finished_audit_stays_finished(engine: Engine) -> None:
    store = AuditStore(engine, ME)
    store.note(ROW)
    store.finish(ROW.pot, AuditStage.DIFFERS, relays=3, units=2**64 - 1, quality=9_000, note="x" * 900)
    store.note(replace(ROW, served=2**100))
    found = store.get(ROW.pot)
    assert found is not None
    assert (found.stage, found.units, found.served) == (AuditStage.DIFFERS, 2**64 - 1, 2**100)
    assert len(found.note) == NOTE_MOST
    assert store.all([AuditStage.WAITING]) == []


def test_each_party_has_its_own_and_old_ones_are_forgotten(engine: Engine) -> None:
    mine, others = AuditStore(engine, ME), AuditStore(engine, OTHER)
    mine.note(ROW)
    others.note(replace(ROW, number=9))
    mine.prune(9)
    others.prune(9)
    assert mine.all() == []
    assert [row.number for row in others.all()] == [9]
