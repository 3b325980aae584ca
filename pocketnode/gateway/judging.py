"""What an answer is worth: the verdict on who gave it, and whether another supplier is asked. Pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from pocketnode.protocol.quality import Verdict


class Judgement(Enum):
    """What an answer is worth: the verdict on who gave it, and whether another is asked."""

    TAKE = (Verdict.GOOD, True)
    REFUSED = (Verdict.NOBODY, True)  # an answer of the kind "your request is wrong"
    UNSURE = (Verdict.NOBODY, False)  # perhaps another knows better; else it is taken
    FAULT = (Verdict.FAULT, False)
    WRONG = (Verdict.WRONG, False)

    @property
    def verdict(self) -> Verdict:
        return self.value[0]

    @property
    def final(self) -> bool:
        return self.value[1]


# Looks at an answer's status and body and at the units it is said to cost.
Check = Callable[[int, bytes, int], Judgement]

# HTTP statuses of a backend that say something of it, not of the request.
_FAULTY: Final = frozenset({401, 402, 403, 405, 407, 500, 502, 503, 504})
_UNSURE: Final = frozenset({404, 408, 425, 429, 501})


def judge_status(status: int) -> Judgement | None:
    """Return what an HTTP status alone says; None where the body must be looked at."""
    if status < 400:
        return None
    if status in _FAULTY or status >= 505:
        return Judgement.FAULT
    return Judgement.UNSURE if status in _UNSURE else Judgement.REFUSED
