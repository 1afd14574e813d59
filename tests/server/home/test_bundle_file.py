import pytest
from tests.support.homes.coordinators import coordinator

from fieldfare.server.home.founding import build_bundle, bundle_hash, keep_bundle, kept_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.errors import KeysError

__all__ = ["coordinator"]


def test_a_coordinator_is_founded_with_the_installed_bundle(coordinator: CoordinatorHome) -> None:
    assert kept_bundle(coordinator) == build_bundle()
    assert coordinator.bundle_hash.read_text() == bundle_hash(build_bundle()) + "\n"


def test_the_bundle_stays_until_it_is_kept_anew(
    coordinator: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.server.home.founding.build_bundle", lambda: b"upgraded")
    assert kept_bundle(coordinator) != b"upgraded"
    assert keep_bundle(coordinator) == bundle_hash(b"upgraded")
    assert kept_bundle(coordinator) == b"upgraded"


def test_what_is_not_the_listed_bundle_is_never_used(coordinator: CoordinatorHome) -> None:
    coordinator.bundle_file.write_bytes(b"another")
    with pytest.raises(KeysError, match="found another one"):
        kept_bundle(coordinator)
    coordinator.bundle_file.unlink()
    with pytest.raises(KeysError, match="readable file"):
        kept_bundle(coordinator)
