"""`institution vectors` as it is typed."""

import re
from typing import Any

import numpy as np
import pytest
from tests.finished import FINISHED, RUN, facts_of
from tests.homes import NAMES, Hub, OpenCustody, approve_all, custody_of, hub
from tests.scored import Desk, scored_study, write

from fieldfare.server.delivery import compose
from fieldfare.shared.plan import plan_for

__all__ = ["custody_of", "hub"]

VECTORS = np.random.default_rng(2).normal(size=(130, 64))


@pytest.fixture
def desk(hub: Hub, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]) -> Desk:
    study = scored_study(
        features=[],
        model={"kind": "vector", "column": "embedding", "entries": 64},
        aggregation={"minimum_institutions": 3},
    )
    home = hub.homes[NAMES[0]]
    rows: dict[str, list[Any]] = {
        "customer": [f"c{row}" for row in range(130)],
        "embedding": VECTORS.tolist(),
        "reported": [row % 2 for row in range(130)],
    }
    write(home.path / "vectors.parquet", rows)
    hub.edit(home.settings, 'path = "records.csv"\n', 'path = "vectors.parquet"\n')
    hub.edit(home.policy, '"customer", ', '"customer", "embedding", ')
    custody = custody_of(NAMES[0])
    approve_all(hub, [custody], study)
    parameters = np.concatenate([[-1.0], VECTORS[17]])
    made = compose(plan_for(study), parameters, facts_of(study), hub.signer, FINISHED)
    custody.inbox.delivered(made.delivery, made.envelope, made.model, made.card)
    return Desk(hub, study, capsys)


def test_units_are_listed_highest_first_without_their_vectors(desk: Desk) -> None:
    status, said, _ = desk("vectors", "--model", RUN, "--top", "3")
    assert status == 0
    ranked = re.findall(r"^ +(\d+) +\S+  (\w+)$", said, re.MULTILINE)
    assert [rank for rank, _ in ranked] == ["1", "2", "3"]
    assert ranked[0][1] == "c17"
    assert "130 ranked" in said
    assert "no reasons" in said


def test_other_commands_send_here(desk: Desk) -> None:
    for command in (["score", "--out", desk.folder / "x.parquet"], ["texts"]):
        status, _, errors = desk(*command, "--model", RUN)
        assert (status, "use fieldfare institution vectors" in errors) == (2, True)
