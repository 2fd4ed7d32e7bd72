"""A certificate authority per cluster, and the certificates and kubeconfigs that it signs.

Elliptic-curve keys, because making them takes a millisecond where RSA takes a tenth of a second each. One
authority signs servers and clients both: a throw-away cluster gains nothing from two.
"""

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.files import write_atomically

_LIFETIME = dt.timedelta(days=365)
# Clocks of containers and hosts differ a little; a certificate "from the future" is refused.
_LEEWAY = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key as PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """The cluster's authority, kept in `directory` with everything that it has signed."""

    directory: Path

    @property
    def cert(self) -> Path:
        """The authority's own certificate."""
        return self.directory / "ca.crt"

    @classmethod
    def open(cls, directory: Path) -> "Authority":
        """Create the authority, or find the one that is there."""
        authority = cls(directory)
        if not authority.cert.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "claude-operator local cluster")])
            certificate = (
                _builder(name, name, key.public_key())
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(_usage(signs_certificates=True), critical=True)
                .sign(key, hashes.SHA256())
            )
            # The key first: its certificate is what says that the pair is whole.
            _write_key(authority._key, key)
            _write_cert(authority.cert, certificate)
        return authority

    def server(self, name: str, *, hosts: Sequence[str]) -> KeyPair:
        """A server's certificate for DNS names and IP addresses."""
        return self._sign(
            name, common_name=name, groups=(), hosts=hosts, usage=ExtendedKeyUsageOID.SERVER_AUTH
        )

    def client(self, name: str, *, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client's certificate; Kubernetes reads its common name as user, its organizations as groups."""
        return self._sign(
            name, common_name=user, groups=groups, hosts=(), usage=ExtendedKeyUsageOID.CLIENT_AUTH
        )

    def signing_key(self, name: str) -> Path:
        """A bare private key for service-account tokens: RSA, because nearly every real cluster has that."""
        path = self.directory / f"{name}.key"
        if not path.exists():
            _write_key(path, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        return path

    @property
    def _key(self) -> Path:
        return self.directory / "ca.key"

    def _sign(
        self,
        name: str,
        *,
        common_name: str,
        groups: Sequence[str],
        hosts: Sequence[str],
        usage: x509.ObjectIdentifier,
    ) -> KeyPair:
        """Sign anew each time: a converging `up` may have other addresses than the one before."""
        pair = KeyPair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        issuer_key = serialization.load_pem_private_key(self._key.read_bytes(), password=None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(self.cert.read_bytes())
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, issuer.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
            )
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
            )
        _write_key(pair.key, key)
        _write_cert(pair.cert, builder.sign(issuer_key, hashes.SHA256()))
        return pair


def write_kubeconfig(path: Path, *, server: str, authority: Authority, client: KeyPair, name: str) -> None:
    """Write a kubeconfig that holds everything in itself, so that it can be copied elsewhere.

    JSON is YAML, and needs no library that quotes correctly.
    """
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": _embed(authority.cert)},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _embed(client.cert),
                    "client-key-data": _embed(client.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    write_atomically(path, json.dumps(config, indent=2) + "\n", mode=0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(now + _LIFETIME)
        # Python 3.13's strict verification asks for both key identifiers.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomically(path, pem, mode=0o600)


def _write_cert(path: Path, certificate: x509.Certificate) -> None:
    write_atomically(path, certificate.public_bytes(serialization.Encoding.PEM))


def _embed(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
