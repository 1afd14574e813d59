"""What an institution keeps outlives the coordinator's online key; what arrives does not."""

from dataclasses import replace
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import NAMES, NOW, Coordinator, clock, home_study

from fieldfare.client.home.inbox import HomeInbox
from fieldfare.client.home.roster import KnownSigners, offered_roster, online_keys, pin_roster
from fieldfare.client.home.studies import kept_study, offered_study
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.signed_files import open_study

NAME: Final = NAMES[0]


def renewed(coordinator: Coordinator) -> Coordinator:
    """The same one with another online key, whose roster is pinned everywhere."""
    before = coordinator.roster()
    after = replace(coordinator, key=Ed25519PrivateKey.generate())
    roster = before.model_copy(
        update={"version": 2, "previous": before.hash, "coordinator": public_hex(after.key)}
    )
    content = after.signed_roster(roster)
    for home in coordinator.homes.values():
        offered = offered_roster(content, "sent", coordinator.public)
        pin_roster(home, content, offered.roster, before)
    return after


def test_a_kept_study_is_read_until_it_comes_again(coordinator: Coordinator) -> None:
    study = home_study()
    coordinator.receive(study)
    former = coordinator.signed(study)
    after = renewed(coordinator)
    institution = coordinator.institution(NAME)
    home, roster = institution.home, institution.roster
    keys = (public_hex(after.key), public_hex(coordinator.key))
    assert online_keys(home, coordinator.public) == keys
    assert kept_study(home, study.id, roster).offer == former
    with pytest.raises(UsageError):
        offered_study(former, "sent", roster)
    journal = Journal.open(home.log_folder, clock=clock)
    HomeInbox(home, roster, journal, lambda: NOW).study_offered(after.signed(study), study)
    assert kept_study(home, study.id, roster).offer == after.signed(study)
    journal.close()


def test_only_keys_of_pinned_rosters_are_earlier_ones(coordinator: Coordinator) -> None:
    study = home_study()
    stranger = replace(coordinator, key=Ed25519PrivateKey.generate())
    renewed(coordinator)
    institution = coordinator.institution(NAME)
    ever = KnownSigners.of(institution.home, institution.roster)
    assert open_study(coordinator.signed(study), ever, Protection.EXACT) == study
    with pytest.raises(ProtocolError):
        open_study(stranger.signed(study), ever, Protection.EXACT)
