from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.coordinators import NOW, found

from fieldfare.server.home.certificate_authority import SERVER_LIFE
from fieldfare.server.home.initial_setup import (
    RENEW_BEFORE,
    certificate_trouble,
    load_signing_key,
    renew_server,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.shared.errors import KeysError, StudyError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.system.key_files import signing_pem

PASSPHRASE = b"correct horse battery"


def names_of(home: CoordinatorHome) -> set[str]:
    certificate = x509.load_pem_x509_certificate(home.server_certificate.read_bytes())
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in known}


def test_a_coordinator_has_all_that_it_needs(coordinator_home: CoordinatorHome) -> None:
    assert CoordinatorHome.open(coordinator_home.path) == coordinator_home
    assert public_hex(load_signing_key(coordinator_home, None)) == signing_public(coordinator_home)
    assert names_of(coordinator_home) == {
        "coordinator.example.org",
        "localhost",
        "127.0.0.1",
        "::1",
    }


def test_secrets_are_fresh_and_differ(tmp_path: Path) -> None:
    one, two = found(tmp_path / "one"), found(tmp_path / "two")
    tokens = [
        home.path / f"tokens/{name}" for home in (one, two) for name in ("control", "runtime")
    ]
    contents = {path.read_bytes() for path in tokens}
    assert len(contents) == 4
    assert {len(content) for content in contents} == {64}
    assert one.authority_key.read_bytes() != two.authority_key.read_bytes()


def test_a_passphrase_protects_the_signing_key(tmp_path: Path) -> None:
    home = found(tmp_path / "home", passphrase=PASSPHRASE)
    assert b"ENCRYPTED" in home.signing_key.read_bytes()
    assert public_hex(load_signing_key(home, PASSPHRASE)) == signing_public(home)
    with pytest.raises(KeysError, match="passphrase"):
        load_signing_key(home, None)


def test_mistakes_are_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="address"):
        found(tmp_path / "home", address="coordinator")
    assert not (tmp_path / "home").exists()


def test_a_half_made_home_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("fieldfare.server.home.initial_setup.issue_server", failing)
    with pytest.raises(OSError, match="disk full"):
        found(tmp_path / "home")
    assert not CoordinatorHome(tmp_path / "home").settings.exists()


def test_another_key_than_the_one_told_is_refused(coordinator_home: CoordinatorHome) -> None:
    coordinator_home.signing_key.write_bytes(signing_pem(Ed25519PrivateKey.generate(), None))
    with pytest.raises(KeysError, match="renew online-key"):
        load_signing_key(coordinator_home, None)


def test_renewing_keeps_the_authority_and_takes_the_names_of_now(
    coordinator_home: CoordinatorHome,
) -> None:
    authority, key = (
        coordinator_home.authority.read_bytes(),
        coordinator_home.server_key.read_bytes(),
    )
    text = coordinator_home.settings.read_text()
    coordinator_home.settings.write_text(text.replace("names = []", 'names = ["10.0.0.9"]'))
    later = NOW + timedelta(days=300)
    assert renew_server(coordinator_home, later) == later + SERVER_LIFE
    assert coordinator_home.authority.read_bytes() == authority
    assert coordinator_home.server_key.read_bytes() != key
    assert "10.0.0.9" in names_of(coordinator_home)
    assert CoordinatorHome.open(coordinator_home.path) == coordinator_home


def test_a_certificate_that_ends_soon_or_has_another_name_is_told(
    coordinator_home: CoordinatorHome,
) -> None:
    assert certificate_trouble(coordinator_home, NOW) == ""
    assert certificate_trouble(coordinator_home, NOW + SERVER_LIFE - RENEW_BEFORE) == ""
    for days in (0, 29, 31):
        late = NOW + SERVER_LIFE - RENEW_BEFORE + timedelta(days=days, seconds=1)
        assert "ends 2027-03-01: fieldfare coordinator renew certificate" in certificate_trouble(
            coordinator_home, late
        )
    text = coordinator_home.settings.read_text()
    for host in ("other.example.org", "[2001:DB8::7]"):
        coordinator_home.settings.write_text(
            text.replace("coordinator.example.org:8443", f"{host}:8443")
        )
        assert "is not good for" in certificate_trouble(coordinator_home, NOW)
        renew_server(coordinator_home, NOW)
        assert certificate_trouble(coordinator_home, NOW) == ""
