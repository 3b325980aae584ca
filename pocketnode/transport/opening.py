"""What is said when a lane opens and ends: Open from both ends, and the reason in Closed (rules 8.2 and 8.6)."""

from __future__ import annotations

from collections.abc import Mapping

from pocketnode.crypto.keys import Key
from pocketnode.errors import PocketError, RemoteError, Unavailable
from pocketnode.transport.grpc_options import PROTOCOL_VERSION
from pocketnode.transport.ports import Opening
from pocketnode.transport.records import URL_CHARS_MOST
from pocketnode.wire.pb.relay_pb2 import Closed, Open

REASON_MOST = 300


def write_open(message: Open, opening: Opening) -> None:
    """Say in `message` what all Receipts of the lane share."""
    message.version = PROTOCOL_VERSION
    message.application = opening.application
    message.service = opening.service
    message.session = opening.number
    message.supplier = opening.supplier
    message.gateway = opening.gateway
    message.lane = opening.lane
    message.records = opening.records


def read_open(message: Open, keys: Mapping[bytes, Key]) -> tuple[Opening, Key]:
    """Return what Open says and the key that it is meant for.

    Raises
    ------
    RemoteError
        rule 8.2: it is malformed; rule 3.7: it is meant for somebody else.
    """
    if message.version != PROTOCOL_VERSION:
        raise RemoteError("8.2", f"version {message.version}, not {PROTOCOL_VERSION}")
    lengths = (message.application, 20), (message.service, 32), (message.gateway, 20), (message.lane, 32)
    if any(len(field) != length for field, length in lengths):
        raise RemoteError("8.2", "a field of the wrong length")
    key = keys.get(message.supplier)
    if key is None:
        here = ", ".join(f"0x{address.hex()}" for address in keys)
        raise RemoteError("3.7", f"meant for 0x{message.supplier.hex()}, this is {here}"[:REASON_MOST])
    return Opening(
        message.application,
        message.service,
        message.session,
        message.supplier,
        message.gateway,
        message.lane,
        message.records if len(message.records) <= URL_CHARS_MOST else "",
    ), key


def reason_of(closed: Closed) -> PocketError:
    """Return why the supplier ended a lane: time may cure it, or a rule was broken."""
    if closed.rule in ("drain", "unavailable", ""):
        return Unavailable(closed.message or "the lane is closed")
    return RemoteError(closed.rule, f"the supplier closed the lane: {closed.message}")
