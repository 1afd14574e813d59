from pathlib import Path

import pytest
from tests.support.runs.asking import EVERY_KIND, asking

from fieldfare.server.run.later_questions import check_later, keep_questions, read_questions
from fieldfare.shared.errors import RunError, StudyError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.questions import QuestionGroup

GROUPS = tuple(QuestionGroup.model_validate({"questions": [q]}) for q in EVERY_KIND)


def test_questions_come_back_as_they_were_kept(tmp_path: Path) -> None:
    file = tmp_path / "run.questions"
    assert read_questions(file) == ()
    keep_questions(file, GROUPS)
    assert read_questions(file) == GROUPS


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]", '["{}"]', "17", '{"a": 1}'])
def test_what_is_no_list_of_questions_is_not_read(tmp_path: Path, content: str) -> None:
    file = tmp_path / "run.questions"
    file.write_text(content)
    with pytest.raises(RunError, match="expected the questions of a run"):
        read_questions(file)


def test_more_groups_than_allowed_are_refused_and_so_is_a_study_without_an_allowance() -> None:
    count = GROUPS[0]
    plan = plan_for(
        asking(EVERY_KIND[0], allowance={"kinds": ["count"], "columns": ["hours"], "groups": 2})
    )
    check_later(plan, [count, count])
    for groups in ([], [count] * 3):
        with pytest.raises(StudyError, match=f"expected 1 to 2 groups .*, found {len(groups)}"):
            check_later(plan, groups)
    with pytest.raises(StudyError, match="with an allowance"):
        check_later(plan_for(asking(EVERY_KIND[0])), [count])
