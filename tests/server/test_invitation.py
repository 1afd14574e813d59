import pytest
from tests.server_homes import coordinator

from fieldfare.server.bundle import build_bundle, bundle_hash
from fieldfare.server.bundle_file import kept_bundle
from fieldfare.server.founding import load_signing_key, signing_public
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.invitation import invite, present_invitation
from fieldfare.shared.enrolment import Invitation, open_invitation
from fieldfare.shared.errors import UsageError
from fieldfare.shared.sealed_files import read_sealed

__all__ = ["coordinator"]


def invite_now(home: CoordinatorHome) -> Invitation:
    return invite(home, load_signing_key(home, None))


def test_an_invitation_says_all_that_a_node_needs(coordinator: CoordinatorHome) -> None:
    assert present_invitation(coordinator) is None
    made = invite_now(coordinator)
    assert open_invitation(read_sealed(coordinator.invitation)) == made
    assert present_invitation(coordinator) == made
    assert (made.hub, made.address) == ("Example hub", "hub.example.org:8443")
    assert made.authority.encode() == coordinator.authority.read_bytes()
    assert made.coordinator == signing_public(coordinator)
    assert made.bundle == bundle_hash(build_bundle())


def test_an_upgrade_changes_nothing_before_somebody_invites_anew(
    coordinator: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = invite_now(coordinator)
    monkeypatch.setattr("fieldfare.server.bundle_file.build_bundle", lambda: b"upgraded")
    assert bundle_hash(kept_bundle(coordinator)) == first.bundle
    assert invite_now(coordinator).bundle == bundle_hash(b"upgraded")
    assert kept_bundle(coordinator) == b"upgraded"


def test_nothing_secret_can_stand_in_the_authoritys_place(coordinator: CoordinatorHome) -> None:
    certificate = coordinator.authority.read_bytes()
    for content in (coordinator.authority_key.read_bytes(), certificate * 2, b"\xff", b""):
        coordinator.authority.write_bytes(content)
        with pytest.raises(UsageError, match="certificate in PEM and nothing else") as refused:
            invite_now(coordinator)
        assert "PRIVATE" not in str(refused.value)


def test_a_damaged_invitation_is_named(coordinator: CoordinatorHome) -> None:
    invite_now(coordinator)
    coordinator.invitation.write_bytes(b"{}")
    with pytest.raises(UsageError, match="coordinator invitation"):
        present_invitation(coordinator)
