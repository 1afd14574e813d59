"""`institution models`, with and without a model, as they are typed."""

import json
from datetime import UTC, datetime

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody, approve_all, home_study
from tests.support.runs.finished import RUN, delivered

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.home.models import kept_model, note_recomputed
from fieldfare.shared.cli.root import run

NAME = "bank-a"
STUDY = home_study()


class Typed:
    """Commands of `bank-a`, and what they say."""

    def __init__(self, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> None:
        self.coordinator = coordinator
        self.home = coordinator.homes[NAME]
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        status = run(["institution", *arguments, "--home", str(self.home.path)])
        out, err = self._capsys.readouterr()
        return status, out, err


@pytest.fixture
def typed(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str], custody_of: OpenCustody
) -> Typed:
    """A home with one model."""
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], STUDY)
    made = delivered(STUDY, coordinator.signer)
    custody.inbox.delivered(
        made.delivery, made.envelope, made.model, made.card, ModelEvidence.FINISHED
    )
    return Typed(coordinator, capsys)


def test_no_model_says_how_one_comes(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = Typed(coordinator, capsys)("models")
    assert (status, "no model has arrived" in out) == (0, True)
    assert Typed(coordinator, capsys)("models", "--json")[1].strip() == "[]"


def test_models_are_listed(typed: Typed) -> None:
    status, out, _ = typed("models")
    assert status == 0
    for text in (STUDY.id[:12], "small", RUN, "2025-06-02", "of a run finished here"):
        assert text in out
    (row,) = json.loads(typed("models", "--json")[1])
    assert (row["study"], row["run"], row["verified"]) == (STUDY.id, RUN, "finished")
    assert row["recomputed"] is None


def test_a_recomputed_model_is_listed_as_one(typed: Typed) -> None:
    kept = kept_model(typed.home, STUDY.id, RUN)
    assert kept is not None
    delivery = delivered(STUDY, typed.coordinator.signer).delivery
    now = datetime(2025, 7, 1, tzinfo=UTC)
    note_recomputed(kept, model=delivery.model, leaves=9, head="ab" * 32, now=now)
    assert "recomputed from its transcript here on 2025-07-01" in typed("models")[1]
    (row,) = json.loads(typed("models", "--json")[1])
    assert (row["verified"], row["recomputed"]["leaves"]) == ("recomputed", 9)


def test_a_changed_model_is_doubtful_and_not_shown(typed: Typed) -> None:
    path = typed.home.model(STUDY.id, RUN) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert "do not use it" in " ".join(typed("models")[1].split())
    (row,) = json.loads(typed("models", "--json")[1])
    assert (row["verified"], row["name"]) == ("doubtful", None)
    status, out, err = typed("models", RUN)
    assert (status, out) == (1, "")
    assert "do not use it" in err


@pytest.mark.parametrize("which", [RUN, STUDY.id[:6]])
def test_a_card_is_shown_with_its_files(typed: Typed, which: str) -> None:
    status, out, _ = typed("models", which)
    assert status == 0
    text = " ".join(out.split())
    for part in (
        "A possible victim is never the subject",
        "immigration enforcement",
        "AUROC 0.880 (0.860 to 0.890)",
        "epsilon 0.5",
        "verified: of a run finished here",
        str(typed.home.model(STUDY.id, RUN) / "card.html"),
    ):
        assert part in text
    card = (typed.home.model(STUDY.id, RUN) / "card.json").read_text()
    assert typed("models", which, "--json")[1].strip() == card


def test_a_model_that_is_not_here_is_said_to_be_unknown(typed: Typed) -> None:
    status, _, err = typed("models", "nowhere")
    assert (status, "institution models" in err) == (2, True)
