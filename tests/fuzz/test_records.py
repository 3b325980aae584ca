"""What a gateway gives as its records, and where it says that they are: read, told or refused, whatever it is."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pocketnode.errors import Unavailable
from pocketnode.protocol.quality import Slo, Verdict
from pocketnode.protocol.record import RECORD_BYTES, RelayRecord, encode
from pocketnode.protocol.types import Entry, Params, Session, SessionSupplier
from pocketnode.settlement.audit import Audit, Claimed, Own, Terms, examine
from pocketnode.transport.records import URL_CHARS_MOST, HttpRecords, is_public
from tests.fuzz.test_bodies import often

INDEX = 3
SESSION = Session(
    bytes(32), bytes(20), bytes(32), 7, 140, 159, True, (SessionSupplier(INDEX, 1, bytes(20), 5, "", b""),)
)
PARAMS = Params(0, 20, 24, 2, 5, 10, 60, 200, 2_000, 5_000)
uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
digests = st.binary(min_size=32, max_size=32)
records = st.builds(RelayRecord, digests, digests, uint32 | st.just(INDEX), uint64, uint32, uint32, st.integers(0, 255))
slos = st.builds(Slo, uint32, st.floats(0, 1e9), st.integers(0, 10**9))
entries = st.none() | st.builds(Entry, st.just(INDEX), uint64, st.integers(0, 2**16 - 1))


def audited(raw: list[bytes], said: Entry | None, slo: Slo, cap: int, own: Own) -> Audit:
    return examine(raw, Claimed(bytes(32), said), INDEX, own, Terms(slo, SESSION, PARAMS, cap))


@often
@given(st.binary(max_size=RECORD_BYTES * 6), entries, slos, st.integers(0, 2**96))
@example(encode(RelayRecord(bytes(32), bytes(32), INDEX, 2**64 - 1, 0, 0, Verdict.GOOD)) * 3, None, Slo(0), 1)
def test_any_bytes_are_audited(raw: bytes, said: Entry | None, slo: Slo, cap: int) -> None:
    pieces = [raw[at : at + RECORD_BYTES] for at in range(0, len(raw), RECORD_BYTES)]
    audit = audited(pieces, said, slo, cap, Own(2**64, 2**64))
    assert audit.findings  # no such thing hashes to the root that was stated


@often
@given(st.lists(records, max_size=20), entries, slos, st.integers(0, 2**96), uint64)
def test_any_records_are_audited(found: list[RelayRecord], said: Entry | None, slo: Slo, cap: int, served: int) -> None:
    audit = audited([encode(record) for record in found], said, slo, cap, Own(served, served, 0))
    assert 0 <= audit.units < 2**64
    assert 0 <= audit.quality <= 10_000
    assert all(len(str(finding)) < 2_000 for finding in audit.findings)


@often
@given(
    st.text(max_size=400) | st.text(max_size=40).map("http://{}".format) | st.text(max_size=40).map("https://{}".format)
)
@example("http://[::1")
@example("http://a:99999")
@example("https://" + "a" * 400)
async def test_any_address_is_asked_or_not(url: str) -> None:
    if is_public(url):
        assert url.startswith(("http", "HTTP")) or "://" in url
        assert len(url) <= URL_CHARS_MOST
        return
    try:
        async with HttpRecords(1).records(url, bytes(32)):
            raise AssertionError("was asked")
    except Unavailable:
        pass
