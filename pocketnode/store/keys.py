"""API keys: who may ask a gateway for what. Only hashes are kept; a key is shown once, when it is made."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Engine, Index, LargeBinary, Row, String, Table, Text, insert, select, update

from pocketnode.errors import NotFound
from pocketnode.store.engine import transaction
from pocketnode.store.tables import metadata

HASHES_AT_ONCE: Final = 500  # databases bound how many values one statement has

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("expires_s", BigInteger),
    Column("revoked_s", BigInteger),
    Column("rules", Text, nullable=False),
    Index("ix_api_keys_hash", "hash", unique=True),
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret.

    Parameters
    ----------
    id : 12 hex digits, the part of the key that may be shown.
    hash : SHA-256 of the whole key.
    created_s, expires_s, revoked_s : Unix seconds.
    rules : JSON of scopes and limits, as the gateway's access rules read it.
    """

    id: str
    hash: bytes
    name: str
    created_s: int
    expires_s: int | None = None
    revoked_s: int | None = None
    rules: str = "{}"


def hash_of(secret: str) -> bytes:
    """Return what is kept of a key. It has 192 random bits, so that one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class KeyStore:
    """All keys of a gateway. Synchronous: call it from a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, name: str, now_s: int, expires_s: int | None = None, rules: str = "{}") -> tuple[ApiKey, str]:
        """Make a key and return it with its secret, which nobody can find out again."""
        identity = secrets.token_hex(6)
        secret = f"pn_{identity}_{secrets.token_urlsafe(24)}"
        key = ApiKey(identity, hash_of(secret), name, now_s, expires_s, None, rules)
        self._insert(key)
        return key, secret

    def rotate(self, identity: str, now_s: int, old_until_s: int) -> tuple[ApiKey, str]:
        """Make a key with the rules of another, which ends at `old_until_s`.

        Raises
        ------
        NotFound
        """
        old = self.get(identity)
        new, secret = self.create(old.name, now_s, old.expires_s, old.rules)
        with transaction(self._engine) as tx:
            tx.execute(update(api_keys).where(api_keys.c.id == identity).values(expires_s=old_until_s))
        return new, secret

    def adopt(self, secret: str, name: str, now_s: int, rules: str = "{}") -> ApiKey:
        """Keep a key that was made elsewhere; the same one again changes nothing."""
        found = self.by_hash(hash_of(secret))
        if found is not None:
            return found
        key = ApiKey(secrets.token_hex(6), hash_of(secret), name, now_s, None, None, rules)
        self._insert(key)
        return key

    def by_hash(self, digest: bytes) -> ApiKey | None:
        """Return the key of a hash, revoked and expired ones too."""
        with transaction(self._engine) as tx:
            row = tx.execute(select(api_keys).where(api_keys.c.hash == digest)).first()
        return None if row is None else _key(row)

    def by_hashes(self, digests: Collection[bytes]) -> dict[bytes, ApiKey]:
        """Return the keys of these hashes, by hash."""
        found: dict[bytes, ApiKey] = {}
        wanted = list(digests)
        with transaction(self._engine) as tx:
            for at in range(0, len(wanted), HASHES_AT_ONCE):
                query = select(api_keys).where(api_keys.c.hash.in_(wanted[at : at + HASHES_AT_ONCE]))
                found |= {row.hash: _key(row) for row in tx.execute(query)}
        return found

    def get(self, identity: str) -> ApiKey:
        """Return a key.

        Raises
        ------
        NotFound
        """
        with transaction(self._engine) as tx:
            row = tx.execute(select(api_keys).where(api_keys.c.id == identity)).first()
        if row is None:
            raise NotFound(f"no API key {identity!r}")
        return _key(row)

    def all(self) -> list[ApiKey]:
        """Return every key, the oldest first."""
        with transaction(self._engine) as tx:
            return [_key(row) for row in tx.execute(select(api_keys).order_by(api_keys.c.created_s, api_keys.c.id))]

    def revoke(self, identity: str, now_s: int) -> ApiKey:
        """End a key now; one that is revoked stays as it is.

        Raises
        ------
        NotFound
        """
        key = self.get(identity)
        if key.revoked_s is not None:
            return key
        with transaction(self._engine) as tx:
            tx.execute(update(api_keys).where(api_keys.c.id == identity).values(revoked_s=now_s))
        return replace(key, revoked_s=now_s)

    def set_rules(self, identity: str, rules: str) -> ApiKey:
        """Change scopes and limits.

        Raises
        ------
        NotFound
        """
        key = self.get(identity)
        with transaction(self._engine) as tx:
            tx.execute(update(api_keys).where(api_keys.c.id == identity).values(rules=rules))
        return replace(key, rules=rules)

    def _insert(self, key: ApiKey) -> None:
        with transaction(self._engine) as tx:
            tx.execute(insert(api_keys).values(**{c.name: getattr(key, c.name) for c in api_keys.columns}))


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, row.hash, row.name, row.created_s, row.expires_s, row.revoked_s, row.rules)
