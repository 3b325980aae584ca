"""The contracts' ABI and bytecode as the package ships them: encode calls, decode what comes back, name errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

import orjson
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError

from pocketnode.chain.errors import Refused, Reverted
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import BadInput, NotFound, Unavailable

NAMES: Final = (
    "TestToken",
    "Params",
    "Escrow",
    "Gateways",
    "Services",
    "Registry",
    "Sessions",
    "Settlement",
)
_ERROR_STRING: Final = bytes.fromhex("08c379a0")
_PANIC: Final = bytes.fromhex("4e487b71")


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the chain keeps it. `topics` and `data` are raw; `address` is the contract."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    block_hash: bytes
    transaction: bytes
    position: int


def log_of(raw: dict[str, Any]) -> Log:
    """Return a log as JSON-RPC gives it.

    Raises
    ------
    Unavailable
        it is malformed: a node that answers nonsense.
    """
    try:
        return Log(
            address=bytes.fromhex(raw["address"][2:]),
            topics=tuple(bytes.fromhex(topic[2:]) for topic in raw["topics"]),
            data=bytes.fromhex(raw["data"][2:]),
            block=int(raw["blockNumber"], 16),
            block_hash=bytes.fromhex(raw["blockHash"][2:]),
            transaction=bytes.fromhex(raw["transactionHash"][2:]),
            position=int(raw["logIndex"], 16),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"the chain node answers with a malformed log: {error!r}", 1.0) from error


class Function:
    """One function of a contract."""

    def __init__(self, abi: dict[str, Any]) -> None:
        self.name: str = abi["name"]
        self.inputs = [_type(i) for i in abi["inputs"]]
        self.outputs = [_type(o) for o in abi["outputs"]]
        self._parts, self._arguments = abi["outputs"], abi["inputs"]
        self.selector = keccak(f"{self.name}({','.join(self.inputs)})".encode())[:4]

    def call_data(self, *args: Any) -> bytes:
        """Return the bytes of a call. A struct may be given as a mapping by field name.

        Raises
        ------
        BadInput
            an argument does not fit its type, or a struct lacks a field.
        """
        try:
            ordered = [_ordered(part, value) for part, value in zip(self._arguments, args, strict=True)]
            return self.selector + encode(self.inputs, ordered)
        except (EncodingError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{self.name}: {error}") from error

    def arguments(self, data: bytes) -> tuple[Any, ...]:
        """Return the arguments in the bytes of a call.

        Raises
        ------
        Unavailable
            the bytes are not a call of this function.
        """
        try:
            values = decode(self.inputs, data[4:])
        except (DecodingError, OverflowError, ValueError) as error:
            raise Unavailable(f"{self.name}: {len(data)} bytes are not a call of it: {error}") from error
        return tuple(_plain(part, value) for part, value in zip(self._arguments, values, strict=True))

    def result(self, data: bytes) -> tuple[Any, ...]:
        """Return what a call returned: structs as tuples in their order, addresses as 20 bytes.

        Raises
        ------
        Unavailable
            the bytes do not fit: no such contract there, or a node that answers nonsense.
        """
        try:
            values = decode(self.outputs, data)
        except (DecodingError, OverflowError, ValueError) as error:
            raise Unavailable(f"{self.name}: {len(data)} bytes are not its result: {error}") from error
        return tuple(_plain(part, value) for part, value in zip(self._parts, values, strict=True))


class Event:
    """One event of a contract."""

    def __init__(self, abi: dict[str, Any]) -> None:
        self.name: str = abi["name"]
        self._indexed = [part for part in abi["inputs"] if part["indexed"]]
        self._data = [part for part in abi["inputs"] if not part["indexed"]]
        self.topic = keccak(f"{self.name}({','.join(_type(part) for part in abi['inputs'])})".encode())

    def facts(self, log: Log) -> dict[str, Any]:
        """Return the values of a log of this event by name.

        Raises
        ------
        Unavailable
            the node's answer does not fit the event.
        """
        try:
            values = decode([_type(part) for part in self._data], log.data)
            topics = [decode([_type(part)], raw)[0] for part, raw in zip(self._indexed, log.topics[1:], strict=True)]
        except (DecodingError, OverflowError, ValueError) as error:
            raise Unavailable(f"event {self.name}: malformed log: {error}") from error
        parts = zip([*self._indexed, *self._data], [*topics, *values], strict=True)
        return {part["name"]: _plain(part, value) for part, value in parts}


class Contract:
    """What is known of one contract apart from where it stands."""

    def __init__(self, name: str, artifact: dict[str, Any]) -> None:
        self.name = name
        self.abi: list[dict[str, Any]] = artifact["abi"]
        self._artifact = artifact

    @property
    def bytecode(self) -> bytes:
        """The bytes that create it, without constructor arguments."""
        code: str = self._artifact["bytecode"]
        return bytes.fromhex(code.removeprefix("0x"))

    def is_code(self, code: bytes) -> bool:
        """Return whether the code that stands at an address is this contract's, whatever its immutables are."""
        ours = bytearray(self.bytecode[-self._artifact["runtime"] :])
        theirs = bytearray(code)
        for start, length in self._artifact["immutables"]:
            ours[start : start + length] = theirs[start : start + length] = bytes(length)
        return ours == theirs

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Its functions by name; none of ours are overloaded."""
        return {abi["name"]: Function(abi) for abi in self.abi if abi["type"] == "function"}

    @cached_property
    def events(self) -> dict[bytes, Event]:
        """Its events by topic."""
        found = [Event(abi) for abi in self.abi if abi["type"] == "event"]
        return {event.topic: event for event in found}

    def topic(self, name: str) -> bytes:
        """Return the first topic of the event of this name."""
        return next(topic for topic, event in self.events.items() if event.name == name)

    def call_data(self, function: str, *args: Any) -> bytes:
        """Return the bytes of a call."""
        return self.functions[function].call_data(*args)

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Return what a call returned."""
        return self.functions[function].result(data)

    def creation(self, *args: Any) -> bytes:
        """Return the bytes that create the contract with these constructor arguments."""
        inputs: list[dict[str, Any]] = next((abi["inputs"] for abi in self.abi if abi["type"] == "constructor"), [])
        return self.bytecode + encode([_type(part) for part in inputs], args)


