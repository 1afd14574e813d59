"""`institution score` as it is typed."""

import re

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst
from tests.support.records.scored_rows import vector_analyst
from tests.support.runs.finished import RUN


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return vector_analyst(coordinator, custody_of, capsys)


def test_units_are_listed_highest_first_without_their_vectors(analyst: Analyst) -> None:
    status, said, _ = analyst("score", "--model", RUN, "--top", "3")
    assert status == 0
    ranked = re.findall(r"^ +(\d+) +\S+  (\w+)$", said, re.MULTILINE)
    assert [rank for rank, _ in ranked] == ["1", "2", "3"]
    assert ranked[0][1] == "c17"
    assert "130 ranked" in said
    assert "no reasons" in said


def test_a_vector_has_no_words_to_be_ranked_by(analyst: Analyst) -> None:
    status, _, errors = analyst("score", "--model", RUN, "--unit", "c17")
    assert (status, "--unit: expected a model of texts" in errors) == (2, True)
