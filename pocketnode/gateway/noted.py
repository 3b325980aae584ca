"""What workers tell each other of a chain and of filters, so that it does not matter which one a client reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pocketnode.store.counters import slot_id
from pocketnode.store.notes import Notes

BELIEVED_S: Final = 60.0
RENEW_S: Final = 10.0
NUMBER_BYTES: Final = 16
OPERATOR_BYTES: Final = 20


class NotedHeads:
    """Heads of one service: the highest that any worker believes, and the highest that each client was shown."""

    def __init__(self, notes: Notes, service: str, clock: Callable[[], float] = time.time) -> None:
        self._notes, self._service, self._clock = notes, service, clock
        self._head_id = slot_id("head", service)

    def head(self) -> int:
        """Return the highest block that a worker believed in the last minute; 0 for none."""
        return self._noted()[0]

    def tell(self, head: int) -> None:
        """Say what is believed here."""
        number, age_s = self._noted()
        if head > number or (head == number and age_s > RENEW_S):
            note = head.to_bytes(NUMBER_BYTES, "big") + int(self._clock()).to_bytes(NUMBER_BYTES, "big")
            self._notes.put(self._head_id, note)

    def shown(self, client: str) -> int:
        """Return the highest head that a client was shown by any worker; 0 for none."""
        return self._notes.number(slot_id("shown", self._service, client))

    def show(self, client: str, number: int, anew: bool) -> None:
        """Note what a client was shown; `anew` where what was noted is not believed any more."""
        identity = slot_id("shown", self._service, client)
        if anew:
            self._notes.put(identity, number.to_bytes(2 * NUMBER_BYTES, "big"))
        else:
            self._notes.raise_to(identity, number)

    def called(self, tag: str, number: int) -> int:
        """Return the newest block that a worker knows to be called so, `number` included; 0 for none."""
        return self._notes.raise_to(slot_id("tag", self._service, tag), number)

    def _noted(self) -> tuple[int, float]:
        note = self._notes.get(self._head_id)
        if note is None:
            return 0, 0.0
        number, at_s = (int.from_bytes(part, "big") for part in (note[:NUMBER_BYTES], note[NUMBER_BYTES:]))
        age_s = self._clock() - at_s
        return (number, age_s) if age_s < BELIEVED_S else (0, 0.0)


class NotedFilters:
    """Which supplier keeps what a client made there, such as a filter."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def operator(self, key: str, service: str, made: object) -> bytes | None:
        """Return the operator that keeps it, or None."""
        note = self._notes.get(slot_id("kept", key, service, str(made)))
        return note[:OPERATOR_BYTES] if note is not None else None

    def note(self, key: str, service: str, made: object, operator: bytes) -> None:
        """Say who keeps what was just made."""
        self._notes.put(slot_id("kept", key, service, str(made)), operator)
