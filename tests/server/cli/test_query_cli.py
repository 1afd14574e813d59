import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.runs.asking import asking

from fieldfare.server.answers.priced import priced
from fieldfare.server.cli.queries import plan_json
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import AllowanceSection, Study

STUDY = Path(__file__).parents[3] / "studies" / "amlsim-queries.toml"
MODEL_ONLY = Path(__file__).parents[3] / "studies" / "amlsim.toml"
LATER = QuestionGroup.model_validate(
    {
        "questions": [
            {"name": "n", "kind": "count"},
            {"name": "m", "kind": "mean", "column": "hours"},
        ]
    }
)


def allowing(**changes: Any) -> Study:
    section = {"kinds": ("count", "mean"), "columns": ("hours",), "groups": 4} | changes
    return asking().model_copy(update={"allowance": AllowanceSection.model_validate(section)})


def said(
    capsys: pytest.CaptureFixture[str], *arguments: str, study: Path = STUDY
) -> tuple[int, str, str]:
    status = run(["query", "plan", str(study), *arguments])
    return (status, *capsys.readouterr())


def test_each_question_is_shown_with_cost_and_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys)
    assert (status, err) == (0, "")
    for question in load_study(STUDY).queries:
        assert question.name.split()[0] in out
    assert "epsilon 0.5 at delta 1e-05" in out
    assert "Nothing was spent" in out
    assert "epsilon 0.125" in out


def test_programs_get_the_same_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(capsys, "--json", "--epsilon", "2", "--epsilon", "0.5")
    found, plan = json.loads(out), plan_for(load_study(STUDY))
    assert status == 0
    assert found["mu2"] == plan.query.mu2
    assert sum(one["mu2"] for one in found["questions"]) == pytest.approx(found["mu2"])
    assert [one["epsilon"] for one in found["by_epsilon"]] == [0.5, 2.0]
    assert found["by_epsilon"][0]["questions"] == found["questions"]
    cheap, dear = (one["questions"][0]["measures"][0] for one in found["by_epsilon"])
    assert dear["expected_error"] < cheap["expected_error"]
    assert cheap["smallest_count"] == pytest.approx(3 * cheap["sigma"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--epsilon", "0"), "--epsilon: expected more than 0"),
        (("--epsilon", "nan"), "--epsilon: expected more than 0"),
        (("--institutions", "2"), "--institutions: expected at least 6, the study's minimum"),
        (("--questions", "none.toml"), "expected a readable file"),
    ],
)
def test_wrong_input_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    status, out, err = said(capsys, *arguments)
    assert (status, out) == (2, "")
    assert expected in err


def test_a_study_without_questions_has_nothing_to_plan(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = said(capsys, study=MODEL_ONLY)
    assert status == 2
    assert "expected a study that declares [[queries]]" in err


def test_later_questions_are_priced_as_one_group_of_the_allowance() -> None:
    own = priced(allowing(), LATER, 3)
    found = plan_json(own, [], 3)
    assert (found["asked"], found["groups"]) == ("allowance", 4)
    assert found["mu2"] == own.plan.allowance.mu2 < own.plan.query.mu2
    assert [one["name"] for one in found["questions"]] == ["n", "m"]


def test_declared_questions_in_a_file_are_priced_as_declared() -> None:
    study = allowing()
    own = priced(study, study.questions, 3)
    assert not own.later
    some = QuestionGroup(questions=study.queries[:2])  # answered together with all the others
    assert priced(study, some, 3) == own


def test_questions_outside_the_allowance_are_refused_with_each_reason() -> None:
    with pytest.raises(StudyError) as refused:
        priced(allowing(kinds=("count",), columns=("amount",)), LATER, 3)
    assert [line.partition(":")[0] for line in refused.value.problems] == ["m", "m"]
