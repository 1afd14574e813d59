from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.toml import (
    MAX_TOML_BYTES,
    MOST_PARTS,
    Section,
    load_toml,
    parse_toml,
    problem_lines,
    toml_data,
)


class Pair(Section):
    left: int
    right: float = 0.5


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "pair.toml").write_text("left = 1 # one")
    assert load_toml(tmp_path / "pair.toml", Pair) == Pair(left=1, right=0.5)


def test_every_mistake_is_said_at_once_with_the_files_name() -> None:
    with pytest.raises(StudyError) as refused:
        parse_toml('left = "1"\nright = true\nmiddle = 2', Pair, "pair.toml")
    assert sorted(line.split(": ")[:2] for line in refused.value.problems) == [
        ["pair.toml", "left"],
        ["pair.toml", "middle"],
        ["pair.toml", "right"],
    ]


@pytest.mark.parametrize(
    "text",
    ["left", "left = 1\nleft = 2", f"left = {'9' * 5000}", "left = " + "[" * 5000, "right = nan"],
)
def test_what_is_no_toml_or_no_number_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match=r"^pair\.toml: "):
        parse_toml(text, Pair, "pair.toml")


@pytest.mark.parametrize("part", ["a", '"a.b"', "'='", r'"\"."', "1"])
def test_a_key_of_many_parts_is_refused_before_it_costs_time(part: str) -> None:
    long = " . ".join([part] * (MOST_PARTS + 1))
    for text in (f"{long} = 1", f"[{long}]", f"a = {{ {long} = 1 }}", f"[[ {long} ]]"):
        with pytest.raises(StudyError, match=f"keys of at most {MOST_PARTS} parts"):
            toml_data(text)
    assert toml_data(f"{'.'.join(['a'] * MOST_PARTS)} = 1")


def test_only_keys_are_long() -> None:
    """Numbers in a list, a text of dots, and quotes that never end are none."""
    assert toml_data(f"a = [{', '.join(['0.5'] * 99)}]\nb = '{'.' * 99}'")
    with pytest.raises(StudyError, match="expected TOML"):
        toml_data('"' + '\\"' * 20_000)


def test_a_value_too_deep_to_be_shown_is_a_mistake_like_others() -> None:
    """Each line adds a part to the one before: no key is long."""
    deep: dict[str, Any] = {"left": 1}
    for _ in range(2_000):
        deep = {"a": deep}
    with pytest.raises(ValidationError) as found:
        Pair.model_validate({"left": deep})
    assert problem_lines(found.value)[0].endswith("found tables too deep")


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"left = 1 # \xe9")
    (tmp_path / "long").write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    for name, said in (("none", "No such file"), ("latin", "UTF-8"), ("long", "at most")):
        with pytest.raises(StudyError, match=said):
            load_toml(tmp_path / name, Pair)
