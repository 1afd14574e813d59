"""`institution import FILE` as it is typed: studies and models, and what is neither."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody, approve_all, home_study
from tests.support.homes.journals import logged
from tests.support.runs.finished import RUN, delivered

from fieldfare.client.cli.studies import type_of
from fieldfare.client.home.studies import State, read_decision
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.delivery import LARGEST_DELIVERY_FILE, DeliveryFile
from fieldfare.shared.protocol.messages import NoSigner

NAME = "bank-a"
STUDY = home_study()


class Typed:
    """`import` at `bank-a`, and what it says."""

    def __init__(self, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> None:
        self.coordinator = coordinator
        self.home = coordinator.homes[NAME]
        self._capsys = capsys

    def __call__(self, content: bytes, *more: str) -> tuple[int, str, str]:
        path = self.coordinator.file("arrived", content)
        status = run(["institution", "import", str(path), "--home", str(self.home.path), *more])
        out, err = self._capsys.readouterr()
        return status, out, err

    def events(self) -> list[dict[str, Any]]:
        return logged(self.home.log_folder)


@pytest.fixture
def typed(coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(coordinator, capsys)


def a_file(coordinator: Coordinator, **changes: Any) -> DeliveryFile:
    made = delivered(STUDY, coordinator.signer, **changes)
    return DeliveryFile(made.envelope, made.model, made.card)


def test_a_study_is_received(typed: Typed, coordinator: Coordinator) -> None:
    status, out, _ = typed(coordinator.signed(STUDY))
    assert status == 0
    assert f"institution review {STUDY.id[:12]}" in out
    assert read_decision(typed.home, STUDY.id).state is State.RECEIVED


def test_a_model_is_kept_once(
    typed: Typed, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    approve_all(coordinator, [custody_of(NAME)], STUDY)
    content = a_file(coordinator).to_bytes()
    status, _, err = typed(content)
    assert (status, "opened and finished here" in err) == (3, True)
    assert typed.events()[-1]["details"]["code"] == "not_recomputed"
    status, out, _ = typed(content + b"\n", "--unverified")
    assert status == 0
    assert "kept the model" in out
    assert f"institution models {RUN}" in out
    assert (typed.home.model(STUDY.id, RUN) / "card.html").is_file()
    status, out, _ = typed(content, "--unverified")
    assert (status, "is here already" in out) == (0, True)


def test_another_model_of_the_run_is_refused_and_logged(
    typed: Typed, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    approve_all(coordinator, [custody_of(NAME)], STUDY)
    assert typed(a_file(coordinator).to_bytes(), "--unverified")[0] == 0
    status, _, err = typed(a_file(coordinator, seed=1).to_bytes(), "--unverified")
    assert status == 3
    assert "delivered before" in err
    entry = typed.events()[-1]
    assert (entry["event"], entry["details"]["code"]) == ("refusal", "replay_changed")


def test_a_model_that_the_coordinator_did_not_sign_is_refused_and_logged(
    typed: Typed, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    approve_all(coordinator, [custody_of(NAME)], STUDY)
    forged = replace(a_file(coordinator), envelope=delivered(STUDY, NoSigner()).envelope)
    status, _, err = typed(forged.to_bytes())
    assert status == 1
    assert "expected a valid signature" in err
    assert typed.events()[-1]["details"]["code"] == "bad_signature"
    assert not typed.home.models.exists()


def test_a_model_of_an_unknown_study_is_refused(typed: Typed, coordinator: Coordinator) -> None:
    status, _, err = typed(a_file(coordinator).to_bytes())
    assert (status, "approved here" in err) == (3, True)


def test_a_run_that_is_no_name_is_refused(
    typed: Typed, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    approve_all(coordinator, [custody_of(NAME)], STUDY)
    status, _, err = typed(a_file(coordinator, run="..").to_bytes(), "--unverified")
    assert (status, "run id" in err) == (1, True)


def test_other_files_are_sent_where_they_belong(typed: Typed, coordinator: Coordinator) -> None:
    status, _, err = typed(coordinator.signed_roster())
    assert (status, "institution roster accept FILE" in err) == (2, True)
    transcript = b'{"format":1,"run":"r","study":"","type":"fieldfare.transcript.v1"}\n{"x":1}\n'
    status, _, err = typed(transcript)
    assert (status, "institution verify FILE" in err) == (2, True)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"type":1}', b'{"type":"x"}']
)
def test_what_is_nothing_is_refused(typed: Typed, content: bytes) -> None:
    status, _, err = typed(content)
    assert (status, "found something else" in err) == (2, True)
    assert type_of(content) in {"", "x"}


def test_files_are_read_within_a_limit(
    typed: Typed, coordinator: Coordinator, tmp_path: Path
) -> None:
    status, _, err = typed(b" " * (LARGEST_DELIVERY_FILE + 1))
    assert (status, "found more" in err) == (2, True)
    missing = str(tmp_path / "nowhere")
    assert run(["institution", "import", missing, "--home", str(typed.home.path)]) == 2
