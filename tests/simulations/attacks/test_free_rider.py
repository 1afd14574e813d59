"""A free-rider: it gains what others gain; counts show an empty one, and nothing shows who."""

from functools import cache

import pytest

from fieldfare.simulations.attacks.free_rider import (
    FreeRideOutcome,
    RiderAnswer,
    free_riders,
    ridden,
)


@cache
def run(answer: RiderAnswer) -> FreeRideOutcome:
    return ridden(answer)


@pytest.mark.parametrize("answer", [RiderAnswer.EMPTY, RiderAnswer.SILENT])
def test_who_gives_nothing_is_seen_by_counts_and_gains_all_the_same(answer: RiderAnswer) -> None:
    found, honest = run(answer), run(RiderAnswer.HONEST)
    assert found.accused
    assert found.apart > 5
    assert found.own > honest.own - 0.05
    assert found.alone == honest.alone
    assert found.others < honest.others


@pytest.mark.parametrize("answer", [RiderAnswer.HONEST, RiderAnswer.COPIED, RiderAnswer.INVENTED])
def test_who_gives_as_many_units_is_not_accused(answer: RiderAnswer) -> None:
    assert not run(answer).accused


def test_what_each_does_to_the_promise() -> None:
    assert run(RiderAnswer.HONEST).noise == run(RiderAnswer.EMPTY).noise == 1.0
    assert run(RiderAnswer.SILENT).noise == pytest.approx((8 / 9) ** 0.5)
    assert {one: run(one).copies for one in RiderAnswer if run(one).copies > 1} == {
        RiderAnswer.COPIED: 2
    }


def test_findings_say_what_runs_say() -> None:
    found = {one.attack.removeprefix("free-rider, "): one for one in free_riders(1)}
    assert [*found] == [one.value for one in RiderAnswer]
    empty = found["empty"]
    assert empty.figure("accused by counts").value == 1
    gained = run(RiderAnswer.EMPTY).own - run(RiderAnswer.EMPTY).alone
    assert empty.figure("gain over alone").value == pytest.approx(gained)
    assert found["honest"].figure("epsilon of a unit, promised 1").value == pytest.approx(
        1, abs=1e-3
    )
    assert found["copied"].figure("epsilon of a unit, promised 1").value > 2
    assert found["honest"].figure("AP for the rider").interval is None
