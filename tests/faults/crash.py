"""`python -m tests.faults.crash ARM WORDS..`: a pocketnode command that kills itself at a named step.

The steps are functions of the program, wrapped from outside before the command runs: nothing of this is in the program.
The process kills itself (SIGKILL: nothing is flushed, nothing is said) when it reaches the step that the file ARM
names, and removes the file first, so that the next start lives. With CHEAT in its environment it also cheats.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults import cheating


@dataclass(frozen=True, slots=True)
class Point:
    """Before or after a call of `function` (`module:Class.name`) whose arguments, as text, contain `words`."""

    function: str
    after: bool
    words: str = ""


_KEEP: Final = "pocketnode.store.receipts:ReceiptStore.keep"
_END: Final = "pocketnode.transport.served:ServedRelay.end"
_SEND: Final = "pocketnode.transport.outbox:Outbox._take"
_RECORD: Final = "pocketnode.settlement.records:SessionRecords.append"
_SIGN: Final = "pocketnode.store.journal:Journal.sign"
_SEND_TX: Final = "pocketnode.chain.sender:Sender._broadcast"
_MINED: Final = "pocketnode.store.journal:Journal.mined"
_DONE: Final = "pocketnode.store.journal:Journal.finish"

_STEPS: Final = {
    "receipt-stored": (_KEEP, ""),
    "answer-sent": (_END, ""),
    "record-written": (_RECORD, ""),
    "statement-signed": (_SIGN, "statement:"),
    "statement-sent": (_SEND_TX, "statement:"),
    "statement-mined": (_MINED, "statement:"),
    "statement-final": (_DONE, "statement:"),
    "claim-signed": (_SIGN, "claim:"),
    "claim-sent": (_SEND_TX, "claim:"),
    "claim-mined": (_MINED, "claim:"),
    "withdraw-sent": (_SEND_TX, "withdraw:"),
    "withdraw-mined": (_MINED, "withdraw:"),
    "receipts-dropped": ("pocketnode.store.receipts:ReceiptStore.drop", ""),
}
POINTS: Final = {
    f"{when}-{step}": Point(function, when == "after", words)
    for step, (function, words) in _STEPS.items()
    for when in ("before", "after")
}


def install(name: str, point: Point, armed: Path) -> None:
    """Wrap the function of the point called `name`."""
    module_name, _, path = point.function.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, function = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    setattr(owner, function, _wrapped(getattr(owner, function), name, point, armed))


def _wrapped(function: Callable[..., Any], name: str, point: Point, armed: Path) -> Callable[..., Any]:
    def die(args: tuple[Any, ...], after: bool) -> None:
        if after == point.after and armed.exists() and armed.read_text() == name and point.words in str(args[1:]):
            armed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            die(args, after=False)
            result = await function(*args, **kwargs)
            die(args, after=True)
            return result

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        die(args, after=False)
        result = function(*args, **kwargs)
        die(args, after=True)
        return result

    return called


if __name__ == "__main__":
    arm, *words = sys.argv[1:]
    for name, point in POINTS.items():
        install(name, point, Path(arm))
    if cheat := os.environ.get("CHEAT"):
        cheating.install(cheat)
    sys.argv = ["pocketnode", *words]
    from pocketnode.cli.main import main

    main()
