"""An institution looks at a transcript: the audit, its own replies, its key, its model."""

import io
from dataclasses import replace
from typing import Any

import pytest
from tests.support.homes.institutions import NAMES, NOW, Coordinator, OpenCustody, home_study
from tests.support.homes.runs import finished_run
from tests.support.runs.finished import METRICS, RUN
from tests.support.runs.transcripts import Recorder

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.home.models import (
    card_checks,
    kept_model,
    model_provenance,
    read_recomputed,
)
from fieldfare.client.home.roster import pin_roster
from fieldfare.client.institution.open import Custody
from fieldfare.client.oversight.stories import TwoStoriesError
from fieldfare.client.oversight.transcript_check import (
    TranscriptCheck,
    TwoRostersError,
    check_transcript,
    own_keys,
)
from fieldfare.server.run.closing import ComposedDelivery, compose
from fieldfare.shared.audit.verdict import AuditVerdict, RequiredCosigners
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import Member
from fieldfare.shared.protocol.signed_files import open_roster, read_roster
from fieldfare.shared.transcript.file import MisfitError
from fieldfare.shared.transcript.leaves import Leaf

NAME = NAMES[0]
STUDY = home_study()


@pytest.fixture
def custodies(custody_of: OpenCustody) -> list[Custody]:
    return [custody_of(name) for name in NAMES]


@pytest.fixture
def run(coordinator: Coordinator, custodies: list[Custody]) -> Recorder:
    return finished_run(coordinator, custodies, STUDY)


def delivery_of(run: Recorder, coordinator: Coordinator) -> ComposedDelivery:
    assert run.state is not None
    return compose(plan_for(STUDY), run.state.model, run.facts(), coordinator.signer, NOW)


def deliver(custody: Custody, made: ComposedDelivery) -> None:
    custody.inbox.delivered(
        made.delivery, made.envelope, made.model, made.card, ModelEvidence.UNVERIFIED
    )


def check(coordinator: Coordinator, custody: Custody, content: bytes) -> TranscriptCheck:
    institution = coordinator.institution(NAME)
    return check_transcript(institution, custody.ledger, io.BytesIO(content), NOW)


def test_an_honest_run_is_recomputed_and_noted(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder
) -> None:
    deliver(custodies[0], delivery_of(run, coordinator))
    found = check(coordinator, custodies[0], run.to_bytes())
    assert (found.header.study, found.header.run) == (STUDY.id, RUN)
    assert (found.own.recorded, found.own.rehearsals, found.own.unseen) == (4, 1, ())
    assert found.cosigned == found.report.leaves == len(run.leaves)
    kept = kept_model(coordinator.homes[NAME], STUDY.id, RUN)
    assert found.model == kept
    assert kept is not None
    note = read_recomputed(kept)
    assert note is not None
    assert (note.model, note.leaves) == (found.report.model, len(run.leaves))
    assert note.metrics


@pytest.mark.parametrize(
    "change", [{"spent": 1}, {"failed_attempts": 7}, {"metrics": METRICS}, {"institutions": 4}]
)
def test_a_card_that_says_something_else_of_the_run_is_found(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder, change: dict[str, Any]
) -> None:
    assert run.state is not None
    facts = replace(run.facts(), **change)
    deliver(
        custodies[0],
        compose(plan_for(STUDY), run.state.model, facts, coordinator.signer, NOW),
    )
    with pytest.raises(ProtocolError, match=f"card whose {next(iter(change))} follows from"):
        check(coordinator, custodies[0], run.to_bytes())


def test_without_vectors_nothing_is_called_recomputed(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder
) -> None:
    deliver(custodies[0], delivery_of(run, coordinator))
    found = check(coordinator, custodies[0], run.to_bytes(purged=True))
    assert found.report.purged
    assert found.model is not None
    assert read_recomputed(found.model) is None


def test_without_vectors_enough_cosignatures_answer_for_the_figures(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder
) -> None:
    """Of a model that was recomputed in its run; n - t signed what they recomputed too."""
    made, custody = delivery_of(run, coordinator), custodies[0]
    custody.inbox.delivered(
        made.delivery, made.envelope, made.model, made.card, ModelEvidence.RECOMPUTED
    )
    kept = kept_model(coordinator.homes[NAME], STUDY.id, RUN)
    assert kept is not None
    cosignatures = dict(run.cosignatures)
    for names, found in ((NAMES[:1], 0), (NAMES[:2], 2)):
        run.cosignatures = {name: cosignatures[name] for name in names}
        assert check(coordinator, custody, run.to_bytes(purged=True)).model == kept
        note = read_recomputed(kept)
        assert note is not None
        assert (note.cosigned, note.figures, note.metrics) == (found, found > 0, False)
    standing = model_provenance(kept, coordinator.roster())
    assert standing.words.startswith("recomputed here step by step in its run")
    checks = card_checks(NAME, standing.recomputed).metrics
    assert checks == (
        "in a log signed by 2 institutions that recomputed the run; not read off their sum by "
        f"{NAME}"
    )


