"""Options of commands that read the chain or act on it, and what stands behind them."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from pocketnode.chain import deployment as deployments
from pocketnode.chain.actor import Actor, acting
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.cli.busy import busy
from pocketnode.cli.coin import Coin, coin_of
from pocketnode.cli.keys import password_of
from pocketnode.cli.output import say
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key, checksum
from pocketnode.protocol.session import service_id

T = TypeVar("T")


class AddressParam(click.ParamType[bytes]):
    """An address: `0x` and 40 hex digits, or the key file of one."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        try:
            return deployments.address(_address_in(Path(value)) if isinstance(value, str) else value)
        except ValueError:
            self.fail(f"{value!r} is neither 0x and 40 hex digits nor a key file", param, ctx)


def _address_in(file: Path) -> str:
    """Return the address that a key file says it is of; what is no such file is taken for an address."""
    try:
        return f"0x{json.loads(file.read_text())['address'].removeprefix('0x')}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return str(file)


class ServiceParam(click.ParamType[bytes]):
    """A service's name."""

    name = "service"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return service_id(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


ADDRESS = AddressParam()
SERVICE = ServiceParam()
FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class At:
    """A deployment on a chain, as the options name it."""

    file: Path
    urls: tuple[str, ...]

    def look(self, work: Callable[[Market], Awaitable[T]]) -> T:
        """Run `work` on what the contracts say now, and return what it returns."""

        async def run() -> T:
            async with self.market() as market:
                return await work(market)

        with busy("asking the chain"):
            return asyncio.run(run())

    @asynccontextmanager
    async def market(self) -> AsyncIterator[Market]:
        """Give the market, its head read once."""
        async with Rpc(self.urls) as rpc:
            reader = Reader(rpc, deployments.read(self.file))
            await reader.check_chain()
            heads = Heads(rpc)
            await heads.refresh()
            yield Market(reader, heads)


@dataclass(frozen=True, slots=True)
class By:
    """A key that acts, as the options name it; `yes` where nobody wants to be asked."""

    at: At
    key_file: Path
    password_file: Path | None
    yes: bool = False

    def key(self) -> Key:
        """Return the key; asks for the password if no file holds it."""
        return keystore.load(self.key_file, password_of(self.password_file, confirm=False))

    def act(self, will: Callable[[Coin], str], work: Callable[[Actor], Awaitable[T]]) -> T:
        """Say what will happen, ask, run `work` with the key on the deployment, and return what it returns.

        Parameters
        ----------
        will : a sentence of what the key does, given the token to name amounts in.
        """
        key, deployment = self.key(), deployments.read(self.at.file)

        async def coin() -> Coin:
            async with Rpc(self.at.urls) as rpc:
                reader = Reader(rpc, deployment)
                await reader.check_chain()
                return await coin_of(reader)

        async def run() -> T:
            async with Rpc(self.at.urls) as rpc, acting(rpc, deployment, key) as actor:
                return await work(actor)

        self.ask(f"{checksum(key.address)} {will(asyncio.run(coin()))}")
        with busy("waiting for the chain"):
            return asyncio.run(run())

    def ask(self, will: str) -> None:
        """Say what will happen, and go on only if that is wanted."""
        say(will)
        if not self.yes:
            confirmed()


def confirmed() -> None:
    """Ask whether to go on, and end the command where the answer is not yes or nobody answers."""
    try:
        agreed = click.confirm("go on?", err=True)
    except click.Abort:
        agreed = False
        say("")
    if not agreed:
        say("nothing was done; `--yes` skips the question")
        raise click.exceptions.Exit(1)


def at_chain(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--deployment` and `--rpc`; the command takes them as `at`."""

    @functools.wraps(command)
    def with_at(*args: Any, deployment: Path, urls: tuple[str, ...], **kwargs: Any) -> None:
        command(*args, at=At(deployment, urls), **kwargs)

    return _DEPLOYMENT(_RPC(with_at))


def by_key(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `at_chain` adds, `--keystore`, `--password-file` and `--yes`; the command takes them all as `by`."""

    @functools.wraps(command)
    def with_by(*args: Any, at: At, key_file: Path, password_file: Path | None, yes: bool, **kwargs: Any) -> None:
        command(*args, by=By(at, key_file, password_file, yes), **kwargs)

    return at_chain(keystore_option(password_option(yes_option(with_by))))


_RPC = click.option(
    "--rpc",
    "urls",
    multiple=True,
    required=True,
    envvar="POCKETNODE_RPC",
    help="URL of a chain node; more of them stand in for each other.",
)
_DEPLOYMENT = click.option(
    "--deployment",
    type=FILE,
    default=Path("deployment.json"),
    show_default=True,
    envvar="POCKETNODE_DEPLOYMENT",
    help="The deployment file.",
)
keystore_option = click.option(
    "--keystore",
    "key_file",
    type=FILE,
    required=True,
    envvar="POCKETNODE_KEYSTORE",
    help="The key that acts (see `pocketnode keys`).",
)
password_option = click.option(
    "--password-file",
    type=FILE,
    envvar="POCKETNODE_PASSWORD_FILE",
    help="A file whose first line is the key's password; asked for if not given.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
