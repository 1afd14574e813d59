"""Every model family keeps to `RiskModel`, its prepared units to `UnitSums`.

Those whose head can be refitted keep to `HeadedModel`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.records.networks import FEATURES, made_up_units
from tests.support.records.whitened_model import WhitenedModel
from tests.support.runs.started import small_start
from tests.support.system.packages import PACKAGE, install

from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature
from fieldfare.shared.features.rows import unit_rows
from fieldfare.shared.geometry.moments import moment_sum
from fieldfare.shared.geometry.unit_vectors import unit_vectors
from fieldfare.shared.geometry.whitened import WhitenedSums
from fieldfare.shared.geometry.whitening import whitened_from
from fieldfare.shared.models.additive import AdditiveModel, AdditiveSums, KnottedSums
from fieldfare.shared.models.custom_module import ModuleModel, ModuleSums
from fieldfare.shared.models.feature_network import MlpModel, MlpSums
from fieldfare.shared.models.interface import HeadedModel, RiskModel, UnitSums
from fieldfare.shared.models.linear import LinearModel, LinearSums
from fieldfare.shared.models.started import StartedModel
from fieldfare.shared.models.vector_network import NetworkModel, NetworkSums
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity
from fieldfare.shared.study.allowed_packages import class_named, permit
from fieldfare.simulations.attacks.defects import UnclippedUnits

UNITS: Final = 60
COLUMNS: Final = 16
LISTED: Final = (
    NumericFeature(kind="numeric", name="amount", lower=0, upper=100, knots=[0, 1, 10, 100]),
    CategoricalFeature(kind="categorical", name="channel", levels=("a", "b", "c")),
)
ASKED: Final = (
    NumericFeature(
        kind="numeric",
        name="asked",
        lower=0,
        upper=100,
        knots_from="spread",
        quantile_knots=3,
        even_knots=2,
    ),
)


def positions(features: tuple[NumericFeature | CategoricalFeature, ...], seed: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    columns = [random.integers(0, table_size(f), UNITS, dtype=np.uint16) for f in features]
    return EncodedUnits(np.stack(columns), random.integers(0, 2, UNITS, dtype=np.uint8))


def vectors(seed: int) -> EncodedUnits:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, UNITS, dtype=np.uint8)
    return EncodedUnits(
        np.empty((0, UNITS), np.uint16), labels, unit_rows(random.normal(size=(UNITS, COLUMNS)))
    )


def module() -> ModuleModel:
    found = ModuleModel(FEATURES, "acme_nets:Small", PACKAGE, 1, 2, 0.3)
    made = class_named(found.module, PACKAGE)
    assert isinstance(made, type)
    return replace(found, parameters=sum(p.numel() for p in made(found.inputs.width).parameters()))


@dataclass(frozen=True)
class Family:
    """One implementation: a model, units for it, and what it prepares of them."""

    model: Callable[[], RiskModel]
    units: Callable[[], EncodedUnits]
    sums: type[UnitSums]


def whitened() -> WhitenedModel:
    """Coordinates of some units' own moments, with a strong ridge."""
    model = AdditiveModel(LISTED, 1.0)
    units = unit_vectors(model)
    moments = np.ldexp(moment_sum(units, positions(LISTED, 1)).astype(np.float64), -16)
    geometry = whitened_from(units, moments, sigma=0.5, units=UNITS, fraction_bits=12)
    return WhitenedModel(model, units, geometry)


FAMILIES: Final = {
    "additive": Family(
        lambda: AdditiveModel(LISTED, 1.0), lambda: positions(LISTED, 1), AdditiveSums
    ),
    "whitened": Family(whitened, lambda: positions(LISTED, 1), WhitenedSums),
    "started": Family(
        lambda: StartedModel(small_start().facts.features, 1.0, small_start(0)),
        lambda: positions(small_start().facts.features, 1),
        AdditiveSums,
    ),
    "knotted": Family(lambda: AdditiveModel(ASKED, 1.0), lambda: positions(ASKED, 2), KnottedSums),
    "linear": Family(lambda: LinearModel(COLUMNS, 0.25), lambda: vectors(3), LinearSums),
    "network": Family(lambda: NetworkModel(COLUMNS, 8, 0.5), lambda: vectors(4), NetworkSums),
    "mlp": Family(
        lambda: MlpModel(FEATURES, (16, 8), 2, 0.25),
        lambda: made_up_units([0, 1, 2] * 20, 2, 5),
        MlpSums,
    ),
    "module": Family(module, lambda: made_up_units([0, 1, 2] * 20, 2, 6), ModuleSums),
}


