"""The coordinator's own certificate authority: one certificate for its SuperLink, nothing else.

Nodes trust this authority and no other, so no public one can let somebody else stand in for
the SuperLink. It signs no institution's certificate: nodes are known by their own keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fieldfare.shared.errors import KeysError
from fieldfare.shared.system.addresses import ip_of

AUTHORITY_LIFE: Final = timedelta(days=3653)  # ten years
SERVER_LIFE: Final = timedelta(days=365)
SKEW: Final = timedelta(days=1)  # a node's clock may be behind
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")  # for this host's own commands

_CURVE: Final = ec.SECP384R1()
_HASH: Final = hashes.SHA384()
_LONGEST_COMMON_NAME: Final = 64  # RFC 5280 appendix A.1, ub-common-name


@dataclass(frozen=True)
class PemPair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


def new_authority(coordinator: str, now: datetime) -> PemPair:
    """Make an authority (NIST P-384) that is valid for ten years.

    Args:
        coordinator: the coordinator's name, in the certificate's subject.
        now: with a time zone.
    """
    key = ec.generate_private_key(_CURVE)
    name = _name(f"Fieldfare {coordinator}")
    builder = (
        _builder(name, name, key.public_key(), now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return _pair(builder.sign(key, _HASH), key)


def issue_server(authority: PemPair, names: Sequence[str], now: datetime) -> PemPair:
    """Make a key and a certificate for the SuperLink, for a year or as long as the authority.

    Args:
        authority: who signs.
        names: DNS names and addresses that nodes know it by, the first one its subject; those
            of the loopback are added.
        now: with a time zone.

    Raises:
        KeysError: the authority's files are damaged, do not belong together, or it has ended.
    """
    signer, issuer = _load(authority)
    ends = min(now + SERVER_LIFE, issuer.not_valid_after_utc)
    if ends <= now:
        raise KeysError(
            f"expected an authority that is still valid, found one that ended {ends:%Y-%m-%d}: "
            "make a new coordinator and invite every institution anew"
        )
    key = ec.generate_private_key(_CURVE)
    known = dict.fromkeys((*names, *LOOPBACK))
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        _builder(_name(names[0]), issuer.subject, key.public_key(), now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_id, critical=False)
        .add_extension(x509.SubjectAlternativeName(map(_general, known)), critical=False)
    )
    return _pair(builder.sign(signer, _HASH), key)


def valid_until(certificate: bytes) -> datetime:
    """Return when a PEM certificate ends.

    Raises:
        KeysError: no certificate.
    """
    return _certificate(certificate).not_valid_after_utc


def known_as(certificate: bytes) -> frozenset[str]:
    """Return the names and addresses that a PEM certificate is good for.

    Raises:
        KeysError: no certificate, or one without names.
    """
    try:
        found = _certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        raise KeysError("expected a server's certificate with its names, found none") from None
    return frozenset(str(name.value) for name in found.value)


def _certificate(content: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise KeysError("expected a certificate in PEM, found another form: restore it") from None


def _load(pair: PemPair) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    certificate = _certificate(pair.certificate)
    try:
        key = load_pem_private_key(pair.key, None)
    except (ValueError, TypeError):  # TypeError: under a passphrase
        raise KeysError(
            "expected the authority's private key in PEM, found something else: restore it"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeysError("expected the authority's elliptic curve key, found another kind")
    if key.public_key() != certificate.public_key():
        raise KeysError("expected the key of the authority's certificate, found another one")
    return key, certificate


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    address = ip_of(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _name(text: str) -> x509.Name:
    common = x509.NameAttribute(NameOID.COMMON_NAME, text[:_LONGEST_COMMON_NAME])
    return x509.Name([common])


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> PemPair:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PemPair(certificate.public_bytes(Encoding.PEM), pem)
