"""What arrives is kept once, as it came, within bounds; what does not fit is refused."""

import json
import stat
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.support.federations.bench import evaluate
from tests.support.homes.institutions import (
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    home_study,
)
from tests.support.homes.journals import logged
from tests.support.runs.finished import FINISHED, RUN, delivered, parameters_of
from tests.support.system.packages import MODEL, PACKAGE, install

from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.custodian.ports import ModelEvidence, ReportedRejection
from fieldfare.client.home import inbox as inbox_module
from fieldfare.client.home.inbox import HomeInbox
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import (
    ModelProvenance,
    evidence_of,
    kept_model,
    model_provenance,
)
from fieldfare.client.home.studies import (
    RejectionDisclosure,
    State,
    keep_study,
    kept_ids,
    read_decision,
)
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.open import open_institution_ledger
from fieldfare.client.journal.journal import Journal
from fieldfare.server.run.closing import ComposedDelivery
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.finished_model.file import model_to_bytes
from fieldfare.shared.study.allowed_packages import permit
from fieldfare.shared.study.study import MAX_STUDY_BYTES

NAME = "bank-a"
STUDY = home_study()


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    return coordinator.homes[NAME]


@pytest.fixture
def inbox(coordinator: Coordinator, home: Home) -> HomeInbox:
    return HomeInbox(home, coordinator.roster(), Journal.open(home.log_folder, clock=clock), clock)


def events(home: Home) -> list[dict[str, Any]]:
    return logged(home.log_folder)


# -- what was said no to --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        (RejectionDisclosure.NOTHING, None),
        (RejectionDisclosure.DECISION, ReportedRejection("rejected", "")),
        (RejectionDisclosure.REASON, ReportedRejection("rejected", "too wide")),
    ],
)
def test_a_no_is_told_as_far_as_a_person_let_it(
    coordinator: Coordinator,
    home: Home,
    inbox: HomeInbox,
    told: RejectionDisclosure,
    heard: ReportedRejection | None,
) -> None:
    inbox.study_offered(coordinator.signed(STUDY), STUDY)
    assert inbox.said_no(STUDY.id) is None
    journal = Journal.open(home.log_folder, clock=clock)
    with open_institution_ledger(open_institution(home.path), clock) as ledger:
        Rejecter(home, ledger, journal, "tester", NOW, told).reject(STUDY.id, "too wide")
    assert inbox.said_no(STUDY.id) == heard


def test_a_no_from_before_it_could_be_told_is_not(home: Home, inbox: HomeInbox) -> None:
    """Who typed a reason then was told that it stays in the log."""
    old = {"format": 1, "study": STUDY.id, "state": "rejected", "reason": "too wide"}
    home.study(STUDY.id).with_suffix(".json").write_text(json.dumps(old))
    assert read_decision(home, STUDY.id).reason == "too wide"
    assert inbox.said_no(STUDY.id) is None


# -- studies ----------------------------------------------------------------------------------