@dataclass(frozen=True)
class Case:
    model: RiskModel
    data: EncodedUnits
    sums: type[UnitSums]

    def parameters(self, seed: int = 0) -> NDArray[np.float64]:
        """Somewhere beside the start; knots that stand behind the sum's entries stay."""
        made = self.model.initial(-1.0)
        entries = self.model.vectors.entries
        made[:entries] += np.random.default_rng(seed).normal(0, 1, entries)
        return made

    def summed(self, data: EncodedUnits) -> NDArray[np.int64]:
        return self.model.prepare(data).gradient_sum(self.parameters())

    def off(self, units: int) -> float:
        """What float64 arithmetic may leave between two ways to add units, in units of gamma."""
        vectors = self.model.vectors
        return units * 2.0 ** (vectors.gamma_bits - 24) if vectors.rounded_entries else 0.0


@pytest.fixture(params=list(FAMILIES))
def case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    family = FAMILIES[str(request.param)]
    if request.param == "module":
        install(tmp_path, monkeypatch)
        permit([PACKAGE])
    return Case(family.model(), family.units(), family.sums)


def test_the_start_is_the_same_everywhere_and_finite(case: Case) -> None:
    first, again = case.model.initial(-2.0), case.model.initial(-2.0)
    assert first.dtype == np.float64
    assert np.array_equal(first, again)
    assert np.isfinite(first).all()
    assert first[0] == -2.0


def test_sums_are_whole_and_of_the_declared_size(case: Case) -> None:
    sums = case.model.prepare(case.data)
    assert type(sums) is case.sums
    found, plain = sums.gradient_sum(case.parameters()), sums.plain_gradient(case.parameters())
    assert found.dtype == np.int64
    assert plain.dtype == np.float64
    assert found.shape == plain.shape == (case.model.vectors.entries,)
    assert found.any()


def test_prepared_units_serve_many_steps_and_change_nothing(case: Case) -> None:
    sums, before = case.model.prepare(case.data), case.data.positions.copy()
    first = sums.gradient_sum(case.parameters())
    for seed in range(3):
        parameters = case.parameters(seed)
        kept = parameters.copy()
        sums.gradient_sum(parameters)
        assert np.array_equal(parameters, kept)
    assert np.array_equal(sums.gradient_sum(case.parameters()), first)
    assert np.array_equal(case.data.positions, before)


def test_parts_add_up_to_the_whole(case: Case) -> None:
    some = np.random.default_rng(1).random(UNITS) < 0.5
    parts = case.summed(case.data.select(some)) + case.summed(case.data.select(~some))
    assert np.linalg.norm(parts - case.summed(case.data)) <= case.off(UNITS)


def test_no_unit_adds_more_than_is_accounted(case: Case) -> None:
    vectors = case.model.vectors
    reach = Sensitivity(
        clipping_norm=vectors.clipping_norm,
        gamma=2.0**-vectors.gamma_bits,
        rounded_entries=vectors.rounded_entries,
    ).l2(NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT)
    whole = case.summed(case.data)
    for unit in range(0, UNITS, 7):
        moved = whole - case.summed(case.data.select(np.arange(UNITS) != unit))
        assert np.linalg.norm(np.ldexp(moved.astype(float), -vectors.gamma_bits)) <= reach


def test_nobody_adds_nothing(case: Case) -> None:
    nobody = case.data.select(np.zeros(UNITS, dtype=bool))
    assert not case.summed(nobody).any()
    assert case.model.scores(case.parameters(), nobody).shape == (0,)


def test_a_score_depends_on_its_unit_alone(case: Case) -> None:
    scores, some = case.model.scores(case.parameters(), case.data), np.arange(UNITS) % 3 == 0
    assert scores.dtype == np.float64
    assert scores.shape == (UNITS,)
    assert np.isfinite(scores).all()
    assert np.array_equal(
        case.model.scores(case.parameters(), case.data.select(some)), scores[some]
    )


def test_prepared_units_show_no_record(case: Case) -> None:
    shown = repr(case.model.prepare(case.data))
    assert not [word for word in ("array", "labels", "Rows", "positions") if word in shown]


def test_the_head_weighs_the_last_values(case: Case) -> None:
    if not isinstance(case.model, HeadedModel):
        return
    parameters = case.parameters()
    offset, *heads = case.model.head_places
    values = case.model.last_values(parameters, case.data)
    assert values.shape == (UNITS, len(heads))
    expected = parameters[offset] + values @ parameters[heads]
    assert np.allclose(case.model.scores(parameters, case.data), expected, atol=1e-9)


def test_units_of_which_none_is_clipped_keep_to_all_but_the_bound() -> None:
    """`UnclippedUnits` is what the audit of a door puts in the place of an institution's sums."""
    model = AdditiveModel(LISTED, 0.25)
    clipped = model.prepare(positions(LISTED, 1))
    bits, parameters = model.vectors.gamma_bits, model.initial(-1.0)
    found = UnclippedUnits(clipped, bits)
    assert found.gradient_sum(parameters).dtype == np.int64
    assert np.array_equal(found.plain_gradient(parameters), clipped.plain_gradient(parameters))
    loud, held = (np.linalg.norm(one.gradient_sum(parameters)) for one in (found, clipped))
    assert held <= UNITS * 0.25 * 2.0**bits < loud * 2
    assert loud > 1.5 * held
