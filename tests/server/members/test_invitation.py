import pytest
from tests.support.homes.coordinators import coordinator

from fieldfare.server.home.founding import (
    build_bundle,
    bundle_hash,
    kept_bundle,
    load_signing_key,
    signing_public,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.publication import invite, present_invitation
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import Invitation, open_invitation
from fieldfare.shared.protocol.signed_files import read_signed

__all__ = ["coordinator"]


def invite_now(home: CoordinatorHome) -> Invitation:
    return invite(home, load_signing_key(home, None))


def test_an_invitation_says_all_that_a_node_needs(coordinator: CoordinatorHome) -> None:
    assert present_invitation(coordinator) is None
    made = invite_now(coordinator)
    assert open_invitation(read_signed(coordinator.invitation)) == made
    assert present_invitation(coordinator) == made
    assert (made.hub, made.address) == ("Example coordinator", "coordinator.example.org:8443")
    assert made.authority.encode() == coordinator.authority.read_bytes()
    assert made.coordinator == signing_public(coordinator)
    assert made.bundle == bundle_hash(build_bundle())


def test_an_upgrade_changes_nothing_before_somebody_invites_anew(
    coordinator: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = invite_now(coordinator)
    monkeypatch.setattr("fieldfare.server.home.founding.build_bundle", lambda: b"upgraded")
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
