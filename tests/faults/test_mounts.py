"""Disks that are really full or read-only: a daemon's data on a small file system of its own. Needs to mount: root."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from pocketnode.localnet.children import ChildFailed
from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from tests.faults.test_disk import AT_ONCE, CALLS, check_books
from tests.faults.world import DAEMONS, World, until

VICTIM = SUPPLIERS[0]
DISK = "64m"


def may_mount(folder: Path) -> bool:
    found = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
    return found.returncode == 0 and subprocess.run(["umount", folder], check=False).returncode == 0


pytestmark = [pytest.mark.e2e, pytest.mark.audit, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def disk_of_its_own(world: World, name: str, spare: Path) -> AsyncIterator[Path]:
    """Have a daemon that is stopped keep its data on a small disk, and put them back when it is stopped again."""
    if not may_mount(spare):
        pytest.skip("may not mount here")
    await world.stop(name)
    data = world.layout.data(name)
    shutil.copytree(data, spare, dirs_exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", data)
    try:
        shutil.copytree(spare, data, dirs_exist_ok=True)
        yield data
    finally:
        await world.stop(name)
        _run("mount", "-o", "remount,rw", data)
        shutil.rmtree(spare)
        shutil.copytree(data, spare)
        _run("umount", data)
        shutil.copytree(spare, data, dirs_exist_ok=True)
        await world.start(name)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(64 * 1024)) == 64 * 1024:
                pass
        except OSError:
            pass
    assert os.statvfs(disk).f_bavail == 0
    try:
        yield
    finally:
        filler.unlink()


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("victim", [GATEWAY, VICTIM])
async def test_a_disk_without_a_byte_left(world: World, tmp_path: Path, victim: str) -> None:
    await world.withhold(False)
    async with disk_of_its_own(world, victim, tmp_path) as disk:
        await world.start(victim)
        number = await world.new_session()
        assert await world.load(CALLS, AT_ONCE) == CALLS
        with filled(disk):
            await world.load(CALLS, AT_ONCE)
            await asyncio.sleep(3)
            assert world.alive(victim), world.log(victim)[-2000:]
        await until(lambda: answers(world), 20, "nobody answers once there is room again", 0.5)
        await asyncio.sleep(1.5)
        await world.settle(number)
        await check_books(world, number)
        said = world.log(victim)
        assert "Traceback" not in said
        assert "not written" in said or "cannot be kept" in said or "full" in said


async def answers(world: World) -> bool:
    return bool(await world.ask())


@pytest.mark.parametrize("victim", [GATEWAY, VICTIM])
async def test_a_read_only_disk_is_told_at_the_start(world: World, tmp_path: Path, victim: str) -> None:
    """The others go on, and once the disk can be written the daemon does with what it had."""
    await world.withhold(False)
    number = await world.new_session()
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(1.5)
    async with disk_of_its_own(world, victim, tmp_path) as disk:
        _run("mount", "-o", "remount,ro", disk)
        before = world.log(victim)
        with pytest.raises(ChildFailed, match="exited with"):
            await world.start(victim)
        said = world.log(victim).removeprefix(before)
        assert "Traceback" not in said
        assert "ead-only" in said or "readonly" in said or "unable to open" in said, said
        assert all(world.alive(name) for name in DAEMONS if name != victim)
        _run("mount", "-o", "remount,rw", disk)
        await world.start(victim)
        await world.settle(number)
        await check_books(world, number)
