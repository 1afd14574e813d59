"""`institution score` as it is typed: a ranking, and the reasons of one, for eyes inside."""

import re

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst
from tests.support.records.scored_rows import text_analyst
from tests.support.runs.finished import RUN


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return text_analyst(coordinator, custody_of, capsys)


def test_units_are_listed_highest_first_and_no_text_is_shown(analyst: Analyst) -> None:
    status, said, _ = analyst("score", "--model", RUN, "--top", "2")
    assert status == 0
    assert re.findall(r"^ +(\d+) +\S+  (\w+)$", said, re.MULTILINE) == [("1", "c2"), ("2", "c4")]
    assert "404 ranked" in said
    assert "cash" not in said


def test_one_units_own_words_are_its_reasons_and_add_up(analyst: Analyst) -> None:
    status, said, _ = analyst("score", "--model", RUN, "--unit", "c2")
    assert status == 0
    assert "c2: rank 1 of 404" in said
    assert "word        'free'" in said
    assert "0900123456" not in said  # digits are read as 0
    assert "0000" not in said.partition("speaks against")[2]
    parts = [float(part) for part in re.findall(r"^ +([+-]\d+\.\d+)  ", said, re.MULTILINE)]
    others = float(re.search(r"all others \(([+-]\d+\.\d+)\)", said)[1])  # type: ignore[index]
    score = float(re.search(r"score ([+-]\d+\.\d+)", said)[1])  # type: ignore[index]
    assert -1.5 + sum(parts) + others == pytest.approx(score, abs=0.02)


def test_other_scripts_are_shown_without_what_moves_a_cursor(analyst: Analyst) -> None:
    status, said, _ = analyst("score", "--model", RUN, "--unit", "c3")
    assert status == 0
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_the_suppressed_and_strangers_are_shown_to_nobody(analyst: Analyst) -> None:
    path = analyst.home.suppression
    path.write_text("unit,reason\nc2,in recovery\n")
    path.chmod(0o600)
    status, said, _ = analyst("score", "--model", RUN, "--top", "1")
    assert (status, " c4" in said) == (0, True)
    for unit in ("c2", "nobody"):
        status, said, errors = analyst("score", "--model", RUN, "--unit", unit)
        assert (status, said) == (2, "")
        assert "suppression list" in errors
