"""Jobs of a daemon: what time may cure is waited for, everything else ends it."""

from __future__ import annotations

import asyncio

import pytest

from pocketnode import daemon
from pocketnode.errors import Corrupt, Unavailable


class Failing:
    """A job that fails so many times, each time with the next error, and ends in peace then."""

    def __init__(self, *errors: BaseException, nested: bool = False) -> None:
        self.errors = list(errors)
        self.begun = 0
        self.nested = nested

    async def run(self) -> None:
        self.begun += 1
        if not self.errors:
            return
        if not self.nested:
            raise self.errors.pop(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fail())

    async def _fail(self) -> None:
        raise self.errors.pop(0)


@pytest.mark.parametrize("nested", [False, True])
async def test_what_time_may_cure_is_begun_again(nested: bool) -> None:
    job = Failing(Unavailable("locked"), Unavailable("still locked"), nested=nested)
    await daemon.patient({"job": job.run}, pause_s=0)["job"]()
    assert job.begun == 3


@pytest.mark.parametrize("nested", [False, True])
async def test_anything_else_ends_the_daemon(nested: bool) -> None:
    job = Failing(Unavailable("locked"), Corrupt("torn"), nested=nested)
    with pytest.RaisesGroup(pytest.RaisesExc(Corrupt), flatten_subgroups=True):
        await daemon.run(daemon.patient({"job": job.run}, pause_s=0), asyncio.Event())
    assert job.begun == 2


async def test_a_job_that_waits_is_stopped() -> None:
    async def down() -> None:
        await asyncio.sleep(0)
        raise Unavailable("down")

    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(daemon.patient({"job": down}, pause_s=0), stop))
    await asyncio.sleep(0.05)
    assert not running.done()
    stop.set()
    await asyncio.wait_for(running, 1)
