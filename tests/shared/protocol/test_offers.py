import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import IdentitySigner, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, ROSTER_SIGNER, Member, Roster
from fieldfare.shared.protocol.signed_files import (
    RosterOffer,
    StudyOffer,
    offer_roster,
    offer_study,
    open_roster,
    open_study,
)
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

COORDINATOR_KEY = Ed25519PrivateKey.generate()
ROSTER_KEY = Ed25519PrivateKey.generate()
BANK = Ed25519PrivateKey.generate()

TEXT = """
name = "offered"
purpose = "test"
[records]
label = "y"
units = 1000
prevalence = 0.1
[[features]]
name = "x"
kind = "numeric"
lower = 0
upper = 1
[privacy]
epsilon = 1
delta = 1e-5
"""


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


ROSTER = Roster(
    version=1,
    coordinator=public(COORDINATOR_KEY),
    members=(Member(id="bank", key=public(BANK)),),
    roster_key=public(ROSTER_KEY),
)


@pytest.fixture
def study() -> Study:
    return parse_study(TEXT)


def test_a_signed_study_comes_back_equal_with_the_same_id(study: Study) -> None:
    opened = open_study(
        offer_study(study, IdentitySigner(COORDINATOR_KEY)), ROSTER, Protection.EXACT
    )

    assert opened == study
    assert opened.id == study.id


@pytest.mark.parametrize(("old", "new"), [("offered", "changed"), (":1000", ":1001")])
def test_a_changed_study_is_refused(study: Study, old: str, new: str) -> None:
    offer = offer_study(study, IdentitySigner(COORDINATOR_KEY)).decode()
    changed = offer.replace(old, new)

    assert changed != offer
    with pytest.raises(ProtocolError):
        open_study(changed.encode(), ROSTER, Protection.EXACT)


def test_a_study_signed_by_a_member_is_refused(study: Study) -> None:
    body = StudyOffer(study=study.canonical().decode())

    with pytest.raises(ProtocolError, match="coordinator"):
        open_study(sign_envelope(body, "bank", IdentitySigner(BANK)), ROSTER, Protection.EXACT)


def test_a_study_in_another_form_than_its_canonical_one_is_refused(study: Study) -> None:
    spaced = json.dumps(json.loads(study.canonical()), indent=1)
    offer = sign_envelope(StudyOffer(study=spaced), COORDINATOR, IdentitySigner(COORDINATOR_KEY))

    with pytest.raises(ProtocolError, match="canonical"):
        open_study(offer, ROSTER, Protection.EXACT)


@pytest.mark.parametrize("text", ["{}", "[]", "not json", "[" * 5000])
def test_a_signed_text_that_is_no_study_is_refused(text: str) -> None:
    offer = sign_envelope(StudyOffer(study=text), COORDINATOR, IdentitySigner(COORDINATOR_KEY))

    with pytest.raises(ProtocolError, match="valid study"):
        open_study(offer, ROSTER, Protection.EXACT)


def test_a_signed_roster_comes_back_equal() -> None:
    assert (
        open_roster(offer_roster(ROSTER, IdentitySigner(ROSTER_KEY)), public(ROSTER_KEY)) == ROSTER
    )


def test_a_roster_by_another_key_than_the_pinned_one_is_refused() -> None:
    offer = offer_roster(ROSTER, IdentitySigner(BANK))

    with pytest.raises(ProtocolError):
        open_roster(offer, public(ROSTER_KEY))


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"roster_key": public(BANK), "members": ()}, "pinned"), ({"coordinator": ""}, "online key")],
)
def test_a_roster_with_another_roster_key_or_no_online_key_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    offer = offer_roster(ROSTER.model_copy(update=changes), IdentitySigner(ROSTER_KEY))

    with pytest.raises(ProtocolError, match=said):
        open_roster(offer, public(ROSTER_KEY))


@pytest.mark.parametrize("text", ["{}", "11", "{{"])
def test_a_signed_text_that_is_no_roster_is_refused(text: str) -> None:
    offer = sign_envelope(RosterOffer(roster=text), ROSTER_SIGNER, IdentitySigner(ROSTER_KEY))

    with pytest.raises(ProtocolError, match="valid roster"):
        open_roster(offer, public(ROSTER_KEY))
