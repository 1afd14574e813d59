"""`institution texts` as it is typed: a ranking, and the reasons of one, for eyes inside."""

import re
from typing import Any

import numpy as np
import pytest
from tests.finished import FINISHED, RUN, facts_of
from tests.homes import NAMES, Hub, OpenCustody, approve_all, custody_of, hub
from tests.scored import Desk, scored_study, write

from fieldfare.server.delivery import compose
from fieldfare.shared.plan import plan_for
from fieldfare.shared.text_grams import TextEncoder

__all__ = ["custody_of", "hub"]

TEXTS = {
    "c1": "see you at home",
    "c2": "FREE cash; call 0900 123",
    "c3": "Бесплатно\u202e! \x1b[2J😀",
    "c4": "free lunch",
}


@pytest.fixture
def desk(hub: Hub, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]) -> Desk:
    study = scored_study(
        features=[],
        model={"kind": "text", "column": "note", "buckets": 512},
        aggregation={"minimum_institutions": 3},
    )
    home = hub.homes[NAMES[0]]
    rows: dict[str, list[Any]] = {
        "customer": [*TEXTS, *(f"d{row:03}" for row in range(120))],
        "note": [*TEXTS.values(), *["good morning"] * 120],
        "reported": [0, 1, 0, 0, *[0] * 120],
    }
    write(home.path / "notes.parquet", rows)
    hub.edit(home.settings, 'path = "records.csv"\n', 'path = "notes.parquet"\n')
    hub.edit(home.policy, '"customer", ', '"customer", "note", ')
    custody = custody_of(NAMES[0])
    approve_all(hub, [custody], study)
    parameters = np.zeros(513)
    parameters[0] = -1.5
    parameters[1 + TextEncoder(512).rows(["free cash"]).places.astype(int)] = 3.0
    made = compose(plan_for(study), parameters, facts_of(study), hub.signer, FINISHED)
    custody.inbox.delivered(made.delivery, made.envelope, made.model, made.card)
    return Desk(hub, study, capsys)


def test_units_are_listed_highest_first_and_no_text_is_shown(desk: Desk) -> None:
    status, said, _ = desk("texts", "--model", RUN, "--top", "2")
    assert status == 0
    assert re.findall(r"^ +(\d+) +\S+  (\w+)$", said, re.MULTILINE) == [("1", "c2"), ("2", "c4")]
    assert "124 ranked" in said
    assert "cash" not in said


def test_one_units_own_words_are_its_reasons_and_add_up(desk: Desk) -> None:
    status, said, _ = desk("texts", "--model", RUN, "--unit", "c2")
    assert status == 0
    assert "c2: rank 1 of 124" in said
    assert "word        'free'" in said
    assert "0900" not in said  # digits are read as 0
    assert "0000" not in said.partition("speaks against")[2]
    parts = [float(part) for part in re.findall(r"^ +([+-]\d+\.\d+)  ", said, re.MULTILINE)]
    others = float(re.search(r"all others \(([+-]\d+\.\d+)\)", said)[1])  # type: ignore[index]
    score = float(re.search(r"score ([+-]\d+\.\d+)", said)[1])  # type: ignore[index]
    assert -1.5 + sum(parts) + others == pytest.approx(score, abs=0.02)


def test_other_scripts_are_shown_without_what_moves_a_cursor(desk: Desk) -> None:
    status, said, _ = desk("texts", "--model", RUN, "--unit", "c3")
    assert status == 0
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_the_suppressed_and_strangers_are_shown_to_nobody(desk: Desk) -> None:
    path = desk.home.suppression
    path.write_text("unit,reason\nc2,in recovery\n")
    path.chmod(0o600)
    status, said, _ = desk("texts", "--model", RUN, "--top", "1")
    assert (status, " c4" in said) == (0, True)
    for unit in ("c2", "nobody"):
        status, said, errors = desk("texts", "--model", RUN, "--unit", unit)
        assert (status, said) == (2, "")
        assert "suppression list" in errors


def test_score_sends_to_texts(desk: Desk) -> None:
    status, _, errors = desk("score", "--model", RUN, "--out", desk.folder / "x.parquet")
    assert (status, "use fieldfare institution texts" in errors) == (2, True)
