"""What API keys used adds up, whatever is written together and by whom."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.usage import BATCH, UsageKey, UsageStore, Used

keys = st.builds(
    UsageKey,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["eth", "llm"]),
    st.sampled_from(["x", "y"]),
    st.sampled_from([1, 2]),
)
counts = st.integers(0, 10**6)
used = st.builds(Used, counts, counts, counts, counts, st.integers(0, 2**90))
writes = st.lists(st.tuples(st.sampled_from(["0", "1"]), st.dictionaries(keys, used, max_size=6)), max_size=5)


@settings(max_examples=30, deadline=None)
@given(writes)
def test_sums_are_of_all_that_was_written(written: list[tuple[str, dict[UsageKey, Used]]]) -> None:
    engine = open_store("sqlite:///:memory:")
    sums: dict[UsageKey, Used] = {}
    for worker, batch in written:
        UsageStore(engine, worker).add(batch)
        for key, more in batch.items():
            known = sums.setdefault(key, Used())
            for name in Used.__slots__:
                setattr(known, name, getattr(known, name) + getattr(more, name))
    assert dict(UsageStore(engine).rows()) == sums
    engine.dispose()


def test_more_sums_than_are_read_at_once(tmp_path: Path) -> None:
    engine = open_store(sqlite_url(tmp_path / "gateway.db"))
    store = UsageStore(engine)
    batch = {UsageKey(f"{number}", "eth", "x", 1): Used(1, number) for number in range(2 * BATCH + 1)}
    store.add(batch)
    store.add(batch)
    assert store.units("7") == 14
    assert {used.requests for _, used in store.rows()} == {2}
    assert len(list(store.rows())) == len(batch)
    engine.dispose()
