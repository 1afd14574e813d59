"""Who stole the key that a coordinator signs runs with cannot say who takes part, nor the reverse.

Rosters and invitations need the roster key; studies and everything in a run need the online key.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.coordinators import an_authority, found
from tests.support.homes.institutions import Coordinator, home_study
from tests.support.homes.papers import Applicant, key_called

from fieldfare.server.home.initial_setup import load_signing_key, renew_online_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.roster_key import RosterKeyPlace, load_roster_key
from fieldfare.server.members.enrolment import examine, keep
from fieldfare.server.members.publication import draft_roster, publish, sign_draft
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import KeysError, ProtocolError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import Invitation, open_invitation, public_hex
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    MessageBody,
    RunOpening,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, ROSTER_SIGNER, Member, Roster
from fieldfare.shared.protocol.signed_files import (
    RosterOffer,
    StudyOffer,
    open_roster,
    open_study,
)
from fieldfare.shared.transcript.leaves import TreeHead

ONLINE, OFFLINE, BANK = (key_called(name) for name in ("online", "offline", "bank"))
ROSTER: Final = Roster(
    version=1,
    coordinator=public_hex(ONLINE),
    members=(Member(id="bank", key=public_hex(BANK)),),
    roster_key=public_hex(OFFLINE),
)
H: Final = "0" * 64
INVITATION: Final = Invitation(
    hub="Coordinator",
    address="127.0.0.1:8443",
    authority=an_authority(),
    bundle=H,
    roster_key=public_hex(OFFLINE),
)
OFFER: Final = RosterOffer(roster=ROSTER.canonical().decode())
STUDY: Final = StudyOffer(study=home_study().canonical().decode())
OPENING: Final = RunOpening(study=H, roster=H, run="run-1", number=0, participants=())
HEAD: Final = TreeHead(study=H, run="run-1", size=1, root=H)


def read_roster(content: bytes) -> object:
    return open_roster(content, public_hex(OFFLINE))


def read_in_a_run(kind: type[MessageBody]) -> Callable[[bytes], object]:
    return lambda content: open_envelope(content, kind, ROSTER, Protection.EXACT)


def read_study(content: bytes) -> object:
    return open_study(content, ROSTER, Protection.EXACT)


ROLES: Final = {
    "roster": (OFFER, OFFLINE, ROSTER_SIGNER, read_roster),
    "invitation": (INVITATION, OFFLINE, ROSTER_SIGNER, open_invitation),
    "study": (STUDY, ONLINE, COORDINATOR, read_study),
    "opening": (OPENING, ONLINE, COORDINATOR, read_in_a_run(RunOpening)),
    "head": (HEAD, ONLINE, COORDINATOR, read_in_a_run(TreeHead)),
}
FORGED: Final = [
    (what, by, name)
    for what, (_, right, own, _) in ROLES.items()
    for by, key in (("online", ONLINE), ("offline", OFFLINE), ("bank", BANK))
    for name in (COORDINATOR, ROSTER_SIGNER, "bank")
    # A member's own name in a run is for the receiver to refuse (test_coordinator_attacks).
    if (key, name) != (right, own) and not (what in {"opening", "head"} and by == name)
]


@pytest.mark.parametrize("what", ROLES)
def test_the_right_key_under_its_own_name_is_believed(what: str) -> None:
    body, key, name, read = ROLES[what]
    read(sign_envelope(body, name, IdentitySigner(key)))


@pytest.mark.parametrize(("what", "by", "name"), FORGED)
def test_no_other_key_and_no_other_name_is_believed_in_its_role(
    what: str, by: str, name: str
) -> None:
    body, _, _, read = ROLES[what]
    with pytest.raises(ProtocolError):
        read(sign_envelope(body, name, IdentitySigner(key_called(by))))


@pytest.mark.parametrize("body", [OPENING, STUDY], ids=["opening", "study"])
def test_what_the_online_key_signs_is_no_paper_of_the_roster_key(body: MessageBody) -> None:
    """Nor under the roster key's name, with the type string changed afterwards."""
    signed = sign_envelope(body, ROSTER_SIGNER, IdentitySigner(OFFLINE))
    for read in (read_roster, open_invitation):
        for content in (signed, signed.replace(body.TYPE.encode(), RosterOffer.TYPE.encode())):
            with pytest.raises(ProtocolError):
                read(content)


# -- a thief of the running coordinator -----------------------------------------------------------


def test_a_thief_of_the_online_key_changes_no_roster(coordinator: Coordinator) -> None:
    """Signed by the online key, under each name; also with that key named as the roster key."""
    thief = Member(id="thief", key=public_hex(key_called("thief")))
    before = coordinator.roster()
    more = before.model_copy(
        update={"version": 2, "previous": before.hash, "members": (*before.members, thief)}
    )
    own = more.model_copy(update={"roster_key": coordinator.roster().coordinator})
    home = coordinator.homes["bank-a"]
    for roster in (more, own):
        offer = RosterOffer(roster=roster.canonical().decode())
        for name in (COORDINATOR, ROSTER_SIGNER):
            content = sign_envelope(offer, name, coordinator.signer)
            file = coordinator.file("stolen", content)
            asked = ["institution", "roster", "accept", str(file), "--yes"]
            assert run([*asked, "--home", str(home.path)]) == 2
    assert coordinator.institution().roster == before


def apart(folder: Path) -> tuple[CoordinatorHome, Path]:
    """A coordinator whose roster key lies on a stick, with one member on its roster."""
    stick = folder / "stick.pem"
    home = found(folder / "coordinator", roster_key=RosterKeyPlace(stick))
    enrol(home, "bank-a")
    publish(home, load_roster_key(home, None, stick), multiplicity=1)
    return home, stick


def enrol(home: CoordinatorHome, name: str) -> None:
    keep(home, examine(home, Applicant(name, home).enrolment(), "sent"))


def test_a_copy_of_the_home_publishes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = apart(tmp_path)
    enrol(home, "bank-b")
    for command in ("roster", "invitation"):
        assert run(["coordinator", command, "--home", str(home.path)]) == 2
        assert "the roster key, found nothing" in capsys.readouterr().err
    with pytest.raises(KeysError, match="another key"):
        load_roster_key(home, None, home.signing_key)


def test_the_roster_key_signs_no_second_successor_that_a_thief_drafts(tmp_path: Path) -> None:
    """With the proof of two stories, its owner would be disbelieved by every member."""
    home, stick = apart(tmp_path)
    held = load_roster_key(home, None, stick)
    kept = home.roster.read_bytes()
    enrol(home, "bank-b")
    sign_draft(draft_roster(home), "draft", held)
    home.roster.write_bytes(kept)
    enrol(home, "thief")
    with pytest.raises(UsageError, match="two rosters of one version"):
        sign_draft(draft_roster(home), "draft", held)


def test_a_stolen_online_key_that_was_replaced_signs_nothing_any_more(tmp_path: Path) -> None:
    home, stick = apart(tmp_path)
    stolen = IdentitySigner(load_signing_key(home, None))
    renew_online_key(home, None)
    made = publish(home, load_roster_key(home, None, stick))
    assert made.fresh
    for body in (STUDY, OPENING, HEAD):
        content = sign_envelope(body, COORDINATOR, stolen)
        with pytest.raises(ProtocolError):
            open_envelope(content, type(body), made.roster, Protection.EXACT)
    signed = sign_envelope(STUDY, COORDINATOR, IdentitySigner(load_signing_key(home, None)))
    assert open_study(signed, made.roster, Protection.EXACT) == home_study()
