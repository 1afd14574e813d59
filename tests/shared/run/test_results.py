from dataclasses import FrozenInstanceError

import pytest

from fieldfare.shared.run.results import UNKNOWN, Results


def test_a_run_begins_with_nothing_known() -> None:
    results = Results()
    assert not results.rehearsed
    assert (results.steps, results.answered, results.metrics, results.groups) == (0, 0, None, None)
    assert {results.parameters, results.bound, results.model} == {UNKNOWN}
    with pytest.raises(FrozenInstanceError):
        results.steps = 1  # type: ignore[misc]