def test_an_offered_study_waits_for_a_person(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    offer = coordinator.signed(STUDY)
    inbox.study_offered(offer, STUDY)
    assert home.study(STUDY.id).read_bytes() == offer
    decision = read_decision(home, STUDY.id)
    assert (decision.state, decision.received) == (State.RECEIVED, NOW.isoformat())
    (entry,) = events(home)
    assert (entry["event"], entry["actor"]) == ("study received", "coordinator")
    assert entry["details"] == {"study": STUDY.id}


def test_the_same_study_again_changes_nothing(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    journal = Journal.open(home.log_folder, clock=clock)
    inbox.study_offered(coordinator.signed(STUDY), STUDY)
    with open_institution_ledger(coordinator.institution(NAME), clock) as ledger:
        Rejecter(home, ledger, journal, "tester", NOW).reject(STUDY.id, "no")
    before = events(home)
    inbox.study_offered(coordinator.signed(STUDY), STUDY)
    assert read_decision(home, STUDY.id).state is State.REJECTED
    assert events(home) == before


def test_a_study_of_a_package_that_is_not_listed_waits_too_and_its_model_does_not_come(
    coordinator: Coordinator,
    inbox: HomeInbox,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, monkeypatch)
    study = home_study(model=MODEL)
    inbox.study_offered(coordinator.signed(study), study)
    assert read_decision(home, study.id).state is State.RECEIVED
    permit([PACKAGE])
    made = delivered(study, coordinator.signer)
    monkeypatch.setattr(inbox_module, "EVER_APPROVED", {State.RECEIVED})
    permit([])
    with pytest.raises(PolicyRefusal, match="expected a package that is allowed here"):
        give(inbox, made)
    assert not home.models.exists()
    permit([PACKAGE])
    give(inbox, made)


def test_a_flood_of_offers_is_bounded_and_decisions_make_room(
    coordinator: Coordinator, home: Home, inbox: HomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "MOST_UNDECIDED", 3)
    studies = [home_study(name=f"s{i}") for i in range(4)]
    for study in studies[:3]:
        inbox.study_offered(coordinator.signed(study), study)
    with pytest.raises(PolicyRefusal, match="approve or reject") as refused:
        inbox.study_offered(coordinator.signed(studies[3]), studies[3])
    assert refused.value.code is RefusalCode.UNKNOWN_STUDY
    assert len(kept_ids(home)) == len(events(home)) == 3
    with open_institution_ledger(coordinator.institution(NAME), clock) as ledger:
        journal = Journal.open(home.log_folder, clock=clock)
        Rejecter(home, ledger, journal, "tester", NOW).reject(studies[0].id, "no")
    inbox.study_offered(coordinator.signed(studies[3]), studies[3])


def test_sixty_four_may_wait() -> None:
    assert inbox_module.MOST_UNDECIDED == 64


def test_what_is_too_large_comes_as_a_file(home: Home, inbox: HomeInbox) -> None:
    with pytest.raises(PolicyRefusal, match="institution import"):
        inbox.study_offered(b"x" * (MAX_STUDY_BYTES + 1), STUDY)
    assert kept_ids(home) == ()


def test_a_study_without_a_plan_is_refused(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    study = home_study(records__units=2**40, privacy__epsilon=1e-11)
    with pytest.raises(ProtocolError, match="that can run"):
        inbox.study_offered(coordinator.signed(study), study)
    assert kept_ids(home) == ()


def test_a_study_without_a_unit_is_refused(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    study = home_study(records__unit=None)
    with pytest.raises(ProtocolError, match=r"records\.unit: expected a column of ids"):
        inbox.study_offered(coordinator.signed(study), study)
    assert kept_ids(home) == ()


def test_nothing_is_kept_that_is_not_logged(
    coordinator: Coordinator, home: Home, inbox: HomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LedgerError("expected to write the log, found: no space")

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(LedgerError):
        inbox.study_offered(coordinator.signed(STUDY), STUDY)
    assert kept_ids(home) == ()


def test_a_disk_that_says_no_is_an_answer(
    coordinator: Coordinator, inbox: HomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inbox_module, "keep_study", full)
    with pytest.raises(LedgerError, match="No space left"):
        inbox.study_offered(coordinator.signed(STUDY), STUDY)


def test_a_home_that_cannot_be_read_is_an_answer(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    other = home_study(name="other")
    inbox.study_offered(coordinator.signed(other), other)
    home.study(other.id).with_suffix(".json").write_text("{}")
    with pytest.raises(LedgerError, match="decide again"):
        inbox.study_offered(coordinator.signed(STUDY), STUDY)


# -- models -----------------------------------------------------------------------------------


@pytest.fixture
def approved(coordinator: Coordinator, custody_of: OpenCustody) -> None:
    approve_all(coordinator, [custody_of(NAME)], STUDY)


def give(
    inbox: HomeInbox,
    made: ComposedDelivery,
    evidence: ModelEvidence = ModelEvidence.UNVERIFIED,
) -> None:
    inbox.delivered(made.delivery, made.envelope, made.model, made.card, evidence)


@pytest.mark.usefixtures("approved")
def test_a_model_is_kept_privately_and_logged(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    made = delivered(STUDY, coordinator.signer)
    give(inbox, made)
    folder = home.model(STUDY.id, RUN)
    files = {path.name: path for path in folder.iterdir()}
    assert sorted(files) == ["card.html", "card.json", "delivery.signed", "model.safetensors"]
    assert files["delivery.signed"].read_bytes() == made.envelope
    assert files["model.safetensors"].read_bytes() == made.model
    assert files["card.json"].read_bytes() == made.card
    assert "Fieldfare model card" in files["card.html"].read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    outer = (home.models, folder.parent, folder)
    assert {stat.S_IMODE(path.stat().st_mode) for path in outer} == {0o700}
    entry = events(home)[-1]
    assert (entry["event"], entry["actor"]) == ("model received", "coordinator")
    assert entry["details"] == {
        "study": STUDY.id,
        "run": RUN,
        "fingerprint": bytes_hash(made.model),
    }
    Home.open(home.path)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("approved")
def test_a_model_that_the_custodian_recomputed_says_so(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    made = delivered(STUDY, coordinator.signer)
    give(inbox, made, ModelEvidence.RECOMPUTED)
    kept = kept_model(home, STUDY.id, RUN)
    assert kept is not None
    found = model_provenance(kept, coordinator.institution(NAME).roster)
    assert found.provenance is ModelProvenance.RECOMPUTED
    words = f"recomputed here step by step in its run on {NOW:%Y-%m-%d}"
    assert found.words == f"{words}; its figures are the coordinator's word"
    give(inbox, made, ModelEvidence.MEASURED)
    assert model_provenance(kept, coordinator.institution(NAME).roster).words == words


WORD = "the coordinator's word: not recomputed here"


@pytest.mark.usefixtures("approved")
@pytest.mark.parametrize(
    ("evidence", "model", "metrics"),
    [
        (ModelEvidence.UNVERIFIED, WORD, WORD),
        (ModelEvidence.FINISHED, f"not recomputed: too large; {NAME} finished the run", WORD),
        (ModelEvidence.RECOMPUTED, f"recomputed by {NAME} step by step in the run, on", WORD),
        (
            ModelEvidence.MEASURED,
            f"recomputed by {NAME} step by step in the run, on",
            f"read off their sum again by {NAME} step by step in the run, on {NOW:%Y-%m-%d}",
        ),
    ],
)
def test_the_cards_page_says_what_was_recomputed_and_by_whom(
    coordinator: Coordinator,
    home: Home,
    inbox: HomeInbox,
    evidence: ModelEvidence,
    model: str,
    metrics: str,
) -> None:
    give(inbox, delivered(STUDY, coordinator.signer), evidence)
    page = unescape(home.model(STUDY.id, RUN).joinpath("card.html").read_text())
    assert f"<dt>the model</dt><dd>{model}" in page
    assert f"<dt>the metrics</dt><dd>{metrics}" in page
    assert f"These figures: {metrics}" in page
    assert "<dt>by nobody</dt><dd>whether records are true" in page


@pytest.mark.usefixtures("approved")
@pytest.mark.parametrize("proof", [ModelEvidence.FINISHED, ModelEvidence.RECOMPUTED])
def test_a_false_model_that_came_first_locks_nothing_out(
    coordinator: Coordinator, home: Home, inbox: HomeInbox, proof: ModelEvidence
) -> None:
    """Attack H3: the first delivery of a run's id won, and the true one was refused."""
    false, true = (delivered(STUDY, coordinator.signer, seed=seed) for seed in (1, 0))
    give(inbox, false)
    give(inbox, true, proof)
    kept = kept_model(home, STUDY.id, RUN)
    assert kept is not None
    assert (kept.read().model, evidence_of(kept)) == (true.model, proof)
    assert [path.name for path in kept.folder.parent.iterdir()] == [RUN]
    for other in (false, delivered(STUDY, coordinator.signer, seed=2)):
        with pytest.raises(PolicyRefusal, match="delivered before"):
            give(inbox, other)
    give(inbox, true)  # less is known of it this time: nothing changes
    assert evidence_of(kept) is proof


@pytest.mark.usefixtures("approved")
def test_the_same_delivery_again_changes_nothing(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    give(inbox, delivered(STUDY, coordinator.signer))
    before = (contents(home.models), events(home))
    give(inbox, delivered(STUDY, coordinator.signer))
    assert (contents(home.models), events(home)) == before


@pytest.mark.usefixtures("approved")
@pytest.mark.parametrize("evidence", ModelEvidence)
@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"at": FINISHED + timedelta(days=1)}, {"metrics": None}]
)
def test_another_model_of_the_same_run_is_refused_and_another_card_once_it_was_measured(
    coordinator: Coordinator,
    home: Home,
    inbox: HomeInbox,
    change: dict[str, Any],
    evidence: ModelEvidence,
) -> None:
    """Attack H6: a card of invented figures that came first locked the true one out."""
    give(inbox, delivered(STUDY, coordinator.signer), evidence)
    before, other = contents(home.models), delivered(STUDY, coordinator.signer, **change)
    if "seed" in change or evidence is ModelEvidence.MEASURED:
        with pytest.raises(PolicyRefusal, match="delivered before") as refused:
            give(inbox, other, evidence)
        assert refused.value.code is RefusalCode.REPLAY_CHANGED
        assert contents(home.models) == before
    else:
        give(inbox, other, evidence)
        kept = kept_model(home, STUDY.id, RUN)
        assert kept is not None
        assert (kept.read().card, evidence_of(kept)) == (other.card, evidence)
    give(
        inbox, delivered(STUDY, coordinator.signer, run="run-2", **change), evidence
    )  # another run may differ


@pytest.mark.usefixtures("approved")
def test_cards_of_one_model_do_not_come_for_ever(
    coordinator: Coordinator, home: Home, inbox: HomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "MOST_CARDS", 3)
    first, second = (delivered(STUDY, coordinator.signer, failed_attempts=n) for n in (1, 2))
    for made in (first, second, first):
        give(inbox, made, ModelEvidence.RECOMPUTED)
    logged_before = events(home)
    with pytest.raises(PolicyRefusal, match="delivered before"):
        give(inbox, second, ModelEvidence.RECOMPUTED)
    assert events(home) == logged_before
    give(inbox, second, ModelEvidence.MEASURED)  # what was measured is one card
    kept = kept_model(home, STUDY.id, RUN)
    assert kept is not None
    assert kept.read().card == second.card


@pytest.mark.usefixtures("approved")
def test_a_kept_model_that_was_changed_on_disk_is_not_taken_for_the_delivered_one(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    made = delivered(STUDY, coordinator.signer)
    give(inbox, made)
    (home.model(STUDY.id, RUN) / "card.json").unlink()
    with pytest.raises(PolicyRefusal):
        give(inbox, made)


def test_only_models_of_studies_that_were_approved_are_kept(
    coordinator: Coordinator, home: Home, inbox: HomeInbox, custody_of: OpenCustody
) -> None:
    made = delivered(STUDY, coordinator.signer)
    with pytest.raises(PolicyRefusal, match="approved here"):
        give(inbox, made)
    keep_study(home, STUDY, coordinator.signed(STUDY), NOW)
    with pytest.raises(PolicyRefusal, match="approved here"):
        give(inbox, made)
    assert not home.models.exists()
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], STUDY)
    Rejecter(home, custody.ledger, custody.journal, "tester", NOW).withdraw(STUDY.id, "")
    give(inbox, made)  # what was paid for may still come


@pytest.mark.usefixtures("approved")
def test_what_does_not_fit_the_study_is_refused(
    coordinator: Coordinator, home: Home, inbox: HomeInbox
) -> None:
    made = delivered(STUDY, coordinator.signer)
    other = home_study(purpose="another")
    wrong = [
        replace(made, model=made.model[:-8]),
        replace(made, model=model_to_bytes(other, RUN, parameters_of(other))),
        replace(made, model=model_to_bytes(STUDY, RUN, parameters_of(STUDY, seed=1))),
        replace(made, card=delivered(STUDY, coordinator.signer, seed=1).card),
        replace(made, card=delivered(STUDY, coordinator.signer, run="run-2").card),
        replace(made, card=b"{}"),
        replace(made, delivery=made.delivery.model_copy(update={"run": "run-2"})),
    ]
    for one in wrong:
        with pytest.raises(ProtocolError):
            give(inbox, one)
    assert not home.models.exists()


@pytest.mark.usefixtures("approved")
@pytest.mark.parametrize("run", [".", "..", ".new"])
def test_a_run_that_is_no_name_is_refused(
    coordinator: Coordinator, home: Home, inbox: HomeInbox, run: str
) -> None:
    with pytest.raises(ProtocolError, match="run id"):
        give(inbox, delivered(STUDY, coordinator.signer, run=run))
    assert not home.models.exists()


@pytest.mark.usefixtures("approved")
def test_models_of_one_study_are_bounded(
    coordinator: Coordinator, inbox: HomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "MOST_MODELS", 2)
    for number in range(2):
        give(inbox, delivered(STUDY, coordinator.signer, run=f"run-{number}"))
    with pytest.raises(PolicyRefusal, match="move those"):
        give(inbox, delivered(STUDY, coordinator.signer, run="run-2"))
    give(inbox, delivered(STUDY, coordinator.signer, run="run-1"))


def test_a_custodian_gives_what_arrives_to_the_home(
    coordinator: Coordinator, home: Home, custody_of: OpenCustody
) -> None:
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], STUDY)
    made = delivered(STUDY, coordinator.signer)
    refusal = custody.custodian.deliver(made.envelope, made.model, made.card)
    assert getattr(refusal, "code", None) is RefusalCode.NOT_RECOMPUTED
    assert events(home)[-1]["event"] == "refusal"
    assert events(home)[-1]["details"]["code"] == "not_recomputed"
    evaluate(custody.ledger, STUDY.id, RUN, made.delivery.model)
    assert custody.custodian.deliver(made.envelope, made.model, made.card) == b""
    assert home.model(STUDY.id, RUN).is_dir()
    other = delivered(STUDY, coordinator.signer, at=FINISHED + timedelta(days=1))
    assert custody.custodian.deliver(other.envelope, other.model, other.card) == b""
    other = delivered(STUDY, coordinator.signer, seed=1)
    refusal = custody.custodian.deliver(other.envelope, other.model, other.card)
    assert getattr(refusal, "code", None) is RefusalCode.NOT_RECOMPUTED