def test_a_model_that_is_not_the_transcripts_is_found(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder
) -> None:
    assert run.state is not None
    other = compose(plan_for(STUDY), -run.state.model, run.facts(), coordinator.signer, NOW)
    deliver(custodies[0], other)
    with pytest.raises(ProtocolError, match="do not use it"):
        check(coordinator, custodies[0], run.to_bytes())


def test_a_transcript_that_does_not_fit_is_named(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder
) -> None:
    def drop(leaves: list[Leaf]) -> None:
        del leaves[10]

    with pytest.raises(TwoStoriesError, match="signed two logs"):
        check(coordinator, custodies[0], run.lie(drop))
    lines = run.to_bytes().splitlines(keepends=True)
    del lines[11]
    with pytest.raises(MisfitError, match="line"):
        check(coordinator, custodies[0], b"".join(lines))


def rosters(coordinator: Coordinator) -> dict[str, Any]:
    member = Member(id="bank-x", key="0" * 63 + "9")
    roster = coordinator.roster()
    return {
        "the same version": roster.model_copy(update={"members": (*roster.members, member)}),
        "a newer one": roster.model_copy(update={"version": 2}),
    }


@pytest.mark.parametrize("which", ["the same version", "a newer one"])
def test_a_roster_that_was_never_pinned_here_is_refused(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder, which: str
) -> None:
    """The transcript is whole; this institution has pinned another roster."""
    other = rosters(coordinator)[which]
    coordinator.pin(
        other.model_copy(update={"version": 1}) if which == "the same version" else None
    )
    if which == "a newer one":
        older = coordinator.roster(version=1).model_copy(update={"multiplicity": 2})
        coordinator.pin(older)
    with pytest.raises(TwoRostersError, match="pinned here") as told:
        check(coordinator, custodies[0], run.to_bytes())
    found = [open_roster(read_roster(path), coordinator.public) for path in told.value.files]
    assert found[1] == coordinator.roster()
    assert found[0] != found[1]


def test_a_run_of_the_coordinators_own_keys_is_no_run(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """All signatures hold, of keys that the coordinator made; `bank-a` stands beside them."""
    for name in ("bank-x", "bank-y", "bank-z"):
        coordinator.found(name)
    coordinator.pin()
    coordinator.compare()
    coordinator.homes[NAME].comparisons.unlink()
    custodies = [custody_of(name) for name in ("bank-x", "bank-y", "bank-z")]
    content = finished_run(coordinator, custodies, STUDY).to_bytes()
    custody = custody_of(NAME)
    found = check(coordinator, custody, content)
    assert found.strangers == ("bank-x", "bank-y", "bank-z")
    for required in RequiredCosigners:
        assert found.verdict(required) is AuditVerdict.NOT_COSIGNED
    coordinator.compare()
    assert check(coordinator, custody, content).strangers == ()


def test_an_older_roster_that_was_never_pinned_here_counts_by_ones_own_part_alone(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    coordinator.found("bank-d")
    coordinator.pin()
    coordinator.compare()
    custodies = [custody_of(name) for name in ("bank-b", "bank-c", "bank-d")]
    content = finished_run(coordinator, custodies, STUDY).to_bytes()
    custody = custody_of(NAME)
    assert check(coordinator, custody, content).roster_version == 1
    pin_roster(coordinator.homes[NAME], coordinator.signed_roster(coordinator.roster(version=3)))
    with pytest.raises(ProtocolError, match="pinned here, found another of version 1"):
        check(coordinator, custody, content)


def test_runs_under_an_earlier_roster_still_fit(
    coordinator: Coordinator, custodies: list[Custody], run: Recorder
) -> None:
    coordinator.pin(coordinator.roster(version=2))
    assert check(coordinator, custodies[0], run.to_bytes()).roster_version == 1


def test_former_keys_are_ones_own(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    (present,) = own_keys(home)
    (home.rotations / f"{'ab' * 32}.signed").touch()
    assert set(own_keys(home)) == {present, "ab" * 32}