@cache
def contract(name: str) -> Contract:
    """Return a contract that ships with the package.

    Raises
    ------
    NotFound
        there is none of that name.
    """
    source = files(__package__).joinpath("artifacts", f"{name}.json")
    if not source.is_file():
        raise NotFound(f"no contract {name!r} in this package: build the contracts first")
    return Contract(name, orjson.loads(source.read_bytes()))


def explain(error: Refused) -> Reverted | Refused:
    """Return the revert in a node's refusal with the contract's own error and its values; else the refusal itself."""
    selector, data = error.data[:4], error.data[4:]
    if selector == _ERROR_STRING:
        return Reverted("Error", {"message": decode(["string"], data)[0]})
    if selector == _PANIC:
        return Reverted("Panic", {"code": decode(["uint256"], data)[0]})
    known = _errors().get(selector)
    if known is not None:
        return Reverted(known[0], _error_facts(known[1], data))
    if error.data or "revert" in error.message.lower():
        return Reverted(f"0x{selector.hex()}" if selector else "revert", {"message": error.message})
    return error


@cache
def _errors() -> dict[bytes, tuple[str, Sequence[dict[str, Any]]]]:
    """Return the errors of all contracts, and of the token standard, by selector."""
    found: dict[bytes, tuple[str, Sequence[dict[str, Any]]]] = {}
    for abi in _all_errors():
        signature = f"{abi['name']}({','.join(_type(part) for part in abi['inputs'])})"
        found[keccak(signature.encode())[:4]] = (abi["name"], abi["inputs"])
    return found


def _all_errors() -> Iterable[dict[str, Any]]:
    for entry in files(__package__).joinpath("artifacts").iterdir():
        if entry.name.endswith(".json"):
            yield from (abi for abi in contract(entry.name.removesuffix(".json")).abi if abi["type"] == "error")


def _error_facts(parts: Sequence[dict[str, Any]], data: bytes) -> dict[str, Any]:
    try:
        values = decode([_type(part) for part in parts], data)
    except (DecodingError, OverflowError, ValueError):
        return {"data": data}
    return {part["name"]: _plain(part, value) for part, value in zip(parts, values, strict=True)}


def _type(part: dict[str, Any]) -> str:
    """Return the canonical type of an ABI part, tuples written out."""
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(inner) for inner in part['components'])}){kind[5:]}"


def _ordered(part: dict[str, Any], value: Any) -> Any:
    """Return an argument with its mappings as tuples, in the order of the struct's fields."""
    kind: str = part["type"]
    if kind.endswith("]"):
        inner = {**part, "type": kind[: kind.rindex("[")]}
        return [_ordered(inner, item) for item in value]
    if kind.startswith("tuple") and isinstance(value, Mapping):
        return tuple(_ordered(inner, value[inner["name"]]) for inner in part["components"])
    return value


def _plain(part: dict[str, Any], value: Any) -> Any:
    """Return a decoded value with addresses as 20 bytes."""
    kind: str = part["type"]
    if kind.endswith("]"):
        inner = {**part, "type": kind[: kind.rindex("[")]}
        return tuple(_plain(inner, item) for item in value)
    if kind.startswith("tuple"):
        return tuple(_plain(inner, item) for inner, item in zip(part["components"], value, strict=True))
    return bytes.fromhex(value[2:]) if kind == "address" else value
