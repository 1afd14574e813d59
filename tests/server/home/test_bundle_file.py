import pytest

from fieldfare.server.home.initial_setup import build_bundle, bundle_hash, keep_bundle, kept_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.errors import KeysError


def test_a_coordinator_is_founded_with_the_installed_bundle(
    coordinator_home: CoordinatorHome,
) -> None:
    assert kept_bundle(coordinator_home) == build_bundle()
    assert coordinator_home.bundle_hash.read_text() == bundle_hash(build_bundle()) + "\n"


def test_the_bundle_stays_until_it_is_kept_anew(
    coordinator_home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.server.home.initial_setup.build_bundle", lambda: b"upgraded")
    assert kept_bundle(coordinator_home) != b"upgraded"
    assert keep_bundle(coordinator_home) == bundle_hash(b"upgraded")
    assert kept_bundle(coordinator_home) == b"upgraded"


def test_what_is_not_the_listed_bundle_is_never_used(coordinator_home: CoordinatorHome) -> None:
    coordinator_home.bundle_file.write_bytes(b"another")
    with pytest.raises(KeysError, match="found another one"):
        kept_bundle(coordinator_home)
    coordinator_home.bundle_file.unlink()
    with pytest.raises(KeysError, match="readable file"):
        kept_bundle(coordinator_home)
