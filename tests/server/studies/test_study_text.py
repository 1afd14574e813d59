"""A study as text: of an earlier one, of those that are shipped, of a form."""

from dataclasses import replace
from pathlib import Path

import pytest

from fieldfare.server.studies.study_text import (
    MOST_LINES,
    MOST_TEXT,
    StudyForm,
    form_text,
    shipped_studies,
    study_text,
)
from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.file import load_study, parse_study

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))
FORM = StudyForm(
    name="calls",
    purpose="Where calls\ngrow.",
    unit="id",
    label="label",
    units="40,000",
    prevalence="0.05",
    columns="amount: 0 to 10,000\n\nchannel: branch, online\nopened: 2026-01 to 2026-03",
    asked="count\nmean of amount\ngroup by channel, opened",
)


def test_a_form_whose_writing_takes_seconds_is_refused() -> None:
    levels = ",".join(map(str, range(9_000)))
    with pytest.raises(StudyError, match="at most 512 levels of 'a', found 9000"):
        form_text(replace(FORM, columns=f"a: {levels}"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_text_of_a_study_is_the_same_study(path: Path) -> None:
    study = load_study(path)
    text = study_text(study)
    assert parse_study(text).id == study.id
    assert len(text) < MOST_TEXT


def test_a_start_that_does_not_come_along_stays_in_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = parse_study(shipped_studies()["heart"])
    monkeypatch.setattr("fieldfare.server.studies.study_text.parse_study", _refused)
    assert parse_study(study_text(study)).id == study.id


def _refused(text: str) -> None:
    raise StudyError("training.start: expected a start that comes with Fieldfare")


def test_shipped_studies_are_studies() -> None:
    found = shipped_studies()
    assert set(found) == {"amlsim-pack", "heart", "helplines"}
    assert all(parse_study(text).id for text in found.values())


def test_a_form_asks_questions() -> None:
    study = parse_study(form_text(FORM))
    assert (study.name, study.purpose, study.records.units) == ("calls", "Where calls grow.", 40000)
    assert [one.name for one in study.features] == ["amount", "channel"]
    assert [one.kind for one in study.queries] == ["count", "mean", "group_by"]
    assert not study.trains
    assert study.privacy.delta == 2e-6  # fits 40,000 units


def test_a_form_without_questions_trains_with_settings_that_fit() -> None:
    study = parse_study(form_text(replace(FORM, asked="")))
    assert study.trains
    assert study.training.beta1 == 0.0  # of the band, not the default
    assert study.privacy.clipping_norm == 1.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"units": "many"}, "units: expected a number"),
        ({"units": "inf"}, "units: expected a number"),
        ({"units": "9" * 5000}, "units: expected a number"),
        ({"prevalence": "nan"}, "prevalence: expected a number"),
        ({"columns": "amount"}, "columns: expected NAME: LOW to HIGH"),
        ({"columns": "amount: a to b"}, "columns: amount: expected a number"),
        ({"columns": "a: b\n" * (MOST_LINES + 1)}, "columns: expected at most"),
        ({"asked": "everything"}, "asked: expected count"),
        ({"asked": "drop of amount"}, "asked: expected count"),
    ],
)
def test_what_is_no_column_question_or_number_is_said(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        form_text(replace(FORM, **wrong))


def test_whatever_is_typed_is_a_text_of_toml_and_nothing_else() -> None:
    """No name closes its quotes: what stands there is a mistake of the study, not a key of it."""
    evil = 'x"\n[privacy]\nepsilon = 99\n#\x00\x1b'
    text = form_text(replace(FORM, name=evil, unit=evil, columns=f"{evil.splitlines()[0]}: a, b"))
    with pytest.raises(StudyError, match="name: expected"):
        parse_study(text)
    assert "epsilon = 1.0" in text
