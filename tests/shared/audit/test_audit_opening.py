import io
from typing import Any

import pytest
from tests.support.federations.bench import MakeBench, make_study
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.audit import opening as audit_opening
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.errors import PackageError, ProtocolError, StudyError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import (
    Approval,
    IdentitySigner,
    KeyOffer,
    RunAnswer,
    RunOpening,
    open_envelope,
)
from fieldfare.shared.protocol.roster import Member
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.transcript.file import Misfit, write_transcript
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, tree_head

H = "0" * 64
SHORT = "QUJD"


def forged(
    recorded: Recorder, kind: LeafKind, body: Any, number: int = 0, **changes: Any
) -> Misfit:
    at = recorded.find(kind, number)
    found = recorded.misfit_with(at, recorded.forged(at, body, **changes))
    assert (found.leaf, found.kind) == (at, kind.value)
    return found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study": H}, "study"),
        ({"roster": H}, "roster"),
        ({"institution": "bank-c"}, "signature"),
        ({"signer": "bank-c"}, "signature"),
        ({"institution": "bank-a", "signer": "bank-a"}, "order"),
    ],
)
def test_an_approval_that_does_not_fit_is_named(
    recorded: Recorder, changes: dict[str, Any], reason: str
) -> None:
    found = forged(recorded, LeafKind.APPROVAL, Approval, 1, **changes)
    assert reason in found.reason
    assert found.institution == changes.get("institution", "bank-b")


def test_an_approval_that_the_opening_does_not_name_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.APPROVAL, 1)
    found = recorded.misfit_with(at, recorded.forged(at, Approval, number=9))
    assert (found.kind, found.institution) == ("hello", "bank-b")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study": H}, "study"),
        ({"roster": H}, "roster"),
        ({"run": "run-9"}, "run"),
        ({"approval": H}, "approval"),
        ({"institution": "bank-c"}, "signature"),
        ({"signer": "bank-c"}, "signature"),
        ({"institution": "bank-a", "signer": "bank-a", "approval": ""}, "order"),
    ],
)
def test_an_answer_that_does_not_fit_is_named(
    recorded: Recorder, changes: dict[str, Any], reason: str
) -> None:
    if changes.get("approval") == "":
        roster = recorded.bench.federation.identities.roster
        content = recorded.leaves[recorded.find(LeafKind.APPROVAL)].content
        approval = open_envelope(content, Approval, roster, Protection.EXACT).body
        changes = {**changes, "approval": approval.hash}
    assert reason in forged(recorded, LeafKind.HELLO, RunAnswer, 1, **changes).reason


def test_an_answer_that_the_opening_does_not_name_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.HELLO, 1)
    found = recorded.misfit_with(at, recorded.forged(at, RunAnswer, nonce=H))
    assert (found.kind, found.institution) == ("opening", "bank-b")


def test_keys_that_two_institutions_share_are_named(recorded: Recorder) -> None:
    def copy_keys(leaves: list[Leaf]) -> None:
        roster = recorded.bench.federation.identities.roster
        first, second = recorded.find(LeafKind.HELLO), recorded.find(LeafKind.HELLO, 1)
        keys = open_envelope(leaves[first].content, RunAnswer, roster, Protection.EXACT).body.x25519
        leaves[second] = recorded.forged(second, RunAnswer, x25519=keys)
        copied = open_envelope(leaves[second].content, RunAnswer, roster, Protection.EXACT).body
        at = recorded.find(LeafKind.OPENING)
        named = dict(recorded.participants)
        named["bank-b"] = named["bank-b"].model_copy(update={"answer": copied.hash})
        leaves[at] = recorded.forged(at, RunOpening, participants=tuple(named.values()))

    found = recorded.audit(recorded.lie(copy_keys)).misfit
    assert found is not None
    assert found.kind == "opening"
    assert "x25519" in found.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study": H}, "study"),
        ({"roster": H}, "roster"),
        ({"run": "run-9"}, "run"),
        ({"signer": "bank-a"}, "coordinator"),
        ({"participants": ()}, "answer"),
        ({"number": 1}, "next opening"),
    ],
)
def test_an_opening_that_does_not_fit_is_named(
    recorded: Recorder, changes: dict[str, Any], reason: str
) -> None:
    found = recorded.forged(recorded.find(LeafKind.OPENING), RunOpening, **changes)
    misfit = recorded.misfit_with(recorded.find(LeafKind.OPENING), found)
    assert reason in misfit.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"opening": H}, "opening"),
        ({"institution": "bank-c"}, "next participant"),
        ({"signer": "bank-c"}, "signature"),
        ({"ciphertexts": {}}, "ciphertext"),
        ({"ciphertexts": {"bank-c": SHORT, "bank-d": SHORT}}, "1088 bytes"),
    ],
)
def test_an_offer_that_does_not_fit_is_named(
    recorded: Recorder, changes: dict[str, Any], reason: str
) -> None:
    assert reason in forged(recorded, LeafKind.OFFER, KeyOffer, 1, **changes).reason


