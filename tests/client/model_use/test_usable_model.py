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
        assert "of a run finished here" in found.verified
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
    (analyst.home.model(analyst.study.id, RUN) / "finished.json").unlink()
    with pytest.raises(UsageError, match="say --unverified"):
        usable_model(institution, RUN)
    assert "UNVERIFIED" in usable_model(institution, RUN, unverified=True).verified
