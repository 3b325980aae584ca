"""Python and Solidity say the same of digests, selection and sessions: the deployed contracts are asked."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.digest import receipt_digest, response_digest, statement_digest
from pocketnode.protocol.session import end_of, number_at, permute, pot_id, rank_of, seed_of, start_of
from pocketnode.protocol.types import Receipt, Response, Statement
from tests.anvil import mine_to
from tests.chain.conftest import Chain

CASES = 12


@pytest.fixture
def reader(chain: Chain) -> Reader:
    return Reader(chain.rpc, chain.deployment)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Random values that are the same in each run."""
    return random.Random(request.node.name)


def some(dice: random.Random, bits: int) -> int:
    """Return a number of up to `bits` bits, an extreme one now and then."""
    return dice.choice((0, 1, 2**bits - 1, dice.getrandbits(bits), dice.getrandbits(bits)))


async def test_receipts_have_one_digest(reader: Reader, dice: random.Random) -> None:
    for _ in range(CASES):
        fields = (
            dice.randbytes(32),
            dice.randbytes(20),
            dice.randbytes(32),
            some(dice, 64),
            some(dice, 128),
            some(dice, 128),
            dice.randbytes(32),
        )
        (theirs,) = await reader.call("Settlement", "receiptDigest", fields)
        assert theirs == receipt_digest(reader.deployment.domain, Receipt(*fields))


async def test_responses_have_one_digest(reader: Reader, dice: random.Random) -> None:
    for _ in range(CASES):
        fields = (
            dice.randbytes(32),
            dice.randbytes(32),
            some(dice, 128),
            some(dice, 32),
            some(dice, 32),
            dice.randbytes(32),
        )
        (theirs,) = await reader.call("Settlement", "responseDigest", fields)
        assert theirs == response_digest(reader.deployment.domain, Response(*fields))


async def test_statements_have_one_digest(reader: Reader, dice: random.Random) -> None:
    for length in (0, 14, 14 * 24):
        fields = (dice.randbytes(20), dice.randbytes(32), some(dice, 64), dice.randbytes(length), dice.randbytes(32))
        (theirs,) = await reader.call("Settlement", "statementDigest", fields)
        assert theirs == statement_digest(reader.deployment.domain, Statement(*fields))


async def test_a_pot_has_one_id(reader: Reader, dice: random.Random) -> None:
    application, service, gateway = dice.randbytes(20), dice.randbytes(32), dice.randbytes(20)
    (theirs,) = await reader.call("Settlement", "potId", (application, service, 7, gateway))
    session = keccak(bytes(12) + application + service + (7).to_bytes(32, "big"))
    assert theirs == pot_id(session, gateway)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 5_000])
async def test_selection_is_one(reader: Reader, dice: random.Random, count: int) -> None:
    seed = dice.randbytes(32)
    for rank in {0, count - 1, *(dice.randrange(count) for _ in range(6))}:
        (index,) = await reader.call("Sessions", "permute", seed, count, rank)
        assert index == permute(seed, count, rank)
        (back,) = await reader.call("Sessions", "inverse", seed, count, index)
        assert back == rank == rank_of(seed, count, index)


async def test_sessions_begin_and_end_alike(reader: Reader, dice: random.Random) -> None:
    heads = Heads(reader.rpc)
    await heads.refresh()
    params = await Market(reader, heads).params(0)
    for number in (0, 1, 2, dice.getrandbits(31)):
        first, last = start_of(number, params), end_of(number, params)
        calls: list[tuple[str, int, Any]] = [
            ("startOf", number, first),
            ("endOf", number, last),
            ("numberAt", first, number),
            ("numberAt", last, number),
            ("statementsUntil", number, last + params.statement_window),
            ("claimsUntil", number, last + params.statement_window + params.claim_window),
        ]
        for function, argument, expected in calls:
            assert (await reader.call("Params", function, argument)) == (expected,)
        assert number_at(first, params) == number_at(last, params) == number


async def test_a_seed_is_of_the_block_before(reader: Reader, dice: random.Random) -> None:
    application, service = dice.randbytes(20), dice.randbytes(32)
    start = reader.deployment.windows.anchor + reader.deployment.windows.length
    await mine_to(reader.rpc, start)
    block = await reader.rpc.ask("eth_getBlockByNumber", hex(start - 1), False)
    (theirs,) = await reader.call("Sessions", "seedOf", application, service, 1)
    assert theirs == seed_of(bytes.fromhex(block["hash"][2:]), application, service)


async def test_everything_fixed_reads_back(reader: Reader) -> None:
    (unsettled,) = await reader.call("Params", "unsettled")
    assert unsettled == reader.deployment.unsettled
