"""How a backend fails, and whether another may be asked."""

from __future__ import annotations

from pocketnode.protocol.fault import FaultClass, RelayFailed


class BackendFailed(RelayFailed):
    """A backend gave no good answer. Becomes a signed error unless another backend answers.

    Parameters
    ----------
    elsewhere : nothing was sent on and asking another backend cannot do harm.
    again : the connection had gone stale before the request was read: the same backend may be asked once more.
    """

    def __init__(
        self,
        message: str,
        kind: FaultClass = FaultClass.BACKEND,
        *,
        retry_after_ms: int = 0,
        elsewhere: bool = True,
        again: bool = False,
    ) -> None:
        super().__init__(kind, message, retry_after_ms)
        self.elsewhere = elsewhere
        self.again = again


def bad_request(message: str) -> RelayFailed:
    """Return the failure of a request that no backend could answer."""
    return RelayFailed(FaultClass.BAD_REQUEST, message)
