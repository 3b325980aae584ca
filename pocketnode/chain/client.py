"""JSON-RPC to the chain over one or several URLs: what one node cannot answer, the next is asked."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential
from yarl import URL

from pocketnode.chain.errors import Refused
from pocketnode.errors import ConfigError, Unavailable

log = structlog.get_logger(__name__)

# Errors that speak of the node, not of what was asked: internal, limits, and what a lagging node says.
_NODE_ERRORS: Final = frozenset({-32603, -32005, -32001, -32002, -32097, 429})
_NODE_WORDS: Final = ("header not found", "missing trie node", "unknown block", "block not found")
# Nothing in a well-formed question of these can be refused: whatever error comes is the node's own.
_PLAIN_READS: Final = frozenset(
    {
        "eth_blockNumber",
        "eth_chainId",
        "eth_getBalance",
        "eth_getBlockByNumber",
        "eth_getCode",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
    }
)
BENCH_S: Final = 15.0


@dataclass(slots=True, eq=False)
class Node:
    """One of the nodes that are asked."""

    url: URL
    benched_until_s: float = 0.0
    failures: int = 0

    @property
    def benched(self) -> bool:
        """Whether the others are asked first, since it failed not long ago."""
        return self.benched_until_s > time.monotonic()

    @property
    def name(self) -> str:
        """The URL without what may be secret in it."""
        return f"{self.url.scheme}://{self.url.host}:{self.url.port}"


class Rpc:
    """A client of one chain. Used as `async with Rpc(urls) as rpc`.

    Parameters
    ----------
    urls : HTTP(S) URLs of nodes of the same chain, the preferred one first.
    timeout_s : for one attempt at one node.
    patience_s : how long all nodes together are tried before `Unavailable` is raised.
    """

    def __init__(self, urls: Sequence[str], timeout_s: float = 10.0, patience_s: float = 20.0) -> None:
        self.urls = tuple(urls)
        self._nodes = _nodes(urls)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._patience_s = patience_s
        self._ids = itertools.count(1)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=self._timeout, headers={"content-type": "application/json"})
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    def use(self, urls: Sequence[str]) -> None:
        """Ask these nodes from now on; those that are known keep what was learnt of them."""
        self.urls = tuple(urls)
        known = {node.url: node for node in self._nodes}
        self._nodes = [known.get(node.url, node) for node in _nodes(urls)]

    async def ask(self, method: str, *params: Any) -> Any:
        """Return the result of a JSON-RPC method.

        Raises
        ------
        Refused
            a node understood and said no (a revert, a bad transaction): asking again will not help.
        Unavailable
            no node gave an answer within the patience.
        """
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(multiplier=0.1, max=2.0),
            stop=stop_after_delay(self._patience_s),
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                return await self._ask_any(method, params)
        raise AssertionError("tenacity returns or raises")

    @property
    def nodes(self) -> Sequence[Node]:
        """All nodes, those benched among them."""
        return tuple(self._nodes)

    async def ask_of(self, node: Node, method: str, *params: Any) -> Any:
        """Return what one node says to a JSON-RPC method, asked once.

        Raises
        ------
        Refused, Unavailable
            as `ask`.
        """
        return await self._ask_one(node, method, params)

    def doubt(self, node: Node, reason: str) -> None:
        """Ask the others first for a while: what this node says is not what they say."""
        self._bench(node, Unavailable(f"chain node {node.name}: {reason}"))

    async def _ask_any(self, method: str, params: tuple[Any, ...]) -> Any:
        last: Unavailable | None = None
        for node in self._in_order():
            try:
                result = await self._ask_one(node, method, params)
            except Unavailable as error:
                last = error
                self._bench(node, error)
                continue
            node.failures = 0
            return result
        assert last is not None
        raise last

    async def _ask_one(self, node: Node, method: str, params: tuple[Any, ...]) -> Any:
        assert self._http is not None, "Rpc is used outside of its `async with`"
        body = orjson.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        try:
            async with self._http.post(node.url, data=body) as answer:
                raw = await answer.read()
                reply = orjson.loads(raw)
        except (TimeoutError, aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
            raise Unavailable(f"chain node {node.name}: {method}: {_words(error)}", 1.0) from error
        return _result_of(node, method, reply)

    def _in_order(self) -> list[Node]:
        """Return the nodes to ask: those benched by a failure come last, but are not left out."""
        now_s = time.monotonic()
        return sorted(self._nodes, key=lambda node: max(0.0, node.benched_until_s - now_s))

    def _bench(self, node: Node, error: Unavailable) -> None:
        node.failures += 1
        if len(self._nodes) > 1:
            node.benched_until_s = time.monotonic() + BENCH_S
        if node.failures == 1:
            log.warning("chain_node_failed", node=node.name, error=str(error))


def _nodes(urls: Sequence[str]) -> list[Node]:
    if not urls:
        raise ConfigError("no URL of a chain node: give at least one")
    nodes = [Node(URL(url)) for url in urls]
    for node in nodes:
        if node.url.scheme not in ("http", "https") or not node.url.host:
            raise ConfigError(f"chain URL {str(node.url)!r}: must begin with http:// or https://")
    return nodes


def _result_of(node: Node, method: str, reply: Any) -> Any:
    if not isinstance(reply, dict):
        raise Unavailable(f"chain node {node.name}: {method}: not a JSON-RPC answer", 1.0)
    error = reply.get("error")
    if error is None:
        if "result" not in reply:
            raise Unavailable(f"chain node {node.name}: {method}: neither result nor error", 1.0)
        return reply["result"]
    refused = _refused(error)
    if method in _PLAIN_READS or _is_about_node(refused):
        raise Unavailable(f"chain node {node.name}: {method}: {refused.message}", 1.0) from refused
    raise refused


def _refused(error: Any) -> Refused:
    if not isinstance(error, dict):
        return Refused(0, str(error))
    code = error.get("code")
    return Refused(code if isinstance(code, int) else 0, str(error.get("message", "")), _data(error.get("data")))


def _is_about_node(refused: Refused) -> bool:
    if refused.data:
        return False
    words = refused.message.lower()
    return (refused.code in _NODE_ERRORS and "revert" not in words) or any(hint in words for hint in _NODE_WORDS)


def _data(data: Any) -> bytes:
    """Return a revert's bytes; some nodes put them a level deeper, some put words there."""
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
