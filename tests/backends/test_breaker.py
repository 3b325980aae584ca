"""The states of a breaker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketnode.backends.breaker import (
    FAILURES_IN_A_ROW,
    NEW,
    OPEN_MOST_S,
    WARM_S,
    Breaker,
    State,
    due_s,
    failed,
    share,
    succeeded,
)


def opened(times: int = FAILURES_IN_A_ROW) -> Breaker:
    breaker = NEW
    for _ in range(times):
        breaker = failed(breaker, 100.0)
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    assert opened(FAILURES_IN_A_ROW - 1).state is State.CLOSED
    assert opened().state is State.OPEN
    assert share(opened(), 100.0) == 0
    assert succeeded(opened(FAILURES_IN_A_ROW - 1), 100.0) == NEW


def test_after_a_good_check_it_gets_a_growing_share() -> None:
    warming = succeeded(opened(), 200.0)
    assert warming.state is State.WARMING
    assert share(warming, 200.0) == 0.1
    assert share(warming, 200.0 + WARM_S / 2) == 0.5
    assert succeeded(warming, 201.0) == warming
    assert succeeded(warming, 200.0 + WARM_S) == NEW


def test_one_failure_while_warming_opens_it_for_twice_as_long() -> None:
    first = opened()
    again = failed(succeeded(first, 200.0), 201.0)
    assert again.state is State.OPEN
    assert due_s(first) - first.since_s == 1
    assert due_s(again) - again.since_s == 2


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_whatever_comes_it_is_asked_again_within_a_minute(outcomes: list[tuple[bool, float]]) -> None:
    breaker, now_s = NEW, 0.0
    for good, waited_s in outcomes:
        now_s += waited_s
        breaker = succeeded(breaker, now_s) if good else failed(breaker, now_s)
        assert 0 <= share(breaker, now_s) <= 1
        assert due_s(breaker) <= now_s + OPEN_MOST_S
