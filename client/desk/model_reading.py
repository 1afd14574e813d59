"""What a desk tells of finished models and of the records' health; no record is read for it.

Of records only counts are kept, and what leaves this side is rounded: rows to two digits, shares to
whole percents.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fieldfare.client.desk.model_calls import (
    JOINING,
    MODEL,
    MODELS,
    RECORDS,
    ColumnTold,
    MaybeModel,
    ModelAsked,
    ModelPart,
    ModelsTold,
    ModelTold,
    RecordsTold,
    StudyRecordsTold,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.oversight.arrived_models import (
    ArrivedModel,
    arrived_models,
    joining_on_desk,
    model_on_desk,
)
from fieldfare.client.records.drift import Drift, DriftWord, drift
from fieldfare.client.records.health import (
    ColumnProfile,
    RecordsProfile,
    StudyHealth,
    read_health,
)
from fieldfare.shared.desk.answering import DeskLine

_ODD = frozenset({DriftWord.MOVED, DriftWord.MOVED_MUCH, DriftWord.OTHER})


def model_lines(home: Path) -> list[DeskLine[Any, Any]]:
    """Return the questions about the models and records of a home."""
    return [
        DeskLine(MODELS, lambda _asked, _user: _models(home)),
        DeskLine(MODEL, lambda asked, _user: _model(home, asked)),
        DeskLine(JOINING, lambda asked, _user: _joining(home, asked)),
        DeskLine(RECORDS, lambda _asked, _user: records_told(home)),
    ]


def _models(home: Path) -> ModelsTold:
    return ModelsTold(models=[_told(one) for one in arrived_models(home)])


def _told(one: ArrivedModel) -> ModelTold:
    return ModelTold(**asdict(one))


def _model(home: Path, asked: ModelAsked) -> MaybeModel:
    found = model_on_desk(home, asked.study, asked.run)
    if found is None:
        return MaybeModel(found=None)
    return _part(home, found.model, str(found.card), found.problem)


def _joining(home: Path, asked: ModelAsked) -> MaybeModel:
    found = joining_on_desk(home, asked.study, asked.run)
    return MaybeModel(found=None) if found is None else _part(home, found.model, str(found.answer))


def _part(home: Path, model: ArrivedModel, drawn: str, problem: str = "") -> MaybeModel:
    told = ModelPart(model=_told(model), drawn=drawn, problem=problem, home=str(home.absolute()))
    return MaybeModel(found=told)


# -- records --------------------------------------------------------------------------------------


def records_told(home: Path) -> RecordsTold:
    """Tell how the records stand under each study.

    Raises:
        UsageError: the counts that are kept cannot be read.
    """
    kept = read_health(Home.open(home).health).studies
    return RecordsTold(studies=[_study(one) for one in reversed(kept)])


def _study(one: StudyHealth) -> StudyRecordsTold:
    first = one.first if one.first.time[:10] != one.now.time[:10] else None
    return StudyRecordsTold(
        study=one.study,
        name=one.name,
        now=one.now.time[:10],
        before=one.before.time[:10] if one.before else "",
        first=first.time[:10] if first else "",
        rows=about(one.now.rows),
        rows_before=about(one.before.rows) if one.before else "",
        zero=share(one.now.zero, one.now.rows),
        columns=[
            _column(now, _of(one.before, now.name), _of(first, now.name), len(one.now.columns))
            for now in one.now.columns
        ],
    )


def _of(profile: RecordsProfile | None, name: str) -> ColumnProfile | None:
    found = profile.columns if profile else ()
    return next((one for one in found if one.name == name), None)


def _column(
    now: ColumnProfile, before: ColumnProfile | None, first: ColumnProfile | None, columns: int
) -> ColumnTold:
    since = drift(before, now, columns) if before else None
    ever = drift(first, now, columns) if first else None
    return ColumnTold(
        name=now.name,
        kind=now.kind,
        missing=share(now.missing, now.rows),
        undeclared=share(sum(now.apart), now.rows) if now.kind == "level" else "",
        missing_before=share(before.missing, before.rows) if before else "",
        index=_index(since),
        word=since.word.value if since else "",
        first_index=_index(ever),
        first_word=ever.word.value if ever else "",
        odd=any(one is not None and one.word in _ODD for one in (since, ever)),
    )


def _index(found: Drift | None) -> str:
    return "" if found is None or found.size is None else f"{found.size:.2f}"


def about(rows: int) -> str:
    """Return a number of rows to two digits; fewer than a hundred: no number at all."""
    if rows < 100:  # noqa: PLR2004 -- two digits would be all of it
        return "no" if not rows else "under 100"
    return f"about {int(float(f'{rows:.1e}')):,}"


def share(part: int, whole: int) -> str:
    """Return a share in whole percents; a few rows read like none, all but a few like all."""
    percent = 100 * part / whole if whole else 0.0
    if percent < 1:
        return "under 1 %"
    return f"{percent:.0f} %" if percent <= 99 else "over 99 %"  # noqa: PLR2004 -- of percents
