"""What workers share: several real processes count against one limit, lease one cap, tell each other notes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketnode.store.caps import Caps
from pocketnode.store.counters import COLUMNS, FOR_LIFE, MOST, Counted, Counters, slot_id
from pocketnode.store.notes import Notes
from pocketnode.store.slots import SLOTS_FIRST

LIMIT, CAP = slot_id("limit"), slot_id("cap")
SPAWN = multiprocessing.get_context("spawn")


def life(most: int, wanted: int, identity: bytes = LIMIT) -> Counted:
    return Counted(identity, FOR_LIFE, MOST, most, wanted)


def together(work: Callable[..., None], count: int, *args: Any) -> list[Any]:
    """Run `work(column, queue, *args)` in so many processes at once; return what they put, once all ended well."""
    queue = SPAWN.Queue()
    processes = [SPAWN.Process(target=work, args=(column, queue, *args)) for column in range(1, count + 1)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(10)
        assert process.exitcode == 0
    return found


def hammer(column: int, queue: Any, folder: Path, most: int) -> None:
    """Use a limit until it is used up: reserve more than is used, fail now and then."""
    draw = random.Random(column)
    counters, used, refused = Counters(folder / "limits", column), 0, 0
    while refused < 200:
        wanted = draw.randint(1, 9)
        limits = [life(most, wanted), life(1 << 40, 1, slot_id("other"))]
        if counters.reserve(limits) >= 0:
            refused += 1
            continue
        spent = draw.choice([0, wanted, wanted // 2])
        counters.settle(limits, [spent, 1])
        used += spent
    queue.put(used)


def test_a_limit_that_processes_share_is_never_exceeded_and_used_up(tmp_path: Path) -> None:
    most = 40_000
    used = sum(together(hammer, 4, tmp_path, most))
    counters = Counters(tmp_path / "limits")
    assert counters.held(LIMIT, FOR_LIFE) == used
    assert most - 9 <= used <= most


def draw(column: int, queue: Any, folder: Path, cap: int) -> None:
    random_ = random.Random(column)
    caps, spent, drawn, refused = Caps(folder / "caps", column), 0, 0, 0
    while refused < 50:
        worth = random_.randint(1, cap // 5_000)
        if spent + worth > drawn:
            more = caps.draw(CAP, cap, spent + worth - drawn, 8)
            drawn += more
            if not more:
                refused += 1
                if refused == 25:
                    caps.keep(CAP, spent)  # what is spared goes to the others
                    drawn = spent
                continue
        spent += worth
    queue.put(spent)


def test_a_cap_that_processes_draw_on_is_never_exceeded_and_used_up(tmp_path: Path) -> None:
    cap = 10**30  # more than 64 bits: a token of 18 decimals
    spent = sum(together(draw, 3, tmp_path, cap))
    assert Caps(tmp_path / "caps").drawn(CAP) <= cap
    assert cap * 98 // 100 <= spent <= cap


def hold_for_ever(column: int, queue: Any, folder: Path) -> None:
    counters = Counters(folder / "limits", column)
    for _ in range(3):
        counters.reserve([life(100, 10)])
    counters.settle([life(100, 10)], [4])
    queue.put(os.getpid())
    time.sleep(60)


def test_what_a_killed_worker_had_set_aside_comes_back_and_what_it_used_stays(tmp_path: Path) -> None:
    queue = SPAWN.Queue()
    process = SPAWN.Process(target=hold_for_ever, args=(2, queue, tmp_path))
    process.start()
    queue.get(timeout=60)
    counters = Counters(tmp_path / "limits", 1)
    assert counters.held(LIMIT, FOR_LIFE) == 24
    assert counters.reserve([life(100, 1)]) == -1
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(10)
    counters.sweep([2])
    assert counters.held(LIMIT, FOR_LIFE) == 4 + 1
    assert counters.reserve([life(100, 96)]) == 0
    assert counters.reserve([life(100, 95)]) == -1


def test_a_process_that_dies_with_the_lock_frees_it(tmp_path: Path) -> None:
    process = SPAWN.Process(target=lock_and_die, args=(tmp_path,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert Counters(tmp_path / "limits").reserve([life(1, 1)]) == -1


def lock_and_die(folder: Path) -> None:
    counters = Counters(folder / "limits", 1)
    counters._slots.lock()
    os.kill(os.getpid(), signal.SIGKILL)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 30), st.integers(0, 100)),
        max_size=80,
    )
)
def test_counts_are_those_of_a_plain_dictionary(steps: list[tuple[int, int, int, int]]) -> None:
    """Several limits at once, over windows that pass: what is held is what was set aside and used in the newest."""
    counters, model = Counters(), dict[int, tuple[int, int]]()
    for which, window, wanted, share in steps:
        stamp = max(window + 1, model.get(which, (0, 0))[0])
        limit = Counted(slot_id(str(which)), window + 1, MOST, 60, wanted)
        held = model[which][1] if which in model and model[which][0] == stamp else 0
        assert (counters.reserve([limit]) == -1) == (held + wanted <= 60)
        model[which] = (stamp, held)
        if held + wanted <= 60:
            used = wanted * share // 100
            counters.settle([limit], [used])
            model[which] = (stamp, held + used)
        assert counters.held(slot_id(str(which)), stamp) == model[which][1]


def test_nothing_is_set_aside_where_one_of_several_limits_refuses() -> None:
    counters = Counters()
    assert counters.reserve([life(10, 5), life(3, 5, CAP)]) == 1
    assert counters.held(LIMIT, FOR_LIFE) == 0


def test_a_budget_begins_once_with_what_was_used_before(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "limits")
    counters.begin(LIMIT, 70)
    assert counters.reserve([life(100, 31)]) == 0
    assert counters.reserve([life(100, 30)]) == -1
    again = Counters(tmp_path / "limits", 1)
    again.begin(LIMIT, 0)
    assert again.held(LIMIT, FOR_LIFE) == 100


def test_tables_grow_and_give_away_what_is_over(tmp_path: Path) -> None:
    first, second = Counters(tmp_path / "limits"), Counters(tmp_path / "limits", 1)
    ids = [slot_id(str(number)) for number in range(3 * SLOTS_FIRST)]
    for identity in ids:
        assert first.reserve([life(9, 2, identity)]) == -1
    assert all(second.held(identity, FOR_LIFE) == 2 for identity in ids)
    size = (tmp_path / "limits").stat().st_size
    for number in range(4 * SLOTS_FIRST):  # windows of one second that were over long ago
        assert second.reserve([Counted(slot_id("window", str(number)), 5, 6, 9, 1)]) == -1
    assert (tmp_path / "limits").stat().st_size <= 2 * size
    assert all(first.held(identity, FOR_LIFE) == 2 for identity in ids)
    assert first.reserve([life(9, 8, ids[0])]) == 0


def test_a_file_of_another_version_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "limits").write_bytes(b"something else" * 100)
    assert Counters(tmp_path / "limits").reserve([life(1, 1)]) == -1


def test_notes_are_seen_by_others_and_fade(tmp_path: Path) -> None:
    now_s = [1000.0]
    one, other = (Notes(tmp_path / "notes", 60, lambda: now_s[0]) for _ in range(2))
    one.put(LIMIT, b"operator")
    assert (other.get(LIMIT) or b"").rstrip(b"\0") == b"operator"
    assert other.raise_to(CAP, 7) == 7
    assert one.raise_to(CAP, 5) == 7
    now_s[0] += 61
    assert one.get(LIMIT) is None
    assert one.number(CAP) == 0
    assert one.raise_to(CAP, 3) == 3


@pytest.mark.parametrize("column", [0, COLUMNS - 1])
def test_every_worker_draws_for_itself(tmp_path: Path, column: int) -> None:
    caps, other = Caps(tmp_path / "caps", column), Caps(tmp_path / "caps", 5)
    assert caps.draw(CAP, 100, 60, 4) == 60
    assert other.draw(CAP, 100, 41, 4) == 0
    assert other.draw(CAP, 100, 1, 4) == 10
    assert (caps.own(CAP), other.own(CAP), caps.drawn(CAP)) == (60, 10, 70)
    caps.keep(CAP, 5)
    assert other.draw(CAP, 100, 85, 4) == 85
