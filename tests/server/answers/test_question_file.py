from pathlib import Path

import pytest

from fieldfare.server.answers.expected_error import load_questions
from fieldfare.shared.errors import StudyError


def written(folder: Path, text: str) -> Path:
    path = folder / "questions.toml"
    path.write_text(text)
    return path


def test_questions_are_read_as_in_a_study(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[[queries]]\nname = "a"\nkind = "count"\n'
        '[[queries]]\nname = "b"\nkind = "group_by"\nby = ["channel", "flagged"]\n',
    )
    group = load_questions(path)
    assert [(one.name, one.kind) for one in group.questions] == [("a", "count"), ("b", "group_by")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "queries: expected a value, found none"),
        ("queries = []", "queries: expected at least one question"),
        ('[[queries]]\nname = "a"\n', "queries.0.kind: expected a value, found none"),
        ('[[queries]]\nname = "a"\nkind = "guess"\n', "queries.0.kind: "),
        (
            '[[queries]]\nname = "a"\nkind = "count"\nepsilon = 1\n',
            "queries.0.epsilon: expected no such key",
        ),
        (
            '[[queries]]\nname = "a"\nkind = "count"\n[[queries]]\nname = "a"\nkind = "count"\n',
            "expected a name of its own for each question, found 'a' twice",
        ),
        ("not toml", "expected TOML"),
    ],
)
def test_each_mistake_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StudyError) as refused:
        load_questions(written(tmp_path, text))
    assert len(refused.value.problems) == 1
    assert said in refused.value.problems[0]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="expected a readable file"):
        load_questions(tmp_path / "none.toml")
