import numpy as np
import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of, parameters
from tests.support.runs.finished import RUN

from fieldfare.client.model_use.usable import usable_model
from fieldfare.shared.errors import ProtocolError, UsageError


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=150)


def test_a_model_is_found_by_its_run_or_study_and_is_the_delivered_one(analyst: Analyst) -> None:
    institution = analyst.coordinator.institution()
    for text in (RUN, analyst.study.id[:6]):
        found = usable_model(institution, text)
        assert found.study == analyst.study
        assert np.array_equal(found.parameters, parameters(analyst.study))
        assert "recomputed here step by step" in found.verified
        assert not found.tuned


def test_an_unknown_or_changed_model_is_not_used(analyst: Analyst) -> None:
    institution = analyst.coordinator.institution()
    with pytest.raises(UsageError, match="models"):
        usable_model(institution, "run-none")
    path = analyst.home.model(analyst.study.id, RUN) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ProtocolError, match="do not use it"):
        usable_model(institution, RUN)


def test_the_coordinators_word_alone_is_used_when_a_person_says_so(analyst: Analyst) -> None:
    """Attack H3: `score` ranked 19,576 customers with a model of a run that never ran."""
    institution = analyst.coordinator.institution()
    (analyst.home.model(analyst.study.id, RUN) / "recomputed.json").unlink()
    with pytest.raises(UsageError, match="say --unverified"):
        usable_model(institution, RUN)
    assert "UNVERIFIED" in usable_model(institution, RUN, unverified=True).verified


def test_figures_that_nobody_read_off_their_sum_are_withheld(analyst: Analyst) -> None:
    """Attack H6: released cuts and chances need more than the coordinator's word."""
    institution = analyst.coordinator.institution()
    note = analyst.home.model(analyst.study.id, RUN) / "recomputed.json"
    measured = usable_model(institution, RUN)
    measured.check_figures()
    assert measured.released is not None
    note.write_text(note.read_text().replace('"metrics":true', '"metrics":false'))
    found = usable_model(institution, RUN)
    assert (found.released, found.withheld) == (None, True)
    assert found.verified.endswith("; its figures are the coordinator's word")
    with pytest.raises(UsageError, match="or say --unverified"):
        found.check_figures()
    said_so = usable_model(institution, RUN, unverified=True)
    said_so.check_figures()
    assert said_so.released == measured.released
    note.write_text(note.read_text().replace('"leaves":0', '"cosigned":2,"leaves":0'))
    assert usable_model(institution, RUN).released == measured.released
