"""What the operator is told of each request that has ended: a line in the access log, a trace; if asked for."""

from __future__ import annotations

from typing import Final

import structlog

from pocketnode.gateway.telemetry import Exporter
from pocketnode.gateway.trail import Trail, amount_text

PARENT: Final = "traceparent"
LEFT: Final = 499  # nobody gets it: the user closed the connection

log = structlog.get_logger("access")


class Reporting:
    """One for the daemon.

    Parameters
    ----------
    access : write a line for each request.
    exporter : where traces go; None for nowhere.
    """

    def __init__(self, access: bool, exporter: Exporter | None) -> None:
        self.access = access
        self._exporter = exporter

    def ended(self, trail: Trail, request_id: str) -> None:
        """Tell of one request; without a status its user has left."""
        if not self.access and self._exporter is None:
            return
        trail.status = trail.status or LEFT
        if self.access:
            self._write(trail, request_id)
        if self._exporter is not None:
            self._exporter.request(trail, request_id)

    def adopt(self, exporter: Exporter | None) -> Exporter | None:
        """Tell another collector from now on; return what told the last one, to be closed off the loop."""
        old, self._exporter = self._exporter, exporter
        return old

    def close(self) -> None:
        """Send what waits to be sent."""
        if self._exporter is not None:
            self._exporter.close()

    def _write(self, trail: Trail, request_id: str) -> None:
        log.info(
            "request",
            route=trail.route,
            status=trail.status,
            request_id=request_id,
            key=trail.key,
            service=trail.service,
            what=trail.what,
            ms=round(trail.passed_s * 1000, 2),
            overhead_ms=float(trail.overhead_ms()),
            attempts=trail.told(),
            units=trail.units,
            amount=amount_text(trail.worth),
            prompt_tokens=trail.prompt_tokens,
            output_tokens=trail.output_tokens,
            cache=trail.cache,
        )
