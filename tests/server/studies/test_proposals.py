"""Studies that were proposed: signed once, found by what people type, never mistaken."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import home_study
from tests.support.network.coordinator import new_home

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.studies.proposals import find_study, proposal, proposals
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import IdentitySigner, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.protocol.signed_files import (
    StudyOffer,
    offer_roster,
    offer_study,
    open_study,
)
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import create_private

STUDY: Final = home_study()


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    return new_home(tmp_path / "coordinator")


def signer(home: CoordinatorHome) -> IdentitySigner:
    return IdentitySigner(load_signing_key(home, None))


def put_roster(home: CoordinatorHome, multiplicity: int) -> None:
    roster = Roster(
        version=1,
        multiplicity=multiplicity,
        coordinator=signing_public(home),
        members=(),
        roster_key=roster_public(home),
    )
    signed = offer_roster(roster, IdentitySigner(load_roster_key(home, None).key))
    create_private(home.roster, signed)


def test_a_proposed_study_is_signed_and_kept(home: CoordinatorHome) -> None:
    made = propose(home, STUDY, signer(home))
    assert (made.id, made.study, made.short) == (STUDY.id, STUDY, STUDY.id[:12])
    kept = home.study(STUDY.id)
    assert kept.read_bytes() == made.envelope
    assert kept.stat().st_mode & 0o777 == 0o600
    roster = Roster(version=1, coordinator=signing_public(home), members=())
    assert open_study(made.envelope, roster, Protection.EXACT) == STUDY


def test_proposing_again_changes_nothing(home: CoordinatorHome) -> None:
    first = propose(home, STUDY, signer(home))
    os.utime(home.study(STUDY.id), (1_700_000_000, 1_700_000_000))
    again = propose(home, STUDY, signer(home))
    assert (again.id, again.envelope) == (first.id, first.envelope)
    assert again.at == datetime.fromtimestamp(1_700_000_000, UTC)


def test_a_plan_that_cannot_be_carried_out_is_not_signed(home: CoordinatorHome) -> None:
    broken = home_study(privacy__epsilon=1e-12, privacy__delta=1e-9)
    with pytest.raises(StudyError, match="epsilon"):
        propose(home, broken, signer(home))
    assert proposals(home) == ()


def test_a_study_without_a_unit_is_for_simulations_alone(home: CoordinatorHome) -> None:
    with pytest.raises(StudyError, match="only `fieldfare simulate` takes none"):
        propose(home, home_study(records__unit=None), signer(home))
    assert proposals(home) == ()


def test_the_rosters_constant_is_kept(home: CoordinatorHome) -> None:
    put_roster(home, multiplicity=2)
    with pytest.raises(StudyError, match="multiplicity: expected the roster's 2, found 1"):
        propose(home, STUDY, signer(home))
    propose(home, home_study(privacy__multiplicity=2), signer(home))


def three(home: CoordinatorHome) -> tuple[Study, Study, Study]:
    studies = (STUDY, home_study(name="other"), home_study(purpose="again"))
    for number, study in enumerate(studies):
        propose(home, study, signer(home))
        os.utime(home.study(study.id), (1_700_000_000 - number, 1_700_000_000 - number))
    return studies


def test_studies_are_listed_oldest_first(home: CoordinatorHome) -> None:
    studies = three(home)
    assert [one.study for one in proposals(home)] == list(reversed(studies))


def test_a_study_is_found_by_id_prefix_or_name(home: CoordinatorHome) -> None:
    _, other, _ = three(home)
    for text in (other.id, other.id[:4], other.id[:12], "other"):
        assert find_study(home, text).study == other


def test_several_or_none_are_said(home: CoordinatorHome) -> None:
    first, _, again = three(home)
    with pytest.raises(UsageError, match=r"'small', which fits .*: give more of its id") as caught:
        find_study(home, "small")
    assert first.id[:12] in str(caught.value)
    assert again.id[:12] in str(caught.value)
    for text in ("absent", "abc", "", "0" * 64, "x" * 500):
        with pytest.raises(UsageError, match="see `fieldfare coordinator studies`"):
            find_study(home, text)


def test_a_name_that_looks_like_digits_is_a_name_too(home: CoordinatorHome) -> None:
    study = home_study(name="beef")
    propose(home, study, signer(home))
    if not study.id.startswith("beef"):
        assert find_study(home, "beef").study == study


def test_a_study_is_verified_once_and_its_bytes_are_looked_at_each_time(
    home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = propose(home, STUDY, signer(home))
    verified: list[bytes] = []

    def counted(content: bytes, *given: Any) -> Study:
        verified.append(content)
        return open_study(content, *given)

    monkeypatch.setattr("fieldfare.server.studies.proposals.open_study", counted)
    assert [one.id for _ in range(3) for one in proposals(home)] == [STUDY.id] * 3
    assert verified == []  # proposing it did so
    path = home.study(STUDY.id)
    path.write_bytes(made.envelope.replace(b"a", b"b", 1))
    for _ in range(2):
        with pytest.raises(UsageError, match="move the file away"):
            proposals(home)
    assert len(verified) == 2  # what is not right is never remembered
    path.write_bytes(made.envelope)
    home.signing_public.write_bytes(b"0" * 64)
    with pytest.raises(UsageError, match="move the file away"):
        proposals(home)


def test_a_file_that_was_not_signed_here_is_said(home: CoordinatorHome) -> None:
    stranger = IdentitySigner(Ed25519PrivateKey.generate())
    create_private(home.study(STUDY.id), offer_study(STUDY, stranger))
    with pytest.raises(UsageError, match="move the file away and propose the study again"):
        propose(home, STUDY, signer(home))


def test_a_file_under_another_id_is_said(home: CoordinatorHome) -> None:
    create_private(home.study("0" * 64), offer_study(STUDY, signer(home)))
    with pytest.raises(UsageError, match="expected the study of that id"):
        proposal(home, "0" * 64)


def test_a_study_that_an_earlier_version_proposed_hides_no_other(home: CoordinatorHome) -> None:
    propose(home, STUDY, signer(home))
    said = STUDY.model_dump(mode="json")
    said["privacy"]["training_share"] = 0.8
    text = rfc8785.dumps(said)
    old = home.study(bytes_hash(text))
    offer = sign_envelope(StudyOffer(study=text.decode()), COORDINATOR, signer(home))
    create_private(old, offer)
    assert [one.study for one in proposals(home)] == [STUDY]
    with pytest.raises(UsageError, match=r"training_share: training and the hold-out"):
        proposal(home, old.stem)
