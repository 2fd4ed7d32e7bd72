"""The gateway's own certificate authority.

The CA's key is kept in a Secret of the gateway's namespace, made at first start; of two replicas that start
at once, one creates it and the other reads that. Each replica signs its own server certificate in memory:
nothing to rotate in the cluster, and a leaked one dies within a week. The CA's certificate is published in
a ConfigMap, from which the controller gives it to pods. cert-manager was rejected as a dependency.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from claude_operator.gateway.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claude_operator.gateway.cluster import Cluster

SECRET_NAME: Final = "claude-gateway-tls"  # noqa: S105 - a Secret's name
CONFIG_MAP_NAME: Final = "claude-gateway-ca"
CERTIFICATE_KEY: Final = "ca.crt"
_PRIVATE_KEY: Final = "ca.key"
_CA_LIFETIME: Final = timedelta(days=3650)
_SERVER_LIFETIME: Final = timedelta(days=7)
_RENEW_SECONDS: Final = 24 * 3600
_SKEW: Final = timedelta(minutes=10)
"""Clocks of nodes differ; a certificate must not be from the future."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """The certificate, for those who are to trust it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


def new_authority() -> Authority:
    """A fresh CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("claude-gateway CA")
    now = utc_now()
    certificate = (
        _builder(name, name, key.public_key(), now, _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


async def shared_authority(cluster: Cluster) -> Authority:
    """The CA of this installation: read, or made and kept; and published.

    Raises:
        ValueError: the Secret does not hold a CA; the text says what to do.
    """
    fresh = new_authority()
    data = await cluster.ensure_secret(
        SECRET_NAME,
        {
            CERTIFICATE_KEY: fresh.pem.encode(),
            _PRIVATE_KEY: fresh.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        },
    )
    authority = _read(data.get(CERTIFICATE_KEY, b""), data.get(_PRIVATE_KEY, b""))
    await cluster.publish_config(CONFIG_MAP_NAME, {CERTIFICATE_KEY: authority.pem})
    return authority


def _read(certificate: bytes, key: bytes) -> Authority:
    remedy = f"delete the Secret {SECRET_NAME} and restart gateway and controller to make a new one"
    try:
        loaded = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Secret {SECRET_NAME} holds no CA ({error}): {remedy}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != loaded.public_key():
        raise ValueError(f"Secret {SECRET_NAME}: ca.key does not belong to ca.crt: {remedy}")
    if loaded.not_valid_after_utc < utc_now() + _SERVER_LIFETIME:
        raise ValueError(f"Secret {SECRET_NAME}: the CA expires on {loaded.not_valid_after_utc}: {remedy}")
    return Authority(loaded, private)


def service_names(namespace: str, extra: Iterable[str] = ()) -> tuple[str, ...]:
    """The names under which the Service `claude-gateway` is reached."""
    service = f"claude-gateway.{namespace}"
    names = ("claude-gateway", service, f"{service}.svc", f"{service}.svc.cluster.local", "localhost")
    return (*names, "127.0.0.1", "::1", *extra)


def renew(context: ssl.SSLContext, authority: Authority, names: Iterable[str]) -> None:
    """Give `context` a new server certificate; connections that stand keep theirs."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(
            _name("claude-gateway"),
            authority.certificate.subject,
            key.public_key(),
            utc_now(),
            _SERVER_LIFETIME,
        )
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    # The ssl module loads chains from files only; this one lives for a moment and is readable by us alone.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.flush()
        context.load_cert_chain(file.name)


def server_context(authority: Authority, names: Iterable[str]) -> ssl.SSLContext:
    """A TLS context for our ports, with a fresh certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    renew(context, authority, names)
    return context


async def keep_renewed(context: ssl.SSLContext, authority: Authority, names: Iterable[str]) -> None:
    """Renew daily, without end."""
    names = tuple(names)
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        renew(context, authority, names)
        _log.info("server certificate renewed")


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
