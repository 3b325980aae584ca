"""What reads bytes from outside, each as a function of bytes that refuses them by a PocketError or goes on.

Files of `corpus/NAME` are seeds for the target NAME and cases that once went wrong; a new one is a file more.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import eth_keyfile  # noqa: F401 - takes seconds to load while memory is traced
import orjson
from google.protobuf.message import DecodeError

from pocketnode.backends.usage import StreamMeter
from pocketnode.chain import deployment
from pocketnode.chain.contracts import log_of
from pocketnode.chain.events import typed
from pocketnode.crypto import keystore
from pocketnode.errors import PocketError
from pocketnode.gateway import config as gateway_config
from pocketnode.gateway import llm_codec, rpc_codec
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.sse import Meter
from pocketnode.protocol import payload
from pocketnode.services import spec as specs
from pocketnode.supplier import config as supplier_config
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, SupplierFrame
from tests.fuzz.test_frames import feed

CORPUS: Final = Path(__file__).with_name("corpus")
BYTES_MOST: Final = 64 * 1024
MESSAGES_MOST: Final = 64


async def frame(raw: bytes) -> None:
    with suppress(DecodeError):
        SupplierFrame.FromString(raw)
        answerer = await feed(list(GatewayFrame.FromString(raw).messages)[:MESSAGES_MOST])
        assert answerer.account.held == 0


def body(raw: bytes) -> None:
    for path in llm_codec.ANSWERS:
        with suppress(Refused):
            llm_codec.read_request(path, raw, 2048)
    with suppress(Refused):
        rpc_codec.parse(raw, items_most=50)


def head(raw: bytes) -> None:
    for read in (payload.decode_request, payload.decode_answer):
        with suppress(PocketError):
            read(raw)


def sse(raw: bytes) -> None:
    cut = len(raw) // 2
    meter, backend = Meter(strip_usage=True), StreamMeter()
    out = meter.feed(raw[:cut]) + meter.feed(raw[cut:]) + meter.rest() + meter.done
    assert len(out) <= len(raw) + 240
    with suppress(PocketError):
        assert backend.feed(raw[:cut]) + backend.feed(raw[cut:]) >= 0


def log(raw: bytes) -> None:
    with suppress(PocketError, orjson.JSONDecodeError):
        typed(log_of(orjson.loads(raw)))


def spec(raw: bytes) -> None:
    with suppress(PocketError):
        specs.parse(raw, "spec.yaml")


def _file(read: Callable[[Path], Any]) -> Callable[[bytes], None]:
    def target(raw: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(raw)
            file.flush()
            with suppress(PocketError):
                read(Path(file.name))

    return target


TARGETS: Final[dict[str, Callable[[bytes], Any]]] = {
    "frame": frame,
    "body": body,
    "head": head,
    "sse": sse,
    "log": log,
    "gateway": _file(gateway_config.load),
    "supplier": _file(supplier_config.load),
    "spec": spec,
    "deployment": _file(deployment.read),
    "keystore": _file(lambda path: keystore.load(path, "password")),
}


def cases(name: str) -> list[Path]:
    """Return the corpus of a target."""
    return sorted((CORPUS / name).iterdir())
