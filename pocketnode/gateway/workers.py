"""The worker processes of a gateway: started, watched, begun again when they die, ended with the gateway."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import structlog

from pocketnode.errors import Unavailable

BACKOFF_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S: Final = 60.0  # a worker that ran so long begins anew without a wait
SILENT_MOST_S: Final = 60.0
ANSWER_S: Final = 5.0
END_S: Final = 14.0  # a little more than a worker takes to drain

log = structlog.get_logger("workers")


@dataclass(slots=True)
class Worker:
    """One place among the workers, and the process that has it now."""

    number: int
    socket: Path
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    failures: int = 0
    started_s: float = field(default_factory=time.monotonic)
    heard_s: float = 0.0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Workers:
    """All workers. `run` is a job of the daemon.

    Parameters
    ----------
    command : what starts worker `number`, counted from 1, with its admin listener at a Unix socket.
    folder : of the sockets; its path is short.
    token : of the workers' admin listeners.
    silent_most_s : how long a worker that runs may leave its admin listener unanswered.
    """

    def __init__(
        self,
        command: Callable[[int, Path], Sequence[str]],
        folder: Path,
        count: int,
        token: str,
        silent_most_s: float = SILENT_MOST_S,
    ) -> None:
        self._command = command
        self._silent_most_s = silent_most_s
        self._headers = {"authorization": f"Bearer {token}"}
        self.all = [Worker(number, folder / f"{number}.sock") for number in range(1, count + 1)]

    async def run(self) -> None:
        """Keep every worker running until cancelled; then let them drain, and end who does not."""
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self.all:
                    group.create_task(self._keep(worker))
        finally:
            await self._end()

    def reload(self) -> None:
        """Tell every worker to read its configuration again."""
        for worker in self.all:
            self._signal(worker, signal.SIGHUP)

    async def ask(self, worker: Worker, path: str) -> Any:
        """Return what a worker's admin listener answers: JSON, or text where it is that.

        Raises
        ------
        Unavailable
            it does not answer now.
        """
        connector = aiohttp.UnixConnector(str(worker.socket))
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout) as http,
                http.get(f"http://worker{path}") as answer,
            ):
                worker.heard_s = time.monotonic()
                found = await answer.json() if answer.content_type == "application/json" else await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"worker {worker.number} does not answer: {error}", 1.0) from error
        return found

    async def ask_all(self, path: str) -> dict[int, Any]:
        """Return what each worker answers that does, by its number."""
        answers = await asyncio.gather(*(self.ask(worker, path) for worker in self.all), return_exceptions=True)
        found: dict[int, Any] = {}
        for worker, answer in zip(self.all, answers, strict=True):
            if isinstance(answer, Unavailable):
                log.debug("worker silent", worker=worker.number, error=str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found[worker.number] = answer
        return found

    def kill_silent(self) -> None:
        """Kill workers that run and have not answered for too long: they are started again."""
        now_s = time.monotonic()
        for worker in self.all:
            silent_s = now_s - max(worker.heard_s, worker.started_s)
            if worker.running and silent_s > self._silent_most_s:
                log.error("worker killed: it does not answer", worker=worker.number, silent_s=round(silent_s))
                self._signal(worker, signal.SIGKILL)

    # ---- one worker

    async def _keep(self, worker: Worker) -> None:
        while True:
            worker.started_s = time.monotonic()
            code = await self._live(worker)
            if time.monotonic() - worker.started_s > STEADY_S:
                worker.failures = 0
            pause_s = BACKOFF_S[min(worker.failures, len(BACKOFF_S) - 1)]
            worker.failures += 1
            worker.restarts += 1
            log.error("worker ended", worker=worker.number, code=code, again_in_s=pause_s)
            await asyncio.sleep(pause_s)

    async def _live(self, worker: Worker) -> int:
        worker.socket.unlink(missing_ok=True)
        argv = self._command(worker.number, worker.socket)
        # Its own session: Ctrl-C reaches this process only. Its standard input ends when this process does.
        worker.process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        log.info("worker started", worker=worker.number, pid=worker.process.pid)
        return await worker.process.wait()

    async def _end(self) -> None:
        for worker in self.all:
            self._signal(worker, signal.SIGTERM)
        waits = [asyncio.ensure_future(w.process.wait()) for w in self.all if w.process is not None]
        if waits:
            await asyncio.wait(waits, timeout=END_S)
        for worker in self.all:
            if worker.running:
                log.warning("worker killed: it did not end", worker=worker.number)
                self._signal(worker, signal.SIGKILL)
        await asyncio.gather(*waits)

    def _signal(self, worker: Worker, signum: signal.Signals) -> None:
        if worker.running and worker.process is not None:
            with suppress(ProcessLookupError):
                worker.process.send_signal(signum)


def end_with_parent(stop: asyncio.Event, within_s: float) -> None:
    """Have this worker end when the process that started it is gone: in order, or at once after `within_s`."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1):
                pass
        with suppress(RuntimeError):  # the loop is closed: we end anyway
            loop.call_soon_threadsafe(stop.set)
        time.sleep(within_s)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
