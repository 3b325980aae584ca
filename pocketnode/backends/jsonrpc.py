"""Blockchain nodes by JSON-RPC over HTTP. One call a relay; bytes go through unchanged."""

from __future__ import annotations

from typing import Any, Final

import orjson

from pocketnode.backends.failure import BackendFailed, bad_request
from pocketnode.backends.http import HttpAnswer, Target, refusal_of
from pocketnode.backends.lean import LeanPoster
from pocketnode.backends.ports import Exchange
from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.payload import AnswerHead, encode_answer
from pocketnode.services.spec import ServiceSpec

_HEAD: Final = encode_answer(AnswerHead(200, {"content-type": "application/json"}))

_VERSION: Final = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": "web3_clientVersion", "params": []})

# Methods that steer a node rather than ask it: never relayed unless the service's spec prices them.
OPERATOR_PREFIXES: Final = (
    "admin_", "anvil_", "engine_", "evm_", "hardhat_", "les_", "miner_", "parity_", "personal_", "ots_admin_"
)  # fmt: skip


class JsonRpcBackend:
    """One node."""

    def __init__(self, poster: LeanPoster, spec: ServiceSpec, health_method: str = "eth_blockNumber") -> None:
        self._poster = poster
        self._spec = spec
        self._health = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": health_method, "params": []})
        self.name = poster.target.name
        self.identity = keccak(f"json-rpc {self.name}".encode())
        self.facts: dict[str, Any] = {}

    async def answer(self, exchange: Exchange) -> int:
        """Relay one call (rule 2.4 binds the answer's bytes as the node sent them)."""
        method = method_of(exchange.body)
        self._refuse_steering(method)
        units = self._spec.method_units(method)
        if units > exchange.hold:
            raise RelayFailed(FaultClass.OUT_OF_BUDGET, f"{method} costs {units} units, {exchange.hold} are held")
        try:
            answer = await self._poster.post(exchange.body)
        except BackendFailed as failure:
            failure.elsewhere = failure.elsewhere and repeatable(method)
            failure.again = failure.again and repeatable(method)
            raise
        check_answer(answer, self._poster.target)
        await exchange.start(_HEAD)
        await exchange.write(answer.body)
        return units

    async def check(self) -> None:
        """Ask for the newest block, or what else the health method asks for; and once for the node's name."""
        known, self.facts = self.facts, {}
        await self._ask(self._health)
        self.facts = known or {"version": await self._version()}
        self.identity = keccak(f"json-rpc {self.name} {self.facts['version']}".encode())

    async def load(self) -> int | None:
        """Nodes do not tell."""
        return None

    async def _version(self) -> str:
        try:
            return str(await self._ask(_VERSION))
        except BackendFailed:
            return ""  # not every chain's nodes have that method

    async def _ask(self, call: bytes) -> Any:
        answer = await self._poster.post(call)
        check_answer(answer, self._poster.target)
        parsed = orjson.loads(answer.body)
        if "result" not in parsed:
            raise BackendFailed(f"{self.name}: {answer.body[:120]!r}")
        return parsed["result"]

    def _refuse_steering(self, method: str) -> None:
        if method.startswith(OPERATOR_PREFIXES) and method not in self._spec.methods:
            raise bad_request(f"method {method} is not served")


def method_of(body: bytes) -> str:
    """Return the method of a JSON-RPC call.

    Raises
    ------
    RelayFailed
        `bad-request`: not one JSON-RPC call; batches are split by the gateway.
    """
    try:
        call: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"not JSON: {error}") from error
    method = call.get("method") if isinstance(call, dict) else None
    if not isinstance(method, str) or not method:
        raise bad_request("not a JSON-RPC call")
    return method


def repeatable(method: str) -> bool:
    """Return whether asking a second node cannot do harm or change the answer."""
    return "send" not in method and "submit" not in method.lower()


def check_answer(answer: HttpAnswer, target: Target) -> None:
    """Raise BackendFailed unless this is an answer of a JSON-RPC node; its errors are answers too."""
    refused = refusal_of(target, answer.status)
    if refused is not None and not _is_rpc_error(answer):
        raise refused
    body = answer.body
    if not body.startswith(b"{") and not body.lstrip().startswith(b"{"):
        raise BackendFailed(f"{target.name}: HTTP {answer.status}, not JSON: {body[:60]!r}")
    if not body.rstrip().endswith(b"}"):
        raise BackendFailed(f"{target.name}: an answer cut short")


def _is_rpc_error(answer: HttpAnswer) -> bool:
    """Some nodes answer a revert with HTTP 4xx or 500 and a JSON-RPC error inside, which is the chain's, not theirs."""
    if answer.status in {401, 403, 407, 429} or b'"jsonrpc"' not in answer.body[:4096]:
        return False
    try:
        parsed = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and isinstance(parsed.get("error"), dict)
