"""Payouts: when a session counts as settled, and what people are shown of it."""

from io import StringIO

from rich.console import Console

from pocketnode.localnet.payouts import SessionPay, SupplierPay, is_settled, session_pay, table
from pocketnode.localnet.plan import Options, Plan
from pocketnode.localnet.view import Line, Screen, draw, take_quality, take_sessions, take_status
from pocketnode.settlement.books import Book, BookLine

NAMES = {b"\x0a" * 20: "supplier-1", b"\x0b" * 20: "supplier-2"}


def line(rank: int, units: int, withdrawn: int | None, stated: int = 100, claimed: int = 0) -> BookLine:
    return BookLine(rank, rank + 7, bytes((10 + rank,)) * 20, units, 9_000, stated, claimed, 98, 0, withdrawn)


def book(*lines: BookLine, final: bool = True) -> Book:
    service = b"eth".ljust(32, b"\0")
    return Book(b"\x01" * 32, b"\x02" * 20, service, 3, b"\x03" * 20, final, 40, True, 200, 4, None, lines, agrees=True)


def test_a_session_is_settled_once_it_is_final_and_everyone_has_been_sent_the_pay() -> None:
    assert is_settled(book(line(0, 50, 98), line(1, 50, 98)))
    assert not is_settled(book(line(0, 50, 98), line(1, 50, None)))
    assert not is_settled(book(line(0, 50, 98), line(1, 50, 98), final=False))


def test_a_session_names_who_served_in_it() -> None:
    session = session_pay(book(line(0, 50, 98), line(1, 50, 98, stated=0, claimed=100), line(2, 0, None)), NAMES)
    assert [supplier.supplier for supplier in session.suppliers] == ["supplier-1", "supplier-2"]
    assert [supplier.quality for supplier in session.suppliers] == [0.9, None]
    assert [supplier.claimed for supplier in session.suppliers] == [False, True]
    assert [supplier.amount for supplier in session.suppliers] == [100, 100]
    assert (session.service, session.session, session.debit, session.fee) == ("eth", 3, 200, 4)


def a_session(balanced: bool = True) -> SessionPay:
    one = SupplierPay("supplier-1", 1, 50, 1.0, 100, 99, 0, False)
    two = SupplierPay("supplier-3", 3, 50, None, 100, 97, 0, True)
    return SessionPay(3, "eth", "01", True, 200, 4, balanced, [one, two])


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
    assert screen.lines["supplier-2"].pay == 0
    assert (screen.settled, screen.debit) == (2, 400)


def test_the_view_shows_what_a_supplier_says_of_itself() -> None:
    backends = [{"served": 30, "failures": 1, "mean_s": 0.01}, {"served": 10, "failures": 0, "mean_s": 0.41}]
    sessions = [
        {"session": 7, "acknowledged_units": 500, "unacknowledged_units": 1},
        {"session": 8, "acknowledged_units": 20, "unacknowledged_units": 3},
        {"session": 8, "acknowledged_units": 4, "unacknowledged_units": 0},
    ]
    shown_line = Line("supplier-1")
    take_status(shown_line, {"services": [{"backends": backends}], "sessions": sessions})
    assert (shown_line.relays, shown_line.units_now, round(shown_line.latency_ms)) == (40, 27, 110)
    console = Console(width=100, record=True, file=StringIO())
    console.print(draw(Screen(session=8, blocks_left=5, lines={"supplier-1": shown_line})))
    shown = console.export_text()
    assert "session 8" in shown
    assert "110 ms" in shown


def test_the_view_shows_the_running_sessions_quality_of_who_served_in_it() -> None:
    plan = Plan({}, {f"supplier-{n}": f"0x{n:040x}" for n in (1, 2, 3)}, Options())
    screen = Screen(lines={name: Line(name) for name in plan.addresses})

    def session(number: int, quality: int) -> dict[str, object]:
        verdicts = {"good": 2, "wrong": 0, "fault": 1, "timeout": 1}
        served = {"operator": f"0x{1:040X}", "relays": 4, "quality": quality, "verdicts": verdicts}
        idle = {"operator": f"0x{2:040x}", "relays": 0, "quality": 9750}
        return {"service": "eth", "number": number, "suppliers": [served, idle]}

    take_quality(screen, plan, {"sessions": [session(9, 8000), session(8, 9000)]})
    assert screen.lines["supplier-1"].quality == {"eth": 0.8}
    assert screen.lines["supplier-1"].failures == {("eth", 8): 2, ("eth", 9): 2}
    assert screen.lines["supplier-2"].quality == {}
