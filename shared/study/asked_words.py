"""The questions of a study in plain words, for those who propose and approve them."""

from collections.abc import Iterator

from fieldfare.shared.study.questions import Condition, Question, columns_of
from fieldfare.shared.study.study import Study


def asked_lines(study: Study) -> tuple[str, ...]:
    """Return one line for each question, and one for later questions."""
    return tuple(_lines(study))


def _lines(study: Study) -> Iterator[str]:
    for question in study.queries:
        yield f"{question.name}: {_line(question)}"
    if study.allowance is not None:
        allowed = study.allowance
        yield (
            f"later, without asking you again: up to {allowed.groups} groups of "
            f"{', '.join(allowed.kinds)}, about {', '.join(allowed.columns)} alone"
        )


def _line(question: Question) -> str:
    about = question.model_copy(update={"where": ()})
    columns = ", ".join(columns_of(about)) or "all"
    where = " and ".join(map(_condition, question.where))
    return f"{question.kind} of {columns}" + (f" where {where}" if where else "")


def _condition(condition: Condition) -> str:
    if condition.levels:
        return f"{condition.column} is {' or '.join(condition.levels)}"
    low = "" if condition.lower is None else f"{condition.lower:g} <= "
    high = "" if condition.upper is None else f" < {condition.upper:g}"
    return f"{low}{condition.column}{high}"
