"""`python -m tests.fuzz.exploring NAME`: looks for bytes that reach new lines of the program, from the corpus on.

What reaches a line that nothing reached before is kept and changed further. What ends otherwise than by a refusal, or
takes long, is written to `corpus/NAME`, so that it is tried again with the other tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import click

from tests.fuzz.targets import BYTES_MOST, CORPUS, TARGETS, cases

PROGRAM: Final = "/pocketnode/"
SLOW_S: Final = 2.0
ODD: Final = (
    b"",
    b"\x00",
    b"\xff" * 9,
    b"-1",
    b"1e999",
    b"\r\n\r\n",
    b"[" * 900,
    b'{"a":' * 300,
    b"null",
    b"\xed\xa0\x80",
)
Line = tuple[str, int]


def run(name: str, raw: bytes) -> None:
    """Give bytes to a target."""
    result = TARGETS[name](raw)
    if inspect.iscoroutine(result):
        asyncio.run(result)


def changed(luck: random.Random, raw: bytes, other: bytes) -> bytes:
    """Return bytes a little different: cut, repeated, flipped, or spliced with another case or an odd piece."""
    at, to = sorted(luck.randrange(len(raw) + 1) for _ in range(2))
    flipped = bytes([luck.randrange(256)])
    ways = (
        lambda: raw[:at] + raw[to:],
        lambda: raw[:at] + raw[at:to] * luck.randrange(2, 9) + raw[to:],
        lambda: raw[:at] + flipped + raw[at + 1 :],
        lambda: raw[:at] + luck.choice(ODD) + raw[to:],
        lambda: raw[:at] + other[luck.randrange(len(other) + 1) :],
    )
    return luck.choice(ways)()[:BYTES_MOST]


def traced(name: str, raw: bytes) -> set[Line]:
    """Return the lines of the program that bytes reach."""
    seen: set[Line] = set()

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return on_line

    def on_call(frame: FrameType, _event: str, _: Any) -> Any:
        return on_line if PROGRAM in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        run(name, raw)
    finally:
        sys.settrace(before)
    return seen


def explore(name: str, seconds: float, seed: int, found: Callable[[bytes, str], None]) -> tuple[int, int]:
    """Explore for so long; return how many bytes were tried, and how many lines they reached."""
    luck = random.Random(f"{name}:{seed}")
    pool = [path.read_bytes() for path in cases(name)]
    reached: set[Line] = set()
    for raw in pool:
        reached |= traced(name, raw)
    tried, deadline_s = 0, time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        raw = luck.choice(pool)
        for _ in range(luck.randrange(1, 4)):
            raw = changed(luck, raw, luck.choice(pool))
        tried += 1
        try:
            begun_s = time.monotonic()
            run(name, raw)
            slow = time.monotonic() - begun_s > SLOW_S
            lines = set() if slow else traced(name, raw)
        except Exception as error:
            found(raw, repr(error))
            continue
        if slow:
            found(raw, "slow")
        elif not lines <= reached:
            reached |= lines
            pool.append(raw)
    return tried, len(reached)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(TARGETS)))
@click.option("--seconds", default=60.0, show_default=True, help="For each.")
@click.option("--seed", default=0, show_default=True)
def main(names: tuple[str, ...], seconds: float, seed: int) -> None:
    """Explore targets (all by default); exit with 1 if anything was found."""
    wrong = []

    for name in names or tuple(TARGETS):

        def keep(raw: bytes, why: str, name: str = name) -> None:
            path = CORPUS / name / f"found-{hashlib.sha256(raw).hexdigest()[:12]}"
            path.write_bytes(raw)
            wrong.append(f"{path}: {why}")

        tried, lines = explore(name, seconds, seed, keep)
        click.echo(f"{name}: {tried} tried, {lines} lines reached")
    for words in wrong:
        click.echo(words)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
