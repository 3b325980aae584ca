"""Self-signed TLS certificates for the lanes' listener. Gateways pin its fingerprint, so no authority is needed."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pocketnode.errors import ConfigError


def create_certificate(certificate: Path, key: Path, host: str, days: int) -> None:
    """Write a new key, readable by its owner only, and its certificate for `host`.

    Raises
    ------
    ConfigError
        one of the files exists: a registered certificate is never replaced by accident.
    """
    for file in (certificate, key):
        if file.exists():
            raise ConfigError(f"{file} exists: remove it to make another, and register the new fingerprint")
    private = ec.generate_private_key(ec.SECP256R1())
    signed = _self_signed(private, host, days)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
        sink.write(secret)
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def _self_signed(private: ec.EllipticCurvePrivateKey, host: str, days: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
