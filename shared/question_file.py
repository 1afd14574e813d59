"""A file of questions: TOML with `[[queries]]`, the same tables as in a study."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fieldfare.shared.errors import StudyError
from fieldfare.shared.questions import MAX_QUESTIONS, Question, QuestionGroup
from fieldfare.shared.toml_files import Section, load_toml


class _QuestionFile(Section):
    # Whether there are any is asked below: pydantic counts those that have a mistake as none.
    queries: Annotated[tuple[Question, ...], Field(max_length=MAX_QUESTIONS, strict=False)]


def load_questions(path: Path) -> QuestionGroup:
    """Read questions that are to be answered together.

    Raises:
        StudyError: unreadable, or every mistake in it, one line each.
    """
    found = load_toml(path, _QuestionFile).queries
    if not found:
        raise StudyError(f"{path}: queries: expected at least one question, found none")
    names = [question.name for question in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise StudyError(
            f"{path}: expected a name of its own for each question, found {twice[0]!r} twice"
        )
    return QuestionGroup(questions=found)
