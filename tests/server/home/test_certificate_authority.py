"""Certificates that TLS takes for the right name and refuses for any other."""

import ipaddress
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from tests.support.homes.coordinators import NOW

from fieldfare.server.home.certificate_authority import (
    AUTHORITY_LIFE,
    LOOPBACK,
    SERVER_LIFE,
    issue_server,
    new_authority,
)
from fieldfare.shared.errors import KeysError
from fieldfare.shared.system.certificates import PemPair, known_as, valid_until
from fieldfare.shared.system.key_files import signing_pem

AUTHORITY = new_authority("Example coordinator", NOW)
SERVER = issue_server(AUTHORITY, ("coordinator.example.org", "10.1.2.3"), NOW)


def accepts(name: str, *, authority: PemPair = AUTHORITY, server: PemPair = SERVER) -> bool:
    """Whether an independent verifier takes the certificate for a name, today."""
    root = x509.load_pem_x509_certificate(authority.certificate)
    leaf = x509.load_pem_x509_certificate(server.certificate)
    subject: x509.verification.Subject = x509.DNSName(name)
    if name[0].isdigit() or ":" in name:
        subject = x509.IPAddress(ipaddress.ip_address(name))
    verifier = PolicyBuilder().store(Store([root])).time(NOW + timedelta(days=30))
    try:
        verifier.build_server_verifier(subject).verify(leaf, [])
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize(
    "name", ["coordinator.example.org", "10.1.2.3", "localhost", "127.0.0.1", "::1"]
)
def test_the_server_is_known_by_its_names_and_on_this_host(name: str) -> None:
    assert accepts(name)


@pytest.mark.parametrize("name", ["other.example.org", "example.org", "10.1.2.4"])
def test_no_other_name_is_taken(name: str) -> None:
    assert not accepts(name)


def test_the_names_can_be_told() -> None:
    assert known_as(SERVER.certificate) == {"coordinator.example.org", "10.1.2.3", *LOOPBACK}
    with pytest.raises(KeysError, match="names, found"):
        known_as(AUTHORITY.certificate)


def test_another_authority_signs_for_nobody_here() -> None:
    other = new_authority("Example coordinator", NOW)
    assert not accepts("coordinator.example.org", authority=other)
    assert not accepts(
        "coordinator.example.org", server=issue_server(other, ("coordinator.example.org",), NOW)
    )


def test_openssl_loads_what_was_made(tmp_path: Path) -> None:
    for name, pair in (("authority", AUTHORITY), ("server", SERVER)):
        (tmp_path / f"{name}.pem").write_bytes(pair.certificate)
        (tmp_path / f"{name}.key").write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    ssl.create_default_context(cafile=tmp_path / "authority.pem")


def test_ten_years_and_one_and_never_beyond_the_authority() -> None:
    assert valid_until(AUTHORITY.certificate) == NOW + AUTHORITY_LIFE
    assert valid_until(SERVER.certificate) == NOW + SERVER_LIFE
    late = NOW + AUTHORITY_LIFE - timedelta(days=10)
    ends = valid_until(issue_server(AUTHORITY, ("coordinator.example.org",), late).certificate)
    assert ends == NOW + AUTHORITY_LIFE
    with pytest.raises(KeysError, match="still valid"):
        issue_server(AUTHORITY, ("coordinator.example.org",), NOW + AUTHORITY_LIFE)


def test_a_clock_a_little_behind_still_accepts() -> None:
    begins = x509.load_pem_x509_certificate(SERVER.certificate).not_valid_before_utc
    assert begins <= NOW - timedelta(hours=12)


def test_only_the_authority_may_sign_and_only_one_level_deep() -> None:
    root = x509.load_pem_x509_certificate(AUTHORITY.certificate)
    leaf = x509.load_pem_x509_certificate(SERVER.certificate)
    ca = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (ca.ca, ca.path_length) == (True, 0)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (PemPair(b"junk", AUTHORITY.key), "a certificate in PEM"),
        (PemPair(AUTHORITY.certificate, b"junk"), "private key in PEM"),
        (PemPair(AUTHORITY.certificate, SERVER.key), "found another one"),
        (PemPair(AUTHORITY.certificate, signing_pem(Ed25519PrivateKey.generate(), None)), "kind"),
    ],
    ids=["certificate", "key", "another", "kind"],
)
def test_damaged_files_sign_nothing(pair: PemPair, said: str) -> None:
    with pytest.raises(KeysError, match=said):
        issue_server(pair, ("coordinator.example.org",), NOW)


def test_a_long_name_fits_into_a_subject() -> None:
    long = ".".join(["x" * 60] * 4)
    assert accepts(long, server=issue_server(AUTHORITY, (long,), NOW))
