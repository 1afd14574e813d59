"""`institution vectors` as it is typed."""

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
    status, said, _ = analyst("vectors", "--model", RUN, "--top", "3")
    assert status == 0
    ranked = re.findall(r"^ +(\d+) +\S+  (\w+)$", said, re.MULTILINE)
    assert [rank for rank, _ in ranked] == ["1", "2", "3"]
    assert ranked[0][1] == "c17"
    assert "130 ranked" in said
    assert "no reasons" in said


def test_texts_sends_here(analyst: Analyst) -> None:
    status, _, errors = analyst("texts", "--model", RUN)
    assert (status, "use fieldfare institution vectors" in errors) == (2, True)
