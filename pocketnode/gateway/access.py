"""Who may ask for what, and how much: API keys with scopes and limits, checked before a supplier is bothered.

Limits are counted in fixed windows. What a request may use is set aside before and corrected after, so that requests
running at once cannot exceed a limit together, and what failed costs nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pocketnode.errors import BadInput, Corrupt
from pocketnode.gateway.refusal import FORBIDDEN, NO_KEY, OUT_OF_BUDGET, RATE_LIMITED, Refused
from pocketnode.store.keys import ApiKey, hash_of

Measure = Literal["requests", "units", "tokens"]
WINDOW_S: Final = {"second": 1, "minute": 60, "day": 86_400}
UNKNOWN_MOST: Final = 10_000
TOTAL_S: Final = 1 << 40  # a window that never ends


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rules(_Strict):
    """Scopes and limits of a key; an empty list allows all, None sets no limit."""

    services: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = Field(default=(), description="IP addresses or networks, such as 10.0.0.0/8")
    application: str | None = Field(default=None, pattern=r"^0x[0-9a-fA-F]{40}$")
    requests_per_second: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    requests_per_day: int | None = Field(default=None, ge=1)
    units_per_second: int | None = Field(default=None, ge=1)
    units_per_minute: int | None = Field(default=None, ge=1)
    units_per_day: int | None = Field(default=None, ge=1)
    tokens_per_second: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_day: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    budget_units: int | None = Field(default=None, ge=0, description="units in all, for the life of the key")


def rules_of(text: str) -> Rules:
    """Return the rules in JSON text.

    Raises
    ------
    BadInput
        an unknown rule or a value out of range.
    """
    try:
        return Rules.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"rules of a key: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class Window:
    """One limit: `most` in each span of `length_s`."""

    __slots__ = ("length_s", "measure", "most", "name", "started", "used")

    def __init__(self, measure: Measure, name: str, length_s: int, most: int) -> None:
        self.measure = measure
        self.name = name
        self.length_s = length_s
        self.most = most
        self.started = -1
        self.used = 0

    def turn(self, now_s: float) -> None:
        """Begin a new window if the old one is over."""
        number = int(now_s) // self.length_s
        if number != self.started:
            self.started, self.used = number, 0

    def left_s(self, now_s: float) -> float:
        """Return the seconds until this window is over."""
        return (int(now_s) // self.length_s + 1) * self.length_s - now_s


class Holder:
    """One key in use: its rules, compiled, and what it has used."""

    def __init__(self, key: ApiKey, used_units: int = 0) -> None:
        self.key = key
        try:
            self.rules = rules_of(key.rules)
        except BadInput as error:
            raise Corrupt(f"API key {key.id}: {error}") from error
        self.application = bytes.fromhex(self.rules.application[2:]) if self.rules.application else None
        self.in_flight = 0
        self.windows = _windows(self.rules)
        self._networks = [ipaddress.ip_network(a, strict=False) for a in self.rules.addresses]
        self._budget = next((w for w in self.windows if w.length_s == TOTAL_S), None)
        if self._budget is not None:
            self._budget.started, self._budget.used = 0, used_units

    def check(self, now_s: float, service: str, origin: str | None, address: str | None) -> None:
        """Refuse what the key does not cover.

        Raises
        ------
        Refused
            it is revoked or expired, or made for other services, origins or addresses.
        """
        key, rules = self.key, self.rules
        if key.revoked_s is not None or (key.expires_s is not None and key.expires_s <= now_s):
            raise Refused(NO_KEY, "this API key is revoked or expired")
        if rules.services and service and service not in rules.services:
            raise Refused(FORBIDDEN, f"this API key is not for service {service!r}")
        if rules.origins and origin not in rules.origins:
            raise Refused(FORBIDDEN, "this API key is not for this origin")
        if self._networks and not self._comes_from(address):
            raise Refused(FORBIDDEN, "this API key is not for this address")

    def check_method(self, method: str) -> None:
        """Raise Refused if the key is made for other methods."""
        if self.rules.methods and method not in self.rules.methods:
            raise Refused(FORBIDDEN, f"this API key is not for method {method!r}")

    def check_model(self, model: str) -> None:
        """Raise Refused if the key is made for other models."""
        if self.rules.models and model not in self.rules.models:
            raise Refused(FORBIDDEN, f"this API key is not for model {model!r}", param="model")

    def reserve(self, now_s: float, units: int, tokens: int = 0) -> Reservation:
        """Set aside what a request may use at most; `settle` must follow.

        Raises
        ------
        Refused
            a limit would be exceeded; nothing is set aside then.
        """
        most = self.rules.concurrency
        if most is not None and self.in_flight >= most:
            raise Refused(RATE_LIMITED, f"this API key may have {most} requests in flight", retry_after_s=0.1)
        wanted = {"requests": 1, "units": units, "tokens": tokens}
        for window in self.windows:
            window.turn(now_s)
            if window.used + wanted[window.measure] > window.most:
                raise self._exceeded(window, now_s)
        for window in self.windows:
            window.used += wanted[window.measure]
        self.in_flight += 1
        return Reservation(self, now_s, units, tokens)

    def headers(self, now_s: float) -> dict[str, str]:
        """Return the x-ratelimit headers of the request limit with least left; none where there is no limit."""
        windows = [w for w in self.windows if w.measure == "requests"]
        if not windows:
            return {}
        for window in windows:
            window.turn(now_s)
        window = min(windows, key=lambda w: w.most - w.used)
        return {
            "x-ratelimit-limit-requests": str(window.most),
            "x-ratelimit-remaining-requests": str(max(0, window.most - window.used)),
            "x-ratelimit-reset-requests": f"{window.left_s(now_s):.3f}s",
        }

    def _exceeded(self, window: Window, now_s: float) -> Refused:
        if window.length_s == TOTAL_S:
            return Refused(OUT_OF_BUDGET, f"the budget of {window.most} units is used up")
        words = f"limit of {window.most} {window.measure} per {window.name} reached"
        refused = Refused(RATE_LIMITED, words, retry_after_s=window.left_s(now_s))
        refused.headers = self.headers(now_s)
        return refused

    def _comes_from(self, address: str | None) -> bool:
        try:
            return any(ipaddress.ip_address(address or "") in network for network in self._networks)
        except ValueError:
            return False


class Reservation:
    """What is set aside for one request."""

    __slots__ = ("_holder", "_now_s", "_tokens", "_units")

    def __init__(self, holder: Holder, now_s: float, units: int, tokens: int) -> None:
        self._holder = holder
        self._now_s = now_s
        self._units = units
        self._tokens = tokens

    def settle(self, units: int, tokens: int = 0) -> None:
        """Correct what was set aside to what was used; in a window that is over nothing is corrected."""
        self._holder.in_flight -= 1
        change = {"requests": 0, "units": units - self._units, "tokens": tokens - self._tokens}
        for window in self._holder.windows:
            if window.started == int(self._now_s) // window.length_s:
                window.used += change[window.measure]


class Access:
    """All keys in use. A key is read from the store again after `fresh_s`, so that a revocation is seen."""

    def __init__(
        self,
        read: Callable[[bytes], ApiKey | None],
        used_units: Callable[[str], int],
        clock: Callable[[], float] = time.time,
        fresh_s: float = 2.0,
        keys_most: int = 100_000,
    ) -> None:
        self._read = read
        self._used_units = used_units
        self._clock = clock
        self._fresh_s = fresh_s
        self._keys_most = keys_most
        self._holders: dict[bytes, tuple[float, Holder]] = {}
        self._unknown: dict[bytes, float] = {}

    async def holder(self, secret: str) -> Holder:
        """Return who has this key.

        Raises
        ------
        Refused
            there is no such key.
        """
        digest = hash_of(secret)
        kept = self._holders.get(digest)
        if kept is not None and self._clock() - kept[0] < self._fresh_s:
            return kept[1]
        if self._unknown.get(digest, 0.0) > self._clock():
            raise Refused(NO_KEY, "this API key is not known")
        if kept is not None:
            # Whoever comes while we read takes what is kept: with 64 requests in flight each sent its own reader to
            # the store's lock every time, a tenth of the gateway's time.
            self._holders[digest] = (self._clock(), kept[1])
        key = await asyncio.to_thread(self._read, digest)
        if key is None:
            self._holders.pop(digest, None)
            self._note_unknown(digest)
            raise Refused(NO_KEY, "this API key is not known")
        return await self._keep(digest, key)

    def _note_unknown(self, digest: bytes) -> None:
        """Remember a key that is none, so that guessing does not reach the store; it may be made any moment."""
        if len(self._unknown) >= UNKNOWN_MOST:
            self._unknown.clear()
        self._unknown[digest] = self._clock() + self._fresh_s

    async def _keep(self, digest: bytes, key: ApiKey) -> Holder:
        used_units = await asyncio.to_thread(self._used_units, key.id)
        kept = self._holders.get(digest)  # only now: others may have come while we read
        if kept is not None and kept[1].key.rules == key.rules:
            holder = kept[1]
            holder.key = key
        else:
            holder = Holder(key, used_units)
        if len(self._holders) >= self._keys_most:
            del self._holders[next(iter(self._holders))]
        self._holders[digest] = (self._clock(), holder)
        return holder


def _windows(rules: Rules) -> list[Window]:
    windows = []
    measures: tuple[Measure, ...] = ("requests", "units", "tokens")
    for measure in measures:
        for name, length_s in WINDOW_S.items():
            most = getattr(rules, f"{measure}_per_{name}")
            if most is not None:
                windows.append(Window(measure, name, length_s, most))
    if rules.budget_units is not None:
        windows.append(Window("units", "life", TOTAL_S, rules.budget_units))
    return windows
