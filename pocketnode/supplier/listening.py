"""The TLS of the lanes' listener. A renewed certificate is shown to whoever connects after a reload."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import grpc

from pocketnode.errors import ConfigError
from pocketnode.supplier.config import Tls


@dataclass(frozen=True, slots=True)
class Shown:
    """PEM texts: our key and certificate, and the roots of those that gateways must show; empty for none."""

    key: bytes
    certificate: bytes
    roots: bytes

    @property
    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """As gRPC takes it."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.roots or None)


def shown_by(tls: Tls) -> Shown:
    """Return what the files of a configuration hold.

    Raises
    ------
    ConfigError
        a file is missing, or certificate and key do not belong together.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
        roots = tls.client_ca.read_bytes() if tls.client_ca else b""
        return Shown(tls.key.read_bytes(), tls.certificate.read_bytes(), roots)
    except ssl.SSLError as error:
        raise ConfigError(f"{tls.certificate}: {error.reason}: name a certificate and its own key, in PEM") from error
    except OSError as error:
        file = error.filename or tls.certificate
        raise ConfigError(f"{file}: {error.strerror}: name a readable PEM file") from error


class ListenerTls:
    """What the listener shows now."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._renewed: Shown | None = None

    def adopt(self, shown: Shown) -> None:
        """Show another certificate from now on; open connections keep theirs."""
        if shown != self._shown:
            self._shown = self._renewed = shown

    def credentials(self) -> grpc.ServerCredentials:
        """Return what the listener is opened with; with roots, gateways must show a certificate of theirs."""
        return grpc.dynamic_ssl_server_credentials(
            self._shown.configuration, self._fetch, require_client_authentication=bool(self._shown.roots)
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration:
        """Return what is new since the last handshake, None if nothing is; gRPC asks from a thread of its own."""
        renewed, self._renewed = self._renewed, None
        return renewed.configuration if renewed else None  # type: ignore[return-value] # None is documented, not typed
