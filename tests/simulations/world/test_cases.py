"""NGOs and the hotline: canonical, content-free, and growing in one region."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from tests.simulations.world.conftest import Written

from fieldfare.client.records.canonical_cases import CaseSummary, HotlineSignal
from fieldfare.simulations.world.cases import LINKED, draw_cases, draw_signals, growing_region
from fieldfare.simulations.world.institutions import load_institutions
from fieldfare.simulations.world.tables import REGION_NAMES

HELP = load_institutions()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ngo-g/cases", CaseSummary),
        ("ngo-h/cases", CaseSummary),
        ("hotline-i/signals", HotlineSignal),
    ],
)
def test_rows_are_canonical(written: Written, name: str, model: type[BaseModel]) -> None:
    rows = written.read(name).to_pylist()
    assert rows
    for row in rows:
        model.model_validate({key: value for key, value in row.items() if value is not None})


def test_some_consented_and_some_did_not(written: Written) -> None:
    consent = written.read("ngo-g/cases")["consent_research"].to_pylist()
    assert 0.3 < np.mean(consent) < 0.9


def test_an_ngo_s_and_a_hotline_s_numbers_for_a_case_do_not_join(written: Written) -> None:
    cases = {*written.read("ngo-g/cases")["case_id"].to_pylist()}
    assert not cases & set(written.read("hotline-i/signals")["case_id"].to_pylist())


def test_cases_and_calls_grow_in_one_region_and_no_other(written: Written) -> None:
    rng = np.random.default_rng(0)
    growing = growing_region(rng)
    facts: dict[str, Any] = {"people": 200_000, "days": 180, "growing": growing}
    nobody = np.zeros(0, np.int64)
    cases = draw_cases(rng, HELP.of("ngo"), written.society.rings, nobody, **facts)
    signals = draw_signals(rng, HELP.of("hotline"), cases, **facts)
    for region, day in ((cases.region, cases.day), (signals.region, signals.minute // 1440)):
        late = Counter(region[day >= 90].tolist())
        early = Counter(region[day < 90].tolist())
        growth = {r: late[r] / early[r] for r in range(len(REGION_NAMES))}
        assert growth[growing] > 1.5
        assert all(0.7 < g < 1.4 for r, g in growth.items() if r != growing)


def test_about_one_possible_victim_in_seven_becomes_a_case(written: Written) -> None:
    rings = written.society.rings
    victims = np.repeat(np.arange(rings.customer.size), 50)
    cases = draw_cases(
        np.random.default_rng(1),
        HELP.of("ngo"),
        rings,
        victims,
        people=1_000,
        days=3_000,
        growing=0,
    )
    assert (cases.ring >= 0).sum() / victims.size == pytest.approx(LINKED, rel=0.1)


def test_where_nobody_helps_there_are_no_cases(written: Written) -> None:
    facts: dict[str, Any] = {"people": 5_000, "days": 90, "growing": 0}
    rng = np.random.default_rng(1)
    cases = draw_cases(rng, (), written.society.rings, np.arange(5), **facts)
    assert cases.day.size == draw_signals(rng, (), cases, **facts).minute.size == 0
