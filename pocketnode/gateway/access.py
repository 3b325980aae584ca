"""Who may ask for what, and how much: API keys with scopes and limits, checked before a supplier is bothered.

Limits are counted in fixed windows, by all worker processes together. What a request may use is set aside before and
corrected after, so that requests running at once cannot exceed a limit together, and what failed costs nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pocketnode.errors import BadInput, Corrupt
from pocketnode.gateway.refusal import FORBIDDEN, NO_KEY, OUT_OF_BUDGET, RATE_LIMITED, Refused
from pocketnode.store.counters import FOR_LIFE, MOST, Counted, Counters, slot_id
from pocketnode.store.keys import ApiKey, hash_of

Measure = Literal["requests", "units", "tokens", "flight"]
WINDOW_S: Final = {"second": 1, "minute": 60, "day": 86_400}
UNKNOWN_MOST: Final = 10_000
USED_S: Final = 10.0  # a key that was used this long ago is read with the others
TOTAL_S: Final = 1 << 40  # a window that never ends
IDLE_S: Final = 86_400  # longer than any request is in flight


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

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            ipaddress.ip_network(address, strict=False)
        return addresses


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
    """One limit of one key: `most` in each span of `length_s`; what is in flight counts for no longer than it is."""

    __slots__ = ("id", "length_s", "measure", "most", "name")

    def __init__(self, key: str, measure: Measure, name: str, length_s: int, most: int) -> None:
        self.id = slot_id(key, measure, name)
        self.measure = measure
        self.name = name
        self.length_s = length_s
        self.most = min(MOST, most)

    def counted(self, now_s: float, wanted: int) -> Counted:
        """Return the window of now, as it is counted with all workers."""
        if self.length_s == TOTAL_S:
            # A lost count of what is in flight cures itself; one of a budget would be money.
            until_s = MOST if self.measure != "flight" else int(now_s) + IDLE_S
            return Counted(self.id, FOR_LIFE, until_s, self.most, wanted)
        number = int(now_s) // self.length_s + 1
        return Counted(self.id, number, number * self.length_s, self.most, wanted)

    def left_s(self, now_s: float) -> float:
        """Return the seconds until this window is over."""
        return (int(now_s) // self.length_s + 1) * self.length_s - now_s


class Holder:
    """One key in use: its rules, compiled, and where what it uses is counted.

    Parameters
    ----------
    counters : shared with other workers; its own where nothing is shared.
    used_units : in the key's life, for a budget that was not counted before.
    """

    def __init__(self, key: ApiKey, counters: Counters | None = None, used_units: int = 0) -> None:
        self.key = key
        try:
            self.rules = rules_of(key.rules)
        except BadInput as error:
            raise Corrupt(f"API key {key.id}: {error}") from error
        self.application = bytes.fromhex(self.rules.application[2:]) if self.rules.application else None
        self.windows = _windows(key.id, self.rules)
        self._networks = [ipaddress.ip_network(a, strict=False) for a in self.rules.addresses]
        self._counters = counters if counters is not None or not self.windows else Counters()
        for window in self.windows:
            if window.name == "life" and self._counters is not None:
                self._counters.begin(window.id, used_units)

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

    def reserve(self, now_s: float, units: int, tokens: int = 0, requests: int = 1) -> Reservation:
        """Set aside what a request may use at most; `settle` must follow.

        Parameters
        ----------
        requests : 0 for one that was counted already, such as with another model that failed.

        Raises
        ------
        Refused
            a limit would be exceeded; nothing is set aside then.
        """
        if not self.windows or self._counters is None:
            return UNLIMITED
        wanted = {"requests": requests, "units": units, "tokens": tokens, "flight": 1}
        limits = [window.counted(now_s, wanted[window.measure]) for window in self.windows]
        exceeded = self._counters.reserve(limits)
        if exceeded >= 0:
            raise self._exceeded(self.windows[exceeded], now_s)
        return Reservation(self, limits, self._counters, requests)

    def headers(self, now_s: float) -> dict[str, str]:
        """Return the x-ratelimit headers of the limits on requests and tokens with least left; none without a limit.

        What requests in flight may still use counts as used.
        """
        headers: dict[str, str] = {}
        for measure in ("requests", "tokens"):
            windows = [(self._left(w, now_s), w) for w in self.windows if w.measure == measure]
            if windows:
                left, window = min(windows, key=lambda one: one[0])
                headers[f"x-ratelimit-limit-{measure}"] = str(window.most)
                headers[f"x-ratelimit-remaining-{measure}"] = str(max(0, left))
                headers[f"x-ratelimit-reset-{measure}"] = f"{window.left_s(now_s):.3f}s"
        return headers

    def _left(self, window: Window, now_s: float) -> int:
        counted = window.counted(now_s, 0)
        return window.most - (self._counters.held(counted.id, counted.stamp) if self._counters is not None else 0)

    def _exceeded(self, window: Window, now_s: float) -> Refused:
        if window.measure == "flight":
            return Refused(RATE_LIMITED, f"this API key may have {window.most} requests in flight", retry_after_s=0.1)
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
    """What is set aside for one request; `settle` is called once."""

    __slots__ = ("_counters", "_holder", "_limits", "_requests")

    def __init__(
        self, holder: Holder | None, limits: list[Counted], counters: Counters | None, requests: int = 1
    ) -> None:
        self._requests = requests
        self._holder = holder
        self._limits = limits
        self._counters = counters

    def settle(self, units: int, tokens: int = 0) -> None:
        """Correct what was set aside to what was used; in a window that is over nothing is corrected."""
        if self._holder is None or self._counters is None:
            return
        used = {"requests": self._requests, "units": units, "tokens": tokens, "flight": 0}
        self._counters.settle(self._limits, [used[window.measure] for window in self._holder.windows])


UNLIMITED: Final = Reservation(None, [], None)


class Access:
    """All keys in use. They are read from the store again after `fresh_s`, so that a revocation is seen.

    Parameters
    ----------
    read : returns the keys of these hashes, by hash. Called from a thread, for all keys in use at once: a thousand
        that were read each for itself cost ten times what their relays did.
    used_units : what a key used in its life; asked for keys with a budget that are new here.
    """

    def __init__(
        self,
        read: Callable[[Collection[bytes]], Mapping[bytes, ApiKey]],
        used_units: Callable[[str], int],
        clock: Callable[[], float] = time.time,
        fresh_s: float = 2.0,
        keys_most: int = 100_000,
        counters: Counters | None = None,
    ) -> None:
        self._read = read
        self._used_units = used_units
        self._clock = clock
        self._fresh_s = fresh_s
        self._keys_most = keys_most
        self._counters = counters or Counters()
        self._holders: dict[bytes, tuple[float, Holder]] = {}
        self._asked: set[bytes] = set()  # in the last seconds, and in as many before
        self._asked_before: set[bytes] = set()
        self._asked_since_s = 0.0
        self._unknown: dict[bytes, float] = {}

    async def holder(self, secret: str) -> Holder:
        """Return who has this key.

        Raises
        ------
        Refused
            there is no such key.
        """
        digest = hash_of(secret)
        self._asked.add(digest)
        kept = self._holders.get(digest)
        if kept is not None and self._clock() - kept[0] < self._fresh_s:
            return kept[1]
        if self._unknown.get(digest, 0.0) > self._clock():
            raise Refused(NO_KEY, "this API key is not known")
        await self._refresh(digest)
        kept = self._holders.get(digest)
        if kept is None:
            raise Refused(NO_KEY, "this API key is not known")
        return kept[1]

    async def _refresh(self, wanted: bytes) -> None:
        """Read a key, and with it all others in use that are due."""
        now_s, holders = self._clock(), self._holders
        used = self._asked | self._asked_before
        due = {digest for digest in used if digest in holders and now_s - holders[digest][0] >= self._fresh_s}
        if now_s - self._asked_since_s > USED_S:
            self._asked, self._asked_before, self._asked_since_s = set(), self._asked, now_s
        for digest in due:
            # Whoever comes while we read takes what is kept: with 64 requests in flight each sent its own reader to
            # the store's lock every time, a tenth of the gateway's time.
            holders[digest] = (now_s, holders[digest][1])
        due.add(wanted)
        found = await asyncio.to_thread(self._read, due)
        for digest in due:
            key = found.get(digest)
            if key is None:
                holders.pop(digest, None)
                self._note_unknown(digest)
            else:
                await self._keep(digest, key)

    def _note_unknown(self, digest: bytes) -> None:
        """Remember a key that is none, so that guessing does not reach the store; it may be made any moment."""
        if len(self._unknown) >= UNKNOWN_MOST:
            self._unknown.clear()
        self._unknown[digest] = self._clock() + self._fresh_s

    async def _keep(self, digest: bytes, key: ApiKey) -> None:
        kept = self._holders.get(digest)
        if kept is not None and kept[1].key.rules == key.rules:
            kept[1].key = key
            self._holders[digest] = (self._clock(), kept[1])
            return
        has_budget = "budget_units" in key.rules
        used_units = await asyncio.to_thread(self._used_units, key.id) if has_budget else 0
        if len(self._holders) >= self._keys_most:
            del self._holders[next(iter(self._holders))]
        self._holders[digest] = (self._clock(), Holder(key, self._counters, used_units))


def _windows(key: str, rules: Rules) -> list[Window]:
    windows = []
    if rules.concurrency is not None:
        windows.append(Window(key, "flight", "flight", TOTAL_S, rules.concurrency))
    measures: tuple[Measure, ...] = ("requests", "units", "tokens")
    for measure in measures:
        for name, length_s in WINDOW_S.items():
            most = getattr(rules, f"{measure}_per_{name}")
            if most is not None:
                windows.append(Window(key, measure, name, length_s, most))
    if rules.budget_units is not None:
        windows.append(Window(key, "units", "life", TOTAL_S, rules.budget_units))
    return windows
