"""What a kept model rests on is checked anew, every time."""

from dataclasses import replace
from datetime import UTC, datetime
from html import unescape

import pytest
from tests.support.homes.institutions import Coordinator, home_study
from tests.support.runs.finished import RUN, delivered

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.home.models import (
    KeptModel,
    ModelProvenance,
    evidence_of,
    in_the_run,
    keep_files,
    kept_model,
    model_provenance,
    note_recomputed,
    read_recomputed,
    redraw_page,
)
from fieldfare.shared.canonical import canonical_bytes

STUDY = home_study()
NOW = datetime(2025, 7, 1, 10, tzinfo=UTC)


@pytest.fixture
def kept(coordinator: Coordinator) -> KeptModel:
    home, made = coordinator.homes["bank-a"], delivered(STUDY, coordinator.signer)
    files = {
        "delivery.signed": made.envelope,
        "model.safetensors": made.model,
        "card.json": made.card,
    }
    keep_files(home, STUDY.id, RUN, files)
    found = kept_model(home, STUDY.id, RUN)
    assert found is not None
    return found


def model_of(coordinator: Coordinator) -> str:
    return delivered(STUDY, coordinator.signer).delivery.model


def test_a_model_without_a_note_is_unverified(coordinator: Coordinator, kept: KeptModel) -> None:
    found = model_provenance(kept, coordinator.roster())
    assert (found.provenance, found.recomputed) == (ModelProvenance.UNVERIFIED, None)
    assert found.card is not None
    assert found.card.run == RUN


def test_one_of_a_run_that_finished_here_says_so(coordinator: Coordinator, kept: KeptModel) -> None:
    (kept.folder / "finished.json").write_bytes(
        canonical_bytes(in_the_run(model_of(coordinator), NOW))
    )
    found = model_provenance(kept, coordinator.roster())
    assert (found.provenance, found.recomputed) == (ModelProvenance.FINISHED, None)
    assert "of a run finished here on 2025-07-01" in found.words
    assert evidence_of(kept) is ModelEvidence.FINISHED


def test_a_recomputed_one_says_when(coordinator: Coordinator, kept: KeptModel) -> None:
    done = note_recomputed(kept, model=model_of(coordinator), leaves=7, head="ab" * 32, now=NOW)
    assert read_recomputed(kept) == done
    found = model_provenance(kept, coordinator.roster())
    assert (found.provenance, found.recomputed) == (ModelProvenance.RECOMPUTED, done)
    assert "2025-07-01" in found.words


def test_the_page_is_drawn_anew_when_a_transcript_was_recomputed(
    coordinator: Coordinator, kept: KeptModel
) -> None:
    note_recomputed(
        kept, model=model_of(coordinator), leaves=7, head="ab" * 32, now=NOW, metrics=True
    )
    redraw_page(kept, STUDY, coordinator.roster(), "bank-a")
    page = unescape(kept.page.read_text())
    how = "by bank-a from the run's transcript, on 2025-07-01"
    assert f"<dt>the model</dt><dd>recomputed {how}" in page
    assert f"<dt>the metrics</dt><dd>read off their sum again {how}" in page


def test_a_note_about_another_model_counts_for_nothing(
    coordinator: Coordinator, kept: KeptModel
) -> None:
    note_recomputed(kept, model="00" * 32, leaves=7, head="ab" * 32, now=NOW)
    assert model_provenance(kept, coordinator.roster()).provenance is ModelProvenance.UNVERIFIED


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format":1}'])
def test_a_note_that_cannot_be_read_is_none(
    coordinator: Coordinator, kept: KeptModel, content: bytes
) -> None:
    (kept.folder / "recomputed.json").write_bytes(content)
    assert read_recomputed(kept) is None
    assert model_provenance(kept, coordinator.roster()).provenance is ModelProvenance.UNVERIFIED


@pytest.mark.parametrize("name", ["delivery.signed", "model.safetensors", "card.json"])
def test_a_changed_file_is_doubtful(coordinator: Coordinator, kept: KeptModel, name: str) -> None:
    note_recomputed(kept, model=model_of(coordinator), leaves=7, head="ab" * 32, now=NOW)
    path = kept.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    found = model_provenance(kept, coordinator.roster())
    assert (found.provenance, found.card) == (ModelProvenance.DOUBTFUL, None)
    path.unlink()
    assert model_provenance(kept, coordinator.roster()).provenance is ModelProvenance.DOUBTFUL


def test_another_coordinators_signature_is_doubtful(
    coordinator: Coordinator, kept: KeptModel
) -> None:
    other = coordinator.roster().model_copy(update={"coordinator": "00" * 31 + "01"})
    assert model_provenance(kept, other).provenance is ModelProvenance.DOUBTFUL


def test_a_folder_under_another_name_is_doubtful(coordinator: Coordinator, kept: KeptModel) -> None:
    moved = kept.folder.with_name("run-2")
    kept.folder.rename(moved)
    found = model_provenance(replace(kept, run="run-2", folder=moved), coordinator.roster())
    assert found.provenance is ModelProvenance.DOUBTFUL
