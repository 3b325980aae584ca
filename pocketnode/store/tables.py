"""What all tables share: the metadata they register with, and columns for values that SQL integers cannot hold."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, LargeBinary, MetaData
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"},
)


class Uint(TypeDecorator[int]):
    """An unsigned integer of `size` bytes, big-endian, so that the database orders it as a number.

    SQL's own integers end at 2^63 - 1; a stranger's Receipt may say 2^128 - 1.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size

    def process_bind_param(self, value: int | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.to_bytes(self.size, "big")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:
        return None if value is None else int.from_bytes(value, "big")
