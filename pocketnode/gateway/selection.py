"""Which supplier is asked next. Pure: measured facts and random numbers in, a choice out.

Quality makes tiers, relative to the best of the pool; latency times load only chooses among equals, since a healthy
supplier answers slowly now and then. A small share of the traffic goes to who is not in the best tier, so that a
supplier can prove itself again. Somebody is always left: who is benched by everything else is still tried last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

# A supplier whose rate of good answers is this much below the best one's falls to the next tier.
TIER_STEPS: Final = (0.03, 0.15)
PRIOR_PASSES: Final = 19.0
SPREAD: Final = 3.0  # times the least latency and load, up to which a prefix stays with its supplier
PRIOR: Final = 20.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one supplier for one class of relays.

    Parameters
    ----------
    operator, owner : 20 bytes; a retry goes to another owner.
    passes, tries : decayed counts of attempts that say something of the supplier.
    latency_ms : smoothed time to the first byte; 0 for unknown.
    traffic : decayed count of all that it was given.
    usable : it has an open lane.
    resting : it was busy or failed a moment ago.
    """

    operator: bytes
    owner: bytes
    passes: float = 0.0
    tries: float = 0.0
    latency_ms: float = 0.0
    traffic: float = 0.0
    usable: bool = True
    resting: bool = False

    @property
    def rate(self) -> float:
        """The rate of good answers, 0.95 for a supplier of whom nothing is known."""
        return (self.passes + PRIOR_PASSES) / (self.tries + PRIOR)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Operators by tier, the best first; made a few times a second, used for each relay.

    `capped` are those whose owner has its full share: asked only where no other is left.
    """

    tiers: tuple[tuple[bytes, ...], ...] = ()
    capped: frozenset[bytes] = frozenset()
    owners: dict[bytes, bytes] = field(default_factory=dict)
    latency_ms: dict[bytes, float] = field(default_factory=dict)


def rank(standings: Iterable[Standing], owner_share: float) -> Ranking:
    """Return the usable suppliers in tiers; who rests is left out, unless all do.

    Parameters
    ----------
    owner_share : most of the traffic that one owner gets, in (0, 1]; at least an even share among the owners.
    """
    known = list(standings)
    reachable = [s for s in known if s.usable]
    pool = [s for s in reachable if not s.resting] or reachable
    if not pool:
        return Ranking()
    best = max(s.rate for s in pool)
    tiers: list[list[bytes]] = [[] for _ in range(len(TIER_STEPS) + 1)]
    for standing in pool:
        tiers[_tier(best - standing.rate)].append(standing.operator)
    return Ranking(
        tiers=tuple(tuple(tier) for tier in tiers if tier),
        capped=_capped(pool, owner_share),
        owners={s.operator: s.owner for s in known},
        latency_ms=_latencies(pool),
    )


def pick(
    ranking: Ranking,
    load: Callable[[bytes], int],
    random: Callable[[], float],
    probation_share: float = 0.0,
    tried: Collection[bytes] = (),
    prefix: bytes = b"",
) -> bytes | None:
    """Return the operator to ask, or None where every one has been tried.

    Parameters
    ----------
    load : relays in flight at an operator.
    random : uniform in [0, 1).
    probation_share : how often somebody outside the best tier, or at random within it, is asked.
    tried : operators that this request has been given to; their owners come last.
    prefix : what requests share that one supplier has computed already; empty for none.
    """
    if tried:
        return _untried(ranking, load, random, tried)
    if probation_share and random() < probation_share:
        below = [operator for tier in ranking.tiers[1:] for operator in tier]
        pool: Sequence[bytes] = below or (ranking.tiers[0] if ranking.tiers else ())
        return pool[int(random() * len(pool))] if pool else None
    for tier in ranking.tiers:
        pool = [o for o in tier if o not in ranking.capped] if ranking.capped else tier
        if pool:
            return _same(ranking, pool, load, prefix) if prefix else _quicker(ranking, pool, load, random)
    return _quicker(ranking, [o for tier in ranking.tiers for o in tier], load, random)


def _untried(
    ranking: Ranking, load: Callable[[bytes], int], random: Callable[[], float], tried: Collection[bytes]
) -> bytes | None:
    """Return a supplier of another owner, else another supplier of the same one."""
    owners = {ranking.owners.get(operator) for operator in tried}
    for others in (True, False):
        for tier in ranking.tiers:
            pool = [o for o in tier if o not in tried and (not others or ranking.owners[o] not in owners)]
            if pool:
                return _quicker(ranking, pool, load, random)
    return None


def _quicker(
    ranking: Ranking, pool: Sequence[bytes], load: Callable[[bytes], int], random: Callable[[], float]
) -> bytes | None:
    """Return the better of two at random, by latency times load: no herd runs to the one best."""
    size = len(pool)
    if size < 2:
        return pool[0] if pool else None
    first = int(random() * size)
    second = (first + 1 + int(random() * (size - 1))) % size
    one, other = pool[first], pool[second]
    cost_one = ranking.latency_ms[one] * (1 + load(one))
    cost_other = ranking.latency_ms[other] * (1 + load(other))
    return one if cost_one <= cost_other else other


def _same(ranking: Ranking, pool: Sequence[bytes], load: Callable[[bytes], int], prefix: bytes) -> bytes:
    """Return the supplier that requests with this prefix go to, as long as it is not much later than the quickest.

    Rendezvous hashing: where a supplier comes or goes, only what was its own moves.
    """
    costs = {operator: ranking.latency_ms[operator] * (1 + load(operator)) for operator in pool}
    most = SPREAD * min(costs.values())
    near = [operator for operator in pool if costs[operator] <= most]
    return max(near, key=lambda operator: blake2b(prefix + operator, digest_size=8).digest())


def _tier(behind: float) -> int:
    return sum(behind > step for step in TIER_STEPS)


def _latencies(pool: Sequence[Standing]) -> dict[bytes, float]:
    """Return each latency; who is not measured yet is taken for the quickest, so that it is."""
    known = [s.latency_ms for s in pool if s.latency_ms]
    least = min(known, default=1.0)
    return {s.operator: max(0.1, s.latency_ms or least) for s in pool}


def _capped(pool: Sequence[Standing], owner_share: float) -> frozenset[bytes]:
    owners = {s.owner for s in pool}
    whole = sum(s.traffic for s in pool)
    most = max(owner_share, 1.0 / len(owners)) * whole
    if len(owners) < 2 or whole < PRIOR:
        return frozenset()
    given = {owner: sum(s.traffic for s in pool if s.owner == owner) for owner in owners}
    return frozenset(s.operator for s in pool if given[s.owner] > most)
