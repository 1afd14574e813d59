"""Training units in other coordinates: one unit moves each sum by at most C, whatever these are."""

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.runs.grouped import grouped_study
from tests.support.runs.written_runs import base

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import ROW_STEPS, DenseRows
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.coordinates import geometry_of
from fieldfare.shared.study.study import Study


def turned(kind: str) -> Study:
    return grouped_study(geometry={"kind": kind}, evaluation={"groups": []})


STUDIES: Final = {kind: turned(kind) for kind in ("whitened", "centred")}
PLANS: Final = {kind: plan_for(study) for kind, study in STUDIES.items()}


def drawn(units: int, seed: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    positions = random.integers(0, [[3 * 256 + 2], [4]], (2, units)).astype(np.uint16)
    return EncodedUnits(positions, random.integers(0, 2, units).astype(np.uint8))


def sums_of(study: Study, units: EncodedUnits) -> StudySums:
    return StudySums.prepare(study, units, np.zeros(len(units), np.bool_))


def some_geometry(kind: str, units: int = 300, seed: int = 7) -> Geometry:
    plan, terms = PLANS[kind], PLANS[kind].moments
    study = STUDIES[kind]
    found = sums_of(study, drawn(units, seed)).vector(ReleaseKind.MOMENTS, start(study))
    return geometry_of(plan, np.ldexp(found.astype(np.float64), -terms.vectors.gamma_bits), 4)


def start(study: Study) -> NDArray[np.float64]:
    return model_for(study).initial(-1.0)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(STUDIES)), st.integers(1, 40), st.integers(0, 1000), st.data())
def test_a_unit_less_moves_each_sum_by_at_most_its_norm(
    kind: str, units: int, seed: int, data: st.DataObject
) -> None:
    study, plan, everybody = STUDIES[kind], PLANS[kind], drawn(units, seed)
    kept = np.arange(units) != data.draw(st.integers(0, units - 1))
    whole, less = sums_of(study, everybody), sums_of(study, everybody.select(kept))
    parameters = np.random.default_rng(seed).normal(0, 3, len(start(study)))
    for terms, geometry in ((plan.moments, None), (plan.training, some_geometry(kind))):
        given_to = (terms.kind, parameters, geometry)
        moved = whole.vector(*given_to) - less.vector(*given_to)
        most = terms.vectors.clipping_norm * (1 << terms.vectors.gamma_bits)
        assert sum(int(one) ** 2 for one in moved) <= most**2
        assert geometry is not None or moved[0] == 1 << terms.vectors.gamma_bits  # one unit less
        assert len(moved) == terms.vectors.entries


@pytest.mark.parametrize("kind", STUDIES)
def test_a_row_less_moves_each_sum_by_at_most_its_norm(kind: str) -> None:
    """Units of one column's vectors; a full row on one entry is as long as any."""
    model = {"kind": "vector", "column": "v", "entries": 64}
    study = base(features=[], model=model, geometry={"kind": kind})
    plan, random = plan_for(study), np.random.default_rng(3)
    drawn_rows = random.normal(size=(20, 64))
    drawn_rows /= np.linalg.norm(drawn_rows, axis=1)[:, None]
    steps = np.trunc(drawn_rows * ROW_STEPS).astype(np.int16)
    steps[0], steps[1] = ROW_STEPS * (np.arange(64) == 7), 0
    labels = random.integers(0, 2, 20).astype(np.uint8)
    everybody = EncodedUnits(np.empty((0, 20), np.uint16), labels, DenseRows(steps))
    whole, parameters = sums_of(study, everybody), random.normal(size=65)
    moments = whole.vector(ReleaseKind.MOMENTS, parameters)
    scaled = np.ldexp(moments.astype(np.float64), -plan.moments.vectors.gamma_bits)
    for terms, geometry in ((plan.moments, None), (plan.training, geometry_of(plan, scaled, 4))):
        most = terms.vectors.clipping_norm * (1 << terms.vectors.gamma_bits)
        for gone in range(20):
            less = sums_of(study, everybody.select(np.arange(20) != gone))
            given_to = (terms.kind, parameters, geometry)
            moved = whole.vector(*given_to) - less.vector(*given_to)
            assert sum(int(one) ** 2 for one in moved) <= most**2


@pytest.mark.parametrize("kind", STUDIES)
def test_institutions_without_units_sum_zeros(kind: str) -> None:
    sums, parameters = sums_of(STUDIES[kind], drawn(0, 0)), start(STUDIES[kind])
    assert not sums.vector(ReleaseKind.MOMENTS, parameters).any()
    assert not sums.vector(ReleaseKind.TRAINING, parameters, some_geometry(kind)).any()


def test_norms_are_taken_anew_in_other_coordinates() -> None:
    """One institution's units serve several runs, each in coordinates of its own."""
    sums, parameters = sums_of(STUDIES["whitened"], drawn(50, 1)), start(STUDIES["whitened"])
    one, other = some_geometry("whitened"), some_geometry("whitened", seed=8)
    assert one.hash != other.hash
    for geometry in (one, other, one):
        fresh = sums_of(STUDIES["whitened"], drawn(50, 1))
        wanted = fresh.vector(ReleaseKind.TRAINING, parameters, geometry)
        assert sums.vector(ReleaseKind.TRAINING, parameters, geometry).tolist() == wanted.tolist()


@pytest.mark.parametrize("kind", STUDIES)
def test_moments_and_steps_read_training_units_alone(kind: str) -> None:
    """They are debited on one side: a held-out unit in them would be paid for by nobody."""
    units, held = drawn(90, 5), np.arange(90) % 3 == 0
    whole = StudySums.prepare(STUDIES[kind], units, held)
    alone, parameters = sums_of(STUDIES[kind], units.select(~held)), start(STUDIES[kind])
    for asked in ((ReleaseKind.MOMENTS, None), (ReleaseKind.TRAINING, some_geometry(kind))):
        found, expected = (one.vector(asked[0], parameters, asked[1]) for one in (whole, alone))
        assert found.tolist() == expected.tolist()


def test_labels_are_no_part_of_moments() -> None:
    units = drawn(80, 3)
    other = EncodedUnits(units.positions, 1 - units.labels)
    found = [
        sums_of(STUDIES["whitened"], one).vector(ReleaseKind.MOMENTS, start(STUDIES["whitened"]))
        for one in (units, other)
    ]
    assert found[0].tolist() == found[1].tolist()


@pytest.mark.parametrize("geometry", [None, Geometry(8, np.zeros(3, np.int64))])
def test_a_step_in_no_coordinates_of_the_study_is_refused(geometry: Any) -> None:
    sums, parameters = sums_of(STUDIES["whitened"], drawn(5, 1)), start(STUDIES["whitened"])
    with pytest.raises(PolicyRefusal) as refused:
        sums.vector(ReleaseKind.TRAINING, parameters, geometry)
    assert refused.value.code is RefusalCode.BAD_PARAMETERS