def test_a_study_that_was_not_approved_is_named(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.STUDY)
    other = recorded.bench.study.model_copy(update={"purpose": "another one"})
    offer = offer_study(other, recorded.bench.federation.identities.coordinator)
    found = recorded.misfit_with(at, Leaf(LeafKind.STUDY, offer))
    assert (found.leaf, found.kind) == (at, "study")


@pytest.mark.parametrize(
    ("privacy", "reason"),
    [
        ({"multiplicity": 2}, "multiplicity"),
        ({"epsilon": 1e-6, "delta": 1e-30}, "a study with a plan"),
    ],
)
def test_a_study_that_this_roster_cannot_run_is_named(
    make_bench: MakeBench, privacy: dict[str, Any], reason: str
) -> None:
    """A coordinator may sign any study; none of these could have been approved."""
    recorder = Recorder(make_bench())
    study = make_study(privacy=privacy)
    identities = recorder.bench.federation.identities
    recorder.leaves = [
        Leaf(LeafKind.ROSTER, offer_roster(identities.roster, identities.roster_key)),
        Leaf(LeafKind.STUDY, offer_study(study, identities.coordinator)),
    ]
    hashes = [leaf.hash for leaf in recorder.leaves]
    head = recorder.signed(tree_head(study.id, "run-1", hashes))
    out = io.BytesIO()
    write_transcript(
        out,
        study=study.id,
        run="run-1",
        leaves=recorder.leaves,
        blobs={},
        head=head,
        cosignatures={},
    )
    found = recorder.audit(out.getvalue()).misfit
    assert found is not None
    assert (found.leaf, found.kind) == (1, "study")
    assert reason in found.reason


def test_an_opening_with_too_few_is_named(recorded: Recorder) -> None:
    first, last = recorded.find(LeafKind.HELLO), recorded.find(LeafKind.OPENING)

    def lie(leaves: list[Leaf]) -> None:
        two = tuple(recorded.participants.values())[:2]
        leaves[last] = recorded.forged(last, RunOpening, participants=two)
        del leaves[first + 2 : last]

    found = recorded.audit(recorded.lie(lie)).misfit
    assert found is not None
    assert found.kind == "opening"
    assert "expected at least 3 participants, found 2" in found.reason


def test_a_roster_by_another_coordinator_is_named(recorded: Recorder) -> None:
    stranger = Trust(public_hex(_key(recorded, "bank-a")))
    report = recorded.audit(trust=stranger)
    assert report.misfit is not None
    assert (report.misfit.line, report.misfit.kind) == (2, "roster")


def test_a_pinned_roster_is_the_only_one_that_will_do(recorded: Recorder) -> None:
    roster = recorded.bench.federation.identities.roster
    assert recorded.audit(trust=Trust(roster.roster_key, roster)).misfit is None
    newer = roster.model_copy(update={"version": 2})
    found = recorded.audit(trust=Trust(roster.roster_key, newer)).misfit
    assert found is not None
    assert found.kind == "roster"
    assert "version 2, found version 1" in found.reason


def test_a_roster_with_a_member_without_a_key_is_named(recorded: Recorder) -> None:
    identities = recorded.bench.federation.identities
    first, *others = identities.roster.members
    keyless = identities.roster.model_copy(
        update={"members": (Member(id=first.id, key=""), *others)}
    )
    leaf = Leaf(LeafKind.ROSTER, offer_roster(keyless, identities.roster_key))
    found = recorded.misfit_with(0, leaf)
    assert "bank-a" in found.reason


def test_a_roster_that_is_known_to_be_right_is_trusted(recorded: Recorder) -> None:
    roster = recorded.bench.federation.identities.roster
    assert Trust.in_roster(recorded.leaves[0].content) == Trust(roster.roster_key, roster)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"body":{"roster":"[]"}}',
        b'{"body":{"roster":"{}"}}',
        b'{"body":{"roster":"{\\"coordinator\\":\\"\\"}"}}',
        b"[" * 10**5,
    ],
)
def test_what_is_no_signed_roster_is_not_trusted(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        Trust.in_roster(content)


def test_a_roster_that_its_coordinator_did_not_sign_is_not_trusted(recorded: Recorder) -> None:
    content = recorded.leaves[0].content
    with pytest.raises(ProtocolError):
        Trust.in_roster(content.replace(b"bank-a", b"bank-A"))


def _key(recorded: Recorder, name: str) -> Any:
    signer = recorded.bench.federation.identities.signers[name]
    assert isinstance(signer, IdentitySigner)
    return signer.key


def test_what_the_auditors_own_machine_lacks_is_nobodys_fault(
    recorded: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(error: Exception) -> None:
        def plan_for(study: object) -> None:
            del study
            raise error

        monkeypatch.setattr(audit_opening, "plan_for", plan_for)

    lacking(StudyError("no plan"))
    found = recorded.audit().misfit
    assert found is not None
    assert found.kind == "study"
    lacking(PackageError("not allowed here"))
    with pytest.raises(PackageError):
        recorded.audit()
