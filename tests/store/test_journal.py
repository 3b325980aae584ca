"""An intent is done once, whatever is asked of the journal and in which order."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from pocketnode.errors import NotFound
from pocketnode.store.journal import Attempt, Intent, Journal, Stage

INTENT = Intent("statement:1", b"t" * 20, b"data", deadline=9)


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine, b"k" * 20)


def attempt(nonce: int = 3, fee_wei: int = 2**200, key: str = INTENT.key) -> Attempt:
    return Attempt(fee_wei.to_bytes(32, "big"), key, nonce, b"raw", fee_wei, 1, 21_000, 5)


def test_a_second_intent_of_a_key_is_the_first(journal: Journal) -> None:
    journal.add(INTENT)
    assert journal.add(Intent("statement:1", None, b"other")).intent == INTENT
    assert [entry.intent for entry in journal.live()] == [INTENT]


def test_a_nonce_is_given_with_the_signed_bytes(journal: Journal) -> None:
    assert journal.next_nonce() == 0
    journal.add(INTENT)
    journal.sign(attempt())
    journal.sign(attempt(fee_wei=2**201))
    assert journal.next_nonce() == 4
    assert journal.get(INTENT.key).stage is Stage.SENT
    assert [a.fee_wei for a in journal.attempts(INTENT.key)] == [2**200, 2**201]


def test_what_is_under_way_cannot_be_begun_again(journal: Journal) -> None:
    journal.add(INTENT)
    journal.sign(attempt())
    assert journal.retry(INTENT).stage is Stage.SENT
    assert len(journal.attempts(INTENT.key)) == 1
    journal.mined(INTENT.key, attempt().hash, 6, b"h" * 32)
    journal.finish(INTENT.key, Stage.DONE)
    assert journal.retry(INTENT).stage is Stage.DONE


def test_what_failed_can_be_begun_again(journal: Journal) -> None:
    journal.add(INTENT)
    journal.sign(attempt())
    journal.finish(INTENT.key, Stage.FAILED, "no")
    again = Intent(INTENT.key, INTENT.target, b"better", deadline=20)
    entry = journal.retry(again)
    assert (entry.stage, entry.intent, entry.nonce, entry.error) == (Stage.QUEUED, again, None, None)
    assert journal.attempts(INTENT.key) == []


def test_a_block_that_is_undone_is_waited_for_again(journal: Journal) -> None:
    journal.add(INTENT)
    journal.sign(attempt())
    journal.mined(INTENT.key, attempt().hash, 6, b"h" * 32)
    journal.finish(INTENT.key, Stage.DONE)
    assert [entry.intent.key for entry in journal.recent(5)] == [INTENT.key]
    assert journal.recent(6) == []
    journal.unwound(INTENT.key)
    (entry,) = journal.live()
    assert (entry.stage, entry.block) == (Stage.SENT, None)


def test_senders_do_not_see_each_other(journal: Journal, engine: Engine) -> None:
    journal.add(INTENT)
    other = Journal(engine, b"o" * 20)
    assert other.live() == []
    with pytest.raises(NotFound):
        other.get(INTENT.key)


def test_old_work_is_forgotten(journal: Journal) -> None:
    journal.add(INTENT)
    journal.sign(attempt())
    journal.mined(INTENT.key, attempt().hash, 6, b"h" * 32)
    journal.finish(INTENT.key, Stage.DONE)
    journal.prune(before=6)
    assert journal.get(INTENT.key)
    journal.prune(before=7)
    with pytest.raises(NotFound):
        journal.get(INTENT.key)
