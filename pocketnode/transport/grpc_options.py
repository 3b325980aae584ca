"""Names and settings that both ends of the gRPC stream share."""

from __future__ import annotations

SERVICE = "pocketnode.v1.Relay"
METHOD = "Link"
PATH = f"/{SERVICE}/{METHOD}"
MESSAGE_BYTES = 4 * 1024 * 1024  # a frame is FRAME_BYTES plus one message at the most
CHUNK_BYTES = 64 * 1024  # rule 8.3
PROTOCOL_VERSION = 1

_SHARED: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]
CHANNEL_OPTIONS: list[tuple[str, int]] = [*_SHARED, ("grpc.use_local_subchannel_pool", 1)]
SERVER_OPTIONS: list[tuple[str, int]] = [
    *_SHARED,
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
]
