"""What settlement costs in gas, by path, and for each relay at the size of Pocket's network: a calculation, shown.

Gas by path comes from a real chain where the contracts' tests have written it down, so it cannot go stale unseen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.tools import ROOT

SNAPSHOT: Final = ROOT / "contracts" / "snapshots" / "gas.json"
SECONDS_A_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Network:
    """Pocket's size, and the parameters of a chain with blocks of 2 s."""

    applications: int = 200
    services: int = 300
    suppliers: int = 5_250
    relays_a_day: int = 400_000_000
    session_s: int = 3_600
    suppliers_a_session: int = 24
    pots_a_withdrawal: int = 24
    services_an_application: int = 1


def gas_by_path(snapshot: Path = SNAPSHOT) -> dict[str, int]:
    """Return gas by path from the snapshot of the contracts' tests; empty where they were never run."""
    if not snapshot.exists():
        return {}
    return {name: int(gas) for name, gas in json.loads(snapshot.read_text()).items()}


def calculated(paths: dict[str, int]) -> dict[str, Any]:
    """Return gas at Pocket's size from a snapshot; empty where it lacks what is needed.

    A supplier withdraws many sessions at once, so what counts is its cheapest share of one.
    """
    withdrawals = {sessions_in(name): gas for name, gas in paths.items() if name.startswith("withdraw of ")}
    statement_gas = paths.get("statement of 24")
    if statement_gas is None or not withdrawals:
        return {}
    most = max(withdrawals)
    share = {"withdrawn_sessions_at_once": most, "withdrawal_gas_a_session": round(withdrawals[most] / most)}
    return {"statement_gas": statement_gas, **share, **at_size(statement_gas, share["withdrawal_gas_a_session"])}


def sessions_in(name: str) -> int:
    """Return how many sessions a path speaks of.

    >>> sessions_in("withdraw of 24 sessions")
    24
    """
    return int(name.split()[2])


def at_size(statement_gas: int, withdrawal_gas: int, network: Network | None = None) -> dict[str, Any]:
    """Return gas a day and for each relay, step by step.

    Parameters
    ----------
    statement_gas : of one session with `suppliers_a_session` suppliers.
    withdrawal_gas : of one supplier's share of one session.

    >>> at_size(200_000, 10_000)["gas_a_relay"]
    5.28
    """
    network = network or Network()
    sessions = network.applications * network.services_an_application * SECONDS_A_DAY // network.session_s
    statements = sessions * statement_gas
    withdrawals = sessions * network.suppliers_a_session * withdrawal_gas
    whole = statements + withdrawals
    return {
        "sessions_a_day": sessions,
        "statements_gas_a_day": statements,
        "withdrawals_gas_a_day": withdrawals,
        "gas_a_day": whole,
        "relays_a_day": network.relays_a_day,
        "gas_a_relay": round(whole / network.relays_a_day, 4),
    }
