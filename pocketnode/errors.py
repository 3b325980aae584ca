"""Every error this project raises on purpose.

PocketError
├── ProtocolError     a rule of docs/protocol.md was broken; `rule` names it
│   ├── LocalError    by us: a bug, never retried
│   └── RemoteError   by the peer: reject, and do not retry with that peer
├── Unavailable       time may cure it: retry later or elsewhere
├── NotFound          the caller named something we do not hold
├── BadInput          the user's request is wrong: tell the user, try nobody else
├── ConfigError       the operator must act
└── Corrupt           our own records disagree: stop the daemon
"""

from __future__ import annotations


class PocketError(Exception):
    """The root of all; `exit_code` is what a command that meets it exits with."""

    exit_code = 1


class ProtocolError(PocketError):
    """A rule was broken. `rule` is its number in docs/protocol.md."""

    exit_code = 3

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{message} (rule {rule})")
        self.rule = rule


class LocalError(ProtocolError):
    """Broken by us: a bug."""


class RemoteError(ProtocolError):
    """Broken by the peer."""


class Unavailable(PocketError):
    """Time may cure it. `retry_after_s` is the least wait worth trying, in seconds."""

    exit_code = 4

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotFound(PocketError):
    """The caller named something that is not here."""

    exit_code = 5


class BadInput(PocketError):
    """The user's request is wrong; the message says what to change."""

    exit_code = 6


class ConfigError(PocketError):
    """The operator must act; the message says where and how."""

    exit_code = 2


class Corrupt(PocketError):
    """Our own records disagree."""

    exit_code = 7
