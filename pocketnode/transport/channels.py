"""gRPC channels of a gateway worker to suppliers, one for each endpoint; TLS pinned to the registered fingerprint."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc
from cryptography import x509

from pocketnode.errors import ConfigError, RemoteError, Unavailable
from pocketnode.protocol.types import ZERO32
from pocketnode.transport.grpc_options import CHANNEL_OPTIONS

CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a gateway shows a supplier that asks for it: PEM texts."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Self:
        """Return what two PEM files hold.

        Raises
        ------
        ConfigError
            one of them cannot be read.
        """
        try:
            return cls(certificate.read_bytes(), key.read_bytes())
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}: name a readable PEM file") from error


async def open_channel(endpoint: str, fingerprint: bytes, client: ClientCertificate | None = None) -> grpc.aio.Channel:
    """Return a channel to `host:port`.

    Parameters
    ----------
    fingerprint : SHA-256 of the supplier's certificate (DER); zero for plain text. The certificate is pinned, so
        it need not come from an authority, and one that an authority issued to somebody else does not pass.
    client : shown to a supplier that asks for a certificate.

    Raises
    ------
    RemoteError
        rule 3.7: another certificate than the registered one.
    Unavailable
        nobody answers there.
    """
    if fingerprint == ZERO32:
        return grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
    der = await _certificate(endpoint)
    if hashlib.sha256(der).digest() != fingerprint:
        raise RemoteError("3.7", f"{endpoint} shows another certificate than the registered one")
    certificate = x509.load_der_x509_certificate(der)
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    own = (client.key, client.certificate) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(pem, *own)
    name = ("grpc.ssl_target_name_override", _name_in(certificate))
    return grpc.aio.secure_channel(endpoint, credentials, options=[*CHANNEL_OPTIONS, name])


async def _certificate(endpoint: str) -> bytes:
    """Return the certificate (DER) that `endpoint` shows; who it is is checked by the fingerprint."""
    host, _, port = endpoint.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, ValueError, TimeoutError) as error:
        raise Unavailable(f"no TLS at {endpoint}: {error or 'timed out'}") from error
    der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return der


def _name_in(certificate: x509.Certificate) -> str:
    """Return a DNS name of the certificate, which gRPC compares with the one it expects."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = []
    if found:
        return str(found[0])
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(common[0].value) if common else "pocketnode"
