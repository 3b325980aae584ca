"""What a transaction offers for its place in a block (EIP-1559)."""

from __future__ import annotations

from dataclasses import dataclass

GWEI = 10**9


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """How far a sender goes.

    Parameters
    ----------
    cap_wei : most to pay for one gas, tip included; while the chain costs more, the sender waits.
    bump_after_blocks : a transaction that is not mined by then is replaced by one that offers more.
    gas_margin : share added to the estimated gas, in 1/100.
    """

    cap_wei: int = 500 * GWEI
    bump_after_blocks: int = 3
    gas_margin: int = 25


@dataclass(frozen=True, slots=True)
class Offer:
    """Most to pay for one gas, and how much of it goes to who builds the block; wei."""

    fee_wei: int
    tip_wei: int


def first_offer(base_fee_wei: int, tip_wei: int, policy: FeePolicy) -> Offer | None:
    """Return the offer of a first attempt, or None while the chain costs more than the cap.

    Twice the base fee covers six full blocks in a row.

    >>> first_offer(10, 2, FeePolicy(cap_wei=100))
    Offer(fee_wei=22, tip_wei=2)
    """
    if base_fee_wei >= policy.cap_wei:
        return None
    fee_wei = min(policy.cap_wei, 2 * base_fee_wei + tip_wei)
    return Offer(fee_wei, min(tip_wei, fee_wei))


def bumped(before: Offer, base_fee_wei: int, tip_wei: int, policy: FeePolicy) -> Offer | None:
    """Return the offer that replaces `before`, or None if the cap is reached.

    Nodes take a replacement only if both numbers rise by a tenth; an eighth and one wei is safe with all of them.

    >>> bumped(Offer(80, 8), 10, 2, FeePolicy(cap_wei=100))
    Offer(fee_wei=91, tip_wei=10)
    """
    least = Offer(before.fee_wei + before.fee_wei // 8 + 1, before.tip_wei + before.tip_wei // 8 + 1)
    fee_wei = max(least.fee_wei, min(policy.cap_wei, 2 * base_fee_wei + tip_wei))
    if fee_wei > policy.cap_wei:
        return None
    return Offer(fee_wei, min(fee_wei, max(least.tip_wei, tip_wei)))
