"""Certificates of an authority of one's own: what it signs, for how long, for which use.

A coordinator has one for its SuperLink, an institution one for the link of custodian and node.
Whoever trusts such an authority trusts no public one, so that none can let a stranger in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
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

SKEW: Final = timedelta(days=1)  # the other side's clock may be behind

_CURVE: Final = ec.SECP384R1()
_HASH: Final = hashes.SHA384()
_LONGEST_COMMON_NAME: Final = 64  # RFC 5280 appendix A.1, ub-common-name


class CertificateUse(Enum):
    """The one use that a certificate is good for (RFC 5280, section 4.2.1.12)."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class PemPair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def new_authority_pair(name: str, now: datetime, life: timedelta) -> PemPair:
    """Make an authority (NIST P-384) that signs certificates and nothing below them.

    Args:
        name: in the certificate's subject.
        now: with a time zone.
        life: how long it is valid.
    """
    key = ec.generate_private_key(_CURVE)
    subject = _name(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return PemPair(_certificate_pem(builder.sign(key, _HASH)), _key_pem(key))


def new_pair(
    authority: PemPair, names: Sequence[str], use: CertificateUse, now: datetime, life: timedelta
) -> PemPair:
    """Make a key and its certificate, valid for `life` or as long as the authority.

    Args:
        authority: who signs.
        names: DNS names and addresses, the first one its subject.
        use: what it is good for.
        now: with a time zone.
        life: how long at most.

    Raises:
        KeysError: the authority's files are damaged, do not belong together, or it has ended.
    """
    key = ec.generate_private_key(_CURVE)
    return PemPair(_signed(authority, key.public_key(), names, use, now, life), _key_pem(key))


def signed_request(
    authority: PemPair,
    request: bytes,
    names: Sequence[str],
    use: CertificateUse,
    now: datetime,
    life: timedelta,
) -> bytes:
    """Return the certificate, PEM, for the key that a request (PKCS #10, PEM) proves to hold.

    Nothing else is taken from the request: names, use and life are the authority's own words.

    Raises:
        KeysError: no request, another kind of key, or it was not signed with that key; and as
            `new_pair`.
    """
    try:
        found = x509.load_pem_x509_csr(request)
        proved, key = found.is_signature_valid, found.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise KeysError("expected a certificate request in PEM, found another form") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE.name:
        raise KeysError("expected a request for a NIST P-384 key, found another kind")
    if not proved:
        raise KeysError("expected a request signed with its own key, found another signature")
    return _signed(authority, key, names, use, now, life)


def new_request(name: str) -> PemPair:
    """Make a key and a request for its certificate, which stands in the certificate's place."""
    key = ec.generate_private_key(_CURVE)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    request = builder.sign(key, _HASH).public_bytes(Encoding.PEM)
    return PemPair(request, _key_pem(key))


def valid_until(certificate: bytes) -> datetime:
    """Return when a PEM certificate ends; the first one of several.

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


def _signed(
    authority: PemPair,
    key: ec.EllipticCurvePublicKey,
    names: Sequence[str],
    use: CertificateUse,
    now: datetime,
    life: timedelta,
) -> bytes:
    signer, issuer = _load(authority)
    ends = min(now + life, issuer.not_valid_after_utc)
    if ends <= now:
        raise KeysError(
            f"expected an authority that is still valid, found one that ended {ends:%Y-%m-%d}: "
            "make a new one, and give it to everybody who trusted this one"
        )
    known = map(_general, dict.fromkeys(names))
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = (
        _builder(_name(names[0]), issuer.subject, key, now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use.value]), critical=False)
        .add_extension(issuer_id, critical=False)
        .add_extension(x509.SubjectAlternativeName(known), critical=False)
    )
    return _certificate_pem(builder.sign(signer, _HASH))


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


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
