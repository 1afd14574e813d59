"""The columns of records that a study's questions and groups read."""

from fieldfare.shared.features.features import CategoricalFeature, GroupColumn
from fieldfare.shared.study.question_columns import Asked, InstitutionColumn, LabelColumn
from fieldfare.shared.study.questions import columns_of
from fieldfare.shared.study.study import Study


def asked_columns(study: Study) -> tuple[Asked, ...]:
    """Return the columns that questions and groups read from records, each in order of names.

    A group's is read as a category. Questions cannot name it: it is no column of the study.
    """
    named = {name for question in study.queries for name in columns_of(question)}
    if study.allowance is not None:
        named |= set(study.allowance.columns)
    found = (study.asked_columns[name] for name in sorted(named))
    asked = (c for c in found if not isinstance(c, InstitutionColumn | LabelColumn))
    return (*asked, *map(_as_category, sorted(study.groups, key=lambda group: group.column)))


def _as_category(group: GroupColumn) -> CategoricalFeature:
    # Not validated: as the one thing that harm rule 4 is for, it may be a protected attribute.
    return CategoricalFeature.model_construct(
        kind="categorical", name=group.column, levels=group.levels
    )
