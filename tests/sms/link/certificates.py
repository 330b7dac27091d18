"""An authority of a test's own that issues certificates for names and addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.ssl import DefaultOpenSSLContextFactory


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """`path` is its certificate as a PEM file."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._self = self._signed("the authority", self._key.public_key(), None)
        self.path = directory / "authority.pem"
        self.path.write_bytes(self._self.public_bytes(Encoding.PEM))

    def issue(self, *names: str) -> DefaultOpenSSLContextFactory:
        """A certificate of a server that has these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(names[0], key.public_key(), [_general(name) for name in names])
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file = self.path.with_name(f"{names[0]}.pem")
        file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        return DefaultOpenSSLContextFactory(str(file), str(file), SSL.TLS_METHOD)  # type: ignore[no-untyped-call]

    def _signed(
        self, subject: str, key: ec.EllipticCurvePublicKey, names: list[x509.GeneralName] | None
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("the authority"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
