"""What a desk tells of finished models and of the records' health; no record is read for it.

Models are checked anew from the files of the home, at each question.

Of records only counts are kept, and what leaves this side is rounded: rows to two digits, shares to
whole percents.
"""

from pathlib import Path
from typing import Final

from markupsafe import Markup

from fieldfare.client.desk.model_calls import (
    ColumnView,
    MaybeModel,
    ModelList,
    ModelPart,
    ModelQuestion,
    ModelView,
    RecordsView,
    StudyRecordsView,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import (
    ModelProvenance,
    ModelStanding,
    card_checks,
    check_model,
    kept_model,
    kept_models,
    model_provenance,
    read_joining,
)
from fieldfare.client.home.studies import kept_study
from fieldfare.client.institution.institution import Institution, open_institution
from fieldfare.client.records.drift import Drift, DriftWord, drift
from fieldfare.client.records.health import (
    ColumnProfile,
    RecordsProfile,
    StudyHealth,
    read_health,
)
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.finished_model.card_page import card_sections
from fieldfare.shared.joining.page import join_part

_TRUSTED: Final = frozenset({ModelProvenance.RECOMPUTED, ModelProvenance.FINISHED})
_ODD = frozenset({DriftWord.MOVED, DriftWord.MOVED_MUCH, DriftWord.OTHER})


def view_models(home: Path) -> ModelList:
    """Tell of every model that arrived.

    Raises:
        FieldfareError: as `open_institution` and `model_provenance`.
    """
    institution = open_institution(home)
    signers = institution.signers_ever
    found = [_view(model_provenance(one, signers)) for one in kept_models(institution.home)]
    return ModelList(models=sorted(found, key=lambda one: (one.finished, one.run), reverse=True))


def view_model(home: Path, asked: ModelQuestion) -> MaybeModel:
    """Draw a model's card anew, or tell why there is none.

    Raises:
        FieldfareError: as `open_institution` and `model_provenance`.
    """
    institution = open_institution(home)
    standing = _standing(institution, asked)
    if standing is None:
        return MaybeModel(found=None)
    if standing.card is None:
        return _part(home, standing, "", standing.words)
    try:
        return _part(home, standing, _draw(institution, standing))
    except FieldfareError as error:
        return _part(home, standing, "", str(error))


def view_joining(home: Path, asked: ModelQuestion) -> MaybeModel:
    """Draw the last answer to "Should we join?" with a model.

    Raises:
        FieldfareError: as `open_institution` and `read_joining`.
    """
    standing = _standing(open_institution(home), asked)
    if standing is None:
        return MaybeModel(found=None)
    found = read_joining(standing.kept)
    return _part(home, standing, join_part(found.figures) if found else "")


def _standing(institution: Institution, asked: ModelQuestion) -> ModelStanding | None:
    try:
        kept = kept_model(institution.home, asked.study, asked.run)
    except UsageError:  # ids that are none
        return None
    return model_provenance(kept, institution.signers_ever) if kept else None


def _part(home: Path, standing: ModelStanding, drawn: str, problem: str = "") -> MaybeModel:
    told, where = _view(standing), str(home.absolute())
    return MaybeModel(found=ModelPart(model=told, drawn=str(drawn), problem=problem, home=where))


def _view(found: ModelStanding) -> ModelView:
    card, joining = found.card, read_joining(found.kept)
    return ModelView(
        study=found.kept.study,
        run=found.kept.run,
        name=card.name if card else "",
        finished=card.finished if card else "",
        words=found.words,
        trusted=found.provenance in _TRUSTED,
        compared=joining.time[:10] if joining else "",
    )


def _draw(institution: Institution, found: ModelStanding) -> Markup:
    """Draw a card from the model itself, checked against its study."""
    kept = found.kept
    study = kept_study(institution.home, kept.study, institution.roster).study
    file = kept.read()
    delivery = file.open(institution.signers_ever)
    checked = check_model(study, delivery, file.model, file.card)
    finished = found.provenance is ModelProvenance.FINISHED
    checks = card_checks(institution.settings.id, found.recomputed, finished=finished)
    return card_sections(checked.card, study, checked.parameters, checks)


# -- records --------------------------------------------------------------------------------------


def view_records(home: Path) -> RecordsView:
    """Tell how the records stand under each study.

    Raises:
        UsageError: the counts that are kept cannot be read.
    """
    kept = read_health(Home.open(home).health).studies
    return RecordsView(studies=[_study(one) for one in reversed(kept)])


def _study(one: StudyHealth) -> StudyRecordsView:
    first = one.first if one.first.time[:10] != one.now.time[:10] else None
    return StudyRecordsView(
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
) -> ColumnView:
    since = drift(before, now, columns) if before else None
    ever = drift(first, now, columns) if first else None
    return ColumnView(
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
