"""A progress bar on what takes over a second; none where stderr is not a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DELAY_S: Final = 0.8  # what is done before then shows nothing
TURN_S: Final = 0.2


@contextmanager
def busy(words: str, total_s: float | None = None) -> Iterator[None]:
    """Show `words` and the time that has passed, while the block runs.

    Parameters
    ----------
    total_s : how long it takes, where that is known: then the bar fills.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    done = threading.Event()
    drawing = threading.Thread(target=_draw, args=(console, words, total_s, done), daemon=True)
    drawing.start()
    try:
        yield
    finally:
        done.set()
        drawing.join()


def _draw(console: object, words: str, total_s: float | None, done: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    assert isinstance(console, Console)
    started_s = time.monotonic()
    if done.wait(DELAY_S):
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(words, total=total_s)
        while not done.wait(TURN_S):
            progress.update(task, completed=time.monotonic() - started_s)
