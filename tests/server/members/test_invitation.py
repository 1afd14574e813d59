import pytest

from fieldfare.server.home.initial_setup import (
    build_bundle,
    bundle_hash,
    kept_bundle,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.publication import invite, present_invitation
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import Invitation, open_invitation
from fieldfare.shared.protocol.signed_files import read_signed


def invite_now(home: CoordinatorHome) -> Invitation:
    return invite(home, load_roster_key(home, None))


def test_an_invitation_says_all_that_a_node_needs(coordinator_home: CoordinatorHome) -> None:
    assert present_invitation(coordinator_home) is None
    made = invite_now(coordinator_home)
    assert open_invitation(read_signed(coordinator_home.invitation)) == made
    assert present_invitation(coordinator_home) == made
    assert (made.hub, made.address) == ("Example coordinator", "coordinator.example.org:8443")
    assert made.authority.encode() == coordinator_home.authority.read_bytes()
    assert made.roster_key == roster_public(coordinator_home)
    assert made.bundle == bundle_hash(build_bundle())


def test_an_upgrade_changes_nothing_before_somebody_invites_anew(
    coordinator_home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = invite_now(coordinator_home)
    monkeypatch.setattr("fieldfare.server.home.initial_setup.build_bundle", lambda: b"upgraded")
    assert bundle_hash(kept_bundle(coordinator_home)) == first.bundle
    assert invite_now(coordinator_home).bundle == bundle_hash(b"upgraded")
    assert kept_bundle(coordinator_home) == b"upgraded"


def test_nothing_secret_can_stand_in_the_authoritys_place(
    coordinator_home: CoordinatorHome,
) -> None:
    certificate = coordinator_home.authority.read_bytes()
    for content in (coordinator_home.authority_key.read_bytes(), certificate * 2, b"\xff", b""):
        coordinator_home.authority.write_bytes(content)
        with pytest.raises(UsageError, match="certificate in PEM and nothing else") as refused:
            invite_now(coordinator_home)
        assert "PRIVATE" not in str(refused.value)


def test_a_damaged_invitation_is_named(coordinator_home: CoordinatorHome) -> None:
    invite_now(coordinator_home)
    coordinator_home.invitation.write_bytes(b"{}")
    with pytest.raises(UsageError, match="coordinator invitation"):
        present_invitation(coordinator_home)
