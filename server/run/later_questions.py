"""The later questions of a run: kept before it starts, checked against the study's allowance."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import ProtocolError, RunError, StudyError
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.system.private_files import replace_private

MAX_FILE: Final = 64 * 1024 * 1024


def check_later(plan: Plan, groups: Sequence[QuestionGroup]) -> None:
    """Check that a study's allowance covers groups of questions, in this order in one run.

    Raises:
        StudyError: the reason and the fix, one line each; nothing was spent.
    """
    most = plan.allowance.steps
    if not 1 <= len(groups) <= most:
        raise StudyError(
            f"expected 1 to {most} groups of the study's allowance, found {len(groups)}: ask fewer "
            "at once, or propose a study with an allowance"
        )
    for index, questions in enumerate(groups):
        plan.question_terms(plan.allowance.first_step + index, questions)


def keep_questions(path: Path, groups: Sequence[QuestionGroup]) -> None:
    """Write the questions of a run that is not started yet.

    Raises:
        OSError: `path` cannot be written.
    """
    replace_private(path, json.dumps([group.to_bytes().decode() for group in groups]).encode())


def read_questions(path: Path) -> tuple[QuestionGroup, ...]:
    """Return the questions of a run; none where it is one of the whole study.

    Raises:
        RunError: the file is none that `keep_questions` wrote.
    """
    if not path.is_file():
        return ()
    try:
        texts = json.loads(path.read_bytes()[:MAX_FILE])
        groups = tuple(QuestionGroup.from_bytes(text.encode()) for text in texts)
    except (ProtocolError, ValueError, AttributeError, TypeError, OSError):
        raise RunError(f"{path}: expected the questions of a run, found something else") from None
    if not groups:
        raise RunError(f"{path}: expected the questions of a run, found none")
    return groups
