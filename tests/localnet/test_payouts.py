"""Payouts: what the logs of a pot come to, and what people are shown of it."""

import struct
from io import StringIO

from rich.console import Console

from pocketnode.chain.events import Claimed, Collected, GatewayFaulted, SettlementEvent, Stated, Withdrawn
from pocketnode.localnet.payouts import SessionPay, SupplierPay, group, table
from pocketnode.localnet.view import Line, Screen, draw, take_sessions, take_status

POT, OTHER = b"\x01" * 32, b"\x02" * 32
WHO = b"\x0a" * 20


def priced(*ranks: int) -> bytes:
    return b"".join(struct.pack(">IB12sHQ", rank, rank, (100).to_bytes(12, "big"), 9_000, 50) for rank in ranks)


def stated(*ranks: int) -> Stated:
    return Stated(POT, WHO, WHO, b"eth".ljust(32, b"\0"), 3, 100 * len(ranks), b"\0" * 32, priced(*ranks), block=60)


def claimed(rank: int, taken: int = 40) -> Claimed:
    return Claimed(POT, rank, WHO, rank, 20, 40, taken, block=66)


def withdrawn(rank: int, amount: int = 98) -> Withdrawn:
    return Withdrawn(POT, rank, rank, amount, block=80)


def test_a_pot_is_settled_once_everyone_it_owes_has_been_paid() -> None:
    events: list[SettlementEvent] = [stated(0, 2), claimed(1)]
    assert not group(events)[POT].settled
    events += [withdrawn(0), withdrawn(2)]
    assert not group(events)[POT].settled
    assert group([*events, withdrawn(1)])[POT].settled


def test_a_pot_without_statement_is_settled_by_its_claims() -> None:
    pot = group([claimed(1), withdrawn(1)])[POT]
    assert pot.settled
    assert pot.stated is None


def test_the_debit_is_all_that_statement_and_claims_took() -> None:
    assert group([stated(0, 1), claimed(1, taken=40), claimed(1, taken=5)])[POT].debit == 245


def test_pots_are_kept_apart() -> None:
    pots = group([stated(0), Collected(OTHER, b"", WHO, 1, 1, 9), GatewayFaulted(POT, 0, WHO, 5, 7, 70)])
    assert pots[OTHER].collected
    assert pots[POT].collected is None
    assert pots[POT].faults[0].amount == 7


def a_session(balanced: bool = True) -> SessionPay:
    one = SupplierPay("supplier-1", 1, 50, 1.0, 2_000_000, 100, 99, 0, False, 80)
    two = SupplierPay("supplier-3", 3, 50, None, 2_000_000, 100, 97, 0, True, 80)
    return SessionPay(3, "eth", True, 200, 4, True, balanced, [one, two])


def test_a_table_has_everyone_the_fee_and_the_debit() -> None:
    rows = table([a_session()])
    assert [row["who"] for row in rows] == ["supplier-1", "supplier-3 (claimed)", "fee", "application's debit"]
    assert [row["pay"] for row in rows] == [99, 97, 4, 200]
    assert rows[-1]["of its amount"] == "= pay + fee"
    assert table([a_session(balanced=False)])[-1]["of its amount"] == "DOES NOT BALANCE"


def test_the_view_adds_up_all_sessions() -> None:
    screen = Screen(lines={name: Line(name) for name in ("supplier-1", "supplier-2", "supplier-3")})
    take_sessions(screen, [a_session(), a_session()])
    assert (screen.lines["supplier-1"].pay, screen.lines["supplier-1"].amount) == (198, 200)
    assert screen.lines["supplier-1"].quality == 1.0
    assert screen.lines["supplier-2"].pay == 0
    assert (screen.settled, screen.debit) == (2, 400)


def test_the_view_shows_what_a_supplier_says_of_itself() -> None:
    backends = [{"served": 30, "failures": 1, "mean_s": 0.01}, {"served": 10, "failures": 0, "mean_s": 0.41}]
    sessions = [
        {"session": 7, "acknowledged_units": 500, "unacknowledged_units": 1},
        {"session": 8, "acknowledged_units": 20, "unacknowledged_units": 3},
        {"session": 8, "acknowledged_units": 4, "unacknowledged_units": 0},
    ]
    line = Line("supplier-1")
    take_status(line, {"services": [{"backends": backends}], "sessions": sessions})
    assert (line.relays, line.failures, line.units_now, round(line.latency_ms)) == (40, 1, 27, 110)
    console = Console(width=100, record=True, file=StringIO())
    console.print(draw(Screen(session=8, blocks_left=5, lines={"supplier-1": line})))
    shown = console.export_text()
    assert "session 8" in shown
    assert "110 ms" in shown
