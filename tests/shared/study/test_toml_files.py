from pathlib import Path

import pytest

from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.toml import MAX_TOML_BYTES, Section, load_toml, parse_toml


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


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"left = 1 # \xe9")
    (tmp_path / "long").write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    for name, said in (("none", "No such file"), ("latin", "UTF-8"), ("long", "at most")):
        with pytest.raises(StudyError, match=said):
            load_toml(tmp_path / name, Pair)
