import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.shared.errors import ProtocolError, RecordsError
from fieldfare.shared.features.basis import (
    EncodedUnits,
    concatenate,
    encode_categorical,
    encode_numeric,
    table_size,
)
from fieldfare.shared.features.features import CategoricalFeature, Feature, NumericFeature
from fieldfare.shared.features.knots import PLACES
from fieldfare.shared.models import AdditiveModel, additive, model_for
from fieldfare.shared.models.additive import GAMMA_BITS, MAX_EXACT_UNITS, AdditiveSums
from fieldfare.shared.models.clipping import residual_caps
from fieldfare.shared.study.study import Study

Parameters = NDArray[np.float64]
GAMMA = 2.0**-GAMMA_BITS
NORMS = [8.0, 1.0, 0.25, 0.75, 2.0**-10, 8.0 - 2.0**-10]


def numeric(name: str, **changes: Any) -> NumericFeature:
    return NumericFeature.model_validate(
        {"kind": "numeric", "name": name, "lower": 0, "upper": 100, **changes}
    )


FEATURES: tuple[Feature, ...] = (
    numeric("plain", knots=[0, 1, 10, 100]),
    CategoricalFeature(kind="categorical", name="channel", levels=("a", "b", "c")),
    numeric("special", scale="log1p", special=[0, 7]),
    numeric("narrow", lower=-1, upper=1, knots=[-1, 1]),
)


def random_units(features: Sequence[Feature], units: int, seed: int) -> EncodedUnits:
    """Units whose every position, special and missing included, is as likely as any other."""
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, table_size(f), units, dtype=np.uint16) for f in features]
    return EncodedUnits(np.stack(columns), rng.integers(0, 2, units, dtype=np.uint8))


def random_parameters(model: AdditiveModel, seed: int, size: float = 2.0) -> Parameters:
    return np.random.default_rng(seed).normal(0, size, model.vectors.entries)


def model_of(norm: float = 1.0, features: tuple[Feature, ...] = FEATURES) -> AdditiveModel:
    return AdditiveModel(features, clipping_norm=norm)


def gradient(model: AdditiveModel, data: EncodedUnits, parameters: Parameters) -> list[int]:
    total = model.prepare(data).gradient_sum(parameters)
    assert total.dtype == np.int64
    return [int(entry) for entry in total]


def one(data: EncodedUnits, unit: int) -> EncodedUnits:
    return EncodedUnits(
        np.ascontiguousarray(data.positions[:, unit : unit + 1]), data.labels[unit : unit + 1]
    )


def taken(data: EncodedUnits, order: Sequence[int]) -> EncodedUnits:
    chosen = list(order)
    return EncodedUnits(np.ascontiguousarray(data.positions[:, chosen]), data.labels[chosen])


def plus(left: list[int], right: list[int]) -> list[int]:
    return [a + b for a, b in zip(left, right, strict=True)]


def minus(left: list[int], right: list[int]) -> list[int]:
    return [a - b for a, b in zip(left, right, strict=True)]


# --- a slow oracle, one unit at a time, from the definitions ---------------------------


def weights_of(model: AdditiveModel, data: EncodedUnits, unit: int) -> dict[int, int]:
    """A unit's basis vector in units of 2^-8, by entry."""
    weights, start = {0: 256}, 1
    for feature, position in zip(model.features, data.positions[:, unit].tolist(), strict=True):
        knots = len(feature.knots) if isinstance(feature, NumericFeature) else 0
        last = (knots - 1) * 256
        if not knots:
            weights[start + position] = 256
        elif position > last:
            weights[start + knots + position - last - 1] = 256
        else:
            left, part = divmod(position, 256)
            weights[start + left] = 256 - part
            if part:
                weights[start + left + 1] = part
        start += feature.slots
    return weights


def largest_residual(squared_norm: int, norm: float) -> int:
    """The largest whole multiple of 2^-20 with residual * |basis| <= C, in integers."""
    limit = Fraction(norm) ** 2 * 2 ** (2 * GAMMA_BITS)
    return min(1 << 20, math.isqrt(math.floor(limit / squared_norm)))


def oracle(model: AdditiveModel, data: EncodedUnits, parameters: Parameters) -> list[int]:
    tables = model.basis.tables(parameters)
    total = [0] * model.vectors.entries
    for unit in range(len(data)):
        score = float(parameters[0])
        for table, position in zip(tables, data.positions[:, unit].tolist(), strict=True):
            score += float(table[position])
        score = min(max(score, -500.0), 500.0)
        residual = math.trunc((1 / (1 + math.exp(-score)) - int(data.labels[unit])) * 2**20)
        weights = weights_of(model, data, unit)
        cap = largest_residual(sum(w * w for w in weights.values()), model.clipping_norm)
        residual = min(max(residual, -cap), cap)
        for entry, weight in weights.items():
            total[entry] += residual * weight
    return total


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 3000.0])
def test_the_sum_against_one_unit_at_a_time_in_python_integers(norm: float, size: float) -> None:
    model, data = model_of(norm), random_units(FEATURES, 300, 1)
    parameters = random_parameters(model, 2, size)
    assert gradient(model, data, parameters) == oracle(model, data, parameters)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from(NORMS), st.data())
def test_the_sum_for_random_declarations(
    seed: int, units: int, norm: float, data: st.DataObject
) -> None:
    features: list[Feature] = []
    for index in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            levels = tuple("abcdefg"[: data.draw(st.integers(1, 7))])
            name = f"c{index}"
            features.append(CategoricalFeature(kind="categorical", name=name, levels=levels))
            continue
        knots = sorted(data.draw(st.sets(st.integers(0, 100), min_size=2, max_size=12)))
        special = data.draw(st.lists(st.integers(-9, 110), unique=True, max_size=3))
        features.append(numeric(f"n{index}", knots=knots, special=special))
    model = model_of(norm, tuple(features))
    encoded = random_units(features, units, seed)
    parameters = random_parameters(model, seed)
    assert gradient(model, encoded, parameters) == oracle(model, encoded, parameters)


# --- exactness ---------------------------------------------------------------------------


def test_a_unit_adds_the_same_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every lane of a vector unit, the tail of a chunk and a chunk of one must agree.
    monkeypatch.setattr(additive, "CHUNK_UNITS", 17)
    model, data = model_of(), random_units(FEATURES, 60, 3)
    unit, parameters = random_units(FEATURES, 1, 4), random_parameters(model_of(), 5)
    alone, without = gradient(model, unit, parameters), gradient(model, data, parameters)
    assert any(alone)
    for place in range(61):
        joined = concatenate([taken(data, range(place)), unit, taken(data, range(place, 60))])
        assert minus(gradient(model, joined, parameters), without) == alone


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 16, 31, 64, 1 << 15])
def test_every_order_and_chunking_gives_the_same_integers(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = model_of(0.25), random_units(FEATURES, 257, 6)
    parameters = random_parameters(model, 7)
    expected = [0] * model.vectors.entries
    for unit in range(len(data)):
        expected = plus(expected, gradient(model, one(data, unit), parameters))
    monkeypatch.setattr(additive, "CHUNK_UNITS", chunk)
    assert gradient(model, data, parameters) == expected
    shuffled = np.random.default_rng(chunk).permutation(len(data))
    assert gradient(model, taken(data, shuffled.tolist()), parameters) == expected


def squares(vector: list[int]) -> int:
    return sum(entry * entry for entry in vector)


def bound(norm: float) -> int:
    """(C * 2^28)^2 as an integer."""
    exact = (Fraction(norm) * 2**GAMMA_BITS) ** 2
    assert exact.denominator == 1
    return int(exact)


raw = st.one_of(
    st.floats(-10, 110),
    st.floats(allow_infinity=False),
    st.sampled_from([float("nan"), 0.0, 7.0, 1.0, -1.0, 100.0]),
)


Row = tuple[list[float], int, bool]  # three numbers, a level's code, the label


def encoded(rows: list[Row]) -> EncodedUnits:
    """Records through the real encoder."""
    numbers = np.array([row for row, _, _ in rows], dtype=np.float64).reshape(len(rows), 3)
    codes = np.array([code for _, code, _ in rows], dtype=np.int64)
    positions, number = [], 0
    for feature in FEATURES:
        if isinstance(feature, CategoricalFeature):
            positions.append(encode_categorical(feature, codes))
        else:
            positions.append(encode_numeric(feature, numbers[:, number]))
            number += 1
    labels = np.array([label for _, _, label in rows], dtype=np.uint8)
    return EncodedUnits(np.ascontiguousarray(np.stack(positions)), labels)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(
        st.tuples(st.lists(raw, min_size=3, max_size=3), st.integers(-2, 5), st.booleans()),
        min_size=1,
        max_size=25,
    ),
    norm=st.sampled_from(NORMS),
    chunk=st.sampled_from([1, 3, 8, 1 << 15]),
    seed=st.integers(0, 2**32),
    size=st.sampled_from([0.0, 1.0, 1e4]),
    data=st.data(),
)
def test_adding_or_removing_any_unit_moves_the_sum_by_at_most_c(
    rows: list[Row],
    norm: float,
    chunk: int,
    seed: int,
    size: float,
    data: st.DataObject,
) -> None:
    model = model_of(norm)
    signs = np.random.default_rng(seed).uniform(-1, 1, model.vectors.entries)
    parameters = np.asarray(signs * size)
    gone = data.draw(st.integers(0, len(rows) - 1))
    rest = [row for index, row in enumerate(rows) if index != gone]
    order = data.draw(st.permutations(range(len(rest))))
    with pytest.MonkeyPatch.context() as patch:
        with_unit = gradient(model, encoded(rows), parameters)
        patch.setattr(additive, "CHUNK_UNITS", chunk)
        without = gradient(model, encoded([rest[i] for i in order]), parameters)
    assert squares(minus(with_unit, without)) <= bound(norm)


@pytest.mark.parametrize("norm", NORMS)
def test_the_bound_is_reached_and_never_passed(norm: float) -> None:
    # A bound that nobody comes near would hide a clip that is too hard.
    model, data = model_of(norm), random_units(FEATURES, 400, 8)
    largest = np.zeros(model.vectors.entries)
    largest[0] = 1e4  # every residual of a negative is 1
    reached = max(squares(gradient(model, one(data, unit), largest)) for unit in range(400))
    steepest = 1 + len(FEATURES)  # |basis|^2 at most
    assert reached <= bound(norm)
    assert reached >= min(bound(norm), steepest * 2 ** (2 * GAMMA_BITS)) * 0.9


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.integers(2**16, 1001 * 2**16), min_size=1, max_size=50),
    st.one_of(st.sampled_from(NORMS), st.integers(1, 8 * 1024).map(lambda c: c / 1024)),
)
def test_caps_are_the_largest_that_keep_each_unit_within_c(norms: list[int], norm: float) -> None:
    caps = residual_caps(np.array(norms, dtype=np.int64), norm)
    assert caps.tolist() == [largest_residual(squared, norm) for squared in norms]
    for cap, squared in zip(caps.tolist(), norms, strict=True):
        assert cap * cap * squared <= bound(norm)
        assert cap == 1 << 20 or (cap + 1) ** 2 * squared > bound(norm)


def test_caps_at_exact_squares_and_one_beside_them() -> None:
    # A floating-point square root one too high would break the bound here.
    for norm in (8.0, 4.0, 2.0**-10):
        limit = bound(norm)
        for root in {math.isqrt(limit // (k * 2**16)) for k in (1, 2, 3, 500, 1001)}:
            near = {limit // (root * root) + d for d in (-1, 0, 1)}
            norms = sorted(n for n in near if n >= 2**16)
            caps = residual_caps(np.array(norms, dtype=np.int64), norm)
            assert caps.tolist() == [largest_residual(n, norm) for n in norms]


@pytest.mark.parametrize("norm", [8.0, 2.0**-10])
def test_a_thousand_features_stay_within_c(norm: float) -> None:
    features = tuple(numeric(f"f{i}", knots=[0, 100]) for i in range(1000))
    model, data = model_of(norm, features), random_units(features, 6, 9)
    data.positions[:, 0] = 256  # all on a knot: the largest norm that there is
    data.positions[:, 1] = 128  # all between two: the smallest
    signs = np.sign(random_parameters(model, 10))
    for parameters in (np.zeros(model.vectors.entries), 1e4 * signs):
        assert gradient(model, data, parameters) == oracle(model, data, parameters)
        for unit in range(6):
            assert squares(gradient(model, one(data, unit), parameters)) <= bound(norm)


def test_no_records_make_a_sum_fail() -> None:
    model = model_of()
    parameters = random_parameters(model, 11, 1e4)
    none = random_units(FEATURES, 0, 12)
    assert gradient(model, none, parameters) == [0] * model.vectors.entries
    one_class = random_units(FEATURES, 30, 13)
    one_class.labels[:] = 0
    with np.errstate(all="raise"):
        assert gradient(model, one_class, parameters) == oracle(model, one_class, parameters)
        model.prepare(none).plain_gradient(parameters)


def test_saturated_scores_have_residuals_of_exactly_zero_or_one() -> None:
    model, data = model_of(8.0), random_units(FEATURES, 40, 14)
    for odds, label in ((1e4, 1), (-1e4, 0)):
        data.labels[:] = label
        assert not any(gradient(model, data, model.initial(odds)))
    data.labels[:] = 0
    assert gradient(model, data, model.initial(1e4))[0] == 40 << GAMMA_BITS


def test_more_units_than_floats_can_count_are_refused() -> None:
    class Endless(EncodedUnits):
        def __len__(self) -> int:
            return MAX_EXACT_UNITS

    few = random_units(FEATURES, 1, 15)
    with pytest.raises(RecordsError, match="split the population"):
        model_of().prepare(Endless(few.positions, few.labels))
    # The promise behind the limit: residuals of at most 2^20 add up below 2^53.
    assert (MAX_EXACT_UNITS - 1) * 2**20 < 2**53


def test_folding_by_floats_is_folding_by_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = model_of(8.0), random_units(FEATURES, 300, 16)
    data.labels[:] = 0
    by_floats = gradient(model, data, model.initial(1e4))  # all residuals at their limit
    way = [model.prepare_on(model.basis, data)._folds_as_floats]
    monkeypatch.setattr(additive, "EXACT_BITS", 20)
    way.append(model.prepare_on(model.basis, data)._folds_as_floats)
    assert way == [True, False]
    assert np.array_equal(gradient(model, data, model.initial(1e4)), by_floats)


# --- against libraries ---------------------------------------------------------------------


def dense(model: AdditiveModel, data: EncodedUnits) -> torch.Tensor:
    rows = np.zeros((len(data), model.vectors.entries))
    for unit in range(len(data)):
        for entry, weight in weights_of(model, data, unit).items():
            rows[unit, entry] = weight / 256
    return torch.from_numpy(rows)


def labels_of(data: EncodedUnits) -> torch.Tensor:
    return torch.from_numpy(data.labels.astype(np.float64))


def loss_of(scores: torch.Tensor, data: EncodedUnits) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(
        scores, labels_of(data), reduction="sum"
    )


def test_the_plain_gradient_is_that_of_the_logistic_loss() -> None:
    model, data = model_of(), random_units(FEATURES, 500, 16)
    parameters = random_parameters(model, 17)
    weights = torch.from_numpy(parameters.copy()).requires_grad_()
    scores = dense(model, data) @ weights
    assert model.scores(parameters, data) == pytest.approx(scores.detach().numpy(), abs=1e-9)
    loss_of(scores, data).backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    plain = model.prepare(data).plain_gradient(parameters)
    assert plain == pytest.approx(weights.grad.numpy(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("norm", [0.25, 1.0, 8.0])
def test_the_clipped_gradient_is_that_of_opacus(norm: float) -> None:
    from opacus import GradSampleModule

    model, data = model_of(norm), random_units(FEATURES, 200, 18)
    parameters = random_parameters(model, 19)
    linear = torch.nn.Linear(model.vectors.entries, 1, bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(parameters)[None, :])
    module = GradSampleModule(linear, loss_reduction="sum")
    loss_of(module(dense(model, data))[:, 0], data).backward()  # type: ignore[no-untyped-call]
    samples: torch.Tensor = linear.weight.__dict__["grad_sample"]
    per_unit = samples.reshape(len(data), -1).numpy()
    norms = np.linalg.norm(per_unit, axis=1, keepdims=True)
    clipped = (per_unit * np.minimum(1.0, norm / norms)).sum(axis=0)
    ours = model.prepare(data).gradient_sum(parameters) * GAMMA
    assert np.abs(ours - clipped).max() / len(data) < 1e-5
    assert (norms > norm).any() == (norm < 2)  # so that both sides of the clip were seen


# --- the interface ---------------------------------------------------------------------------


def test_the_model_states_the_public_facts_of_its_vectors() -> None:
    vectors = model_of(0.25).vectors
    assert vectors.entries == 1 + sum(feature.slots for feature in FEATURES)
    assert vectors.clipping_norm == 0.25
    assert vectors.gamma_bits == 28
    assert vectors.rounded_entries == 0  # exact on the grid: no rounding term


def test_training_starts_at_the_public_prevalence() -> None:
    start = model_of().initial(-3.5)
    assert start[0] == -3.5
    assert not start[1:].any()
    data = random_units(FEATURES, 5, 20)
    assert model_of().scores(start, data).tolist() == [-3.5] * 5


def test_a_study_names_its_model() -> None:
    study = Study.model_validate(
        {
            "name": "s",
            "purpose": "p",
            "records": {"label": "y", "units": 1000, "prevalence": 0.1},
            "features": [feature.model_dump(mode="json") for feature in FEATURES],
            "privacy": {"epsilon": 1.0, "delta": 1e-5, "clipping_norm": 0.5},
        }
    )
    assert model_for(study) == AdditiveModel(FEATURES, clipping_norm=0.5)


def test_prepared_sums_serve_many_steps() -> None:
    model, data = model_of(), random_units(FEATURES, 64, 21)
    sums = model.prepare(data)
    assert isinstance(sums, AdditiveSums)
    before = data.positions.copy()
    for seed in range(5):
        parameters = random_parameters(model, seed)
        kept = parameters.copy()
        expected = oracle(model, data, parameters)
        assert [int(entry) for entry in sums.gradient_sum(parameters)] == expected
        assert (parameters == kept).all()
    assert (data.positions == before).all()


# -- knots that were asked for -----------------------------------------------------------------

ASKED: tuple[Feature, ...] = (
    numeric("asked", knots_from="spread", quantile_knots=3, even_knots=2, special=[0]),
    numeric("listed", knots=[0, 1, 10, 100]),
    numeric("skewed", scale="log1p", knots_from="skew", quantile_knots=2, even_knots=2),
)


@st.composite
def knots(draw: st.DrawFn) -> list[int]:
    """Any knots that parameters may end with, also such as no answer gives."""
    parts = [
        draw(st.lists(st.integers(0, PLACES), min_size=size, max_size=size, unique=True))
        for size in (5, 4)
    ]
    return [place for part in parts for place in sorted(part)]


@settings(max_examples=40, deadline=None)
@given(knots(), st.sampled_from(NORMS), st.integers(0, 2**32))
def test_no_unit_moves_a_sum_by_more_than_c_whatever_the_knots(
    places: list[int], norm: float, seed: int
) -> None:
    model = AdditiveModel(ASKED, norm)
    units = random_units(ASKED, 40, seed)
    parameters = np.concatenate([random_parameters(model, seed), places])
    sums = model.prepare(units)
    whole = sums.gradient_sum(parameters)
    assert len(whole) == model.vectors.entries
    kept = np.arange(40) > 0
    rest = model.prepare(units.select(kept)).gradient_sum(parameters)
    moved = sum(int(x) ** 2 for x in (whole - rest))
    assert moved <= int(norm * 2**GAMMA_BITS) ** 2


def test_the_same_units_are_summed_on_whatever_knots_the_parameters_end_with() -> None:
    model = AdditiveModel(ASKED, 1.0)
    units = random_units(ASKED, 200, 1)
    own = random_parameters(model, 2)
    sums, found = model.prepare(units), []
    for places in ([0, 9, 99, 999, 4096, 0, 5, 55, 4096], [0, 1024, 2048, 3072, 4096, 0, 1, 2, 3]):
        parameters = np.concatenate([own, places])
        found.append(sums.gradient_sum(parameters))
        fresh = model.prepare(units).gradient_sum(parameters)
        assert (found[-1] == fresh).all()
    assert (found[0] != found[1]).any()
    assert model.initial(-2.0)[-9:].tolist() == [0, 1024, 2048, 3072, 4096, 0, 1365, 2731, 4096]


def test_listed_knots_and_the_same_knots_asked_for_give_the_same_model() -> None:
    """Knots on which both encodings are exact: 0, 25, 50, 100 of 100."""
    listed = (numeric("amount", knots=[0, 25, 50, 100]),)
    asked = (numeric("amount", knots_from="spread", quantile_knots=2, even_knots=2),)
    values = np.append(np.random.default_rng(0).uniform(-5, 105, 300).round(1), np.nan)
    labels = (np.arange(301) % 3 == 0).astype(np.uint8)
    places = [0, 1024, 2048, 4096]
    weights = random_parameters(AdditiveModel(listed, 1.0), 1)
    scores = [
        AdditiveModel(features, 1.0).scores(
            parameters,
            EncodedUnits(encode_numeric(features[0], values)[None], labels),
        )
        for features, parameters in (
            (listed, weights),
            (asked, np.concatenate([weights, places])),
        )
    ]
    assert np.abs(scores[0] - scores[1]).max() < 2 * np.abs(np.diff(weights)).max() / 256


@pytest.mark.parametrize("places", [[0] * 9, [0, 1, 2, 3, 4, 0, 1, 2], [0.5] * 9])
def test_parameters_that_do_not_end_with_knots_are_refused(places: list[float]) -> None:
    model = AdditiveModel(ASKED, 1.0)
    units = random_units(ASKED, 5, 0)
    parameters = np.concatenate([random_parameters(model, 0), places])
    with pytest.raises(ProtocolError, match="expected"):
        model.prepare(units).gradient_sum(parameters)
    with pytest.raises(ProtocolError, match="expected"):
        model.scores(parameters, units)


def test_institutions_of_one_process_share_a_basis() -> None:
    """Each with its own, the matrices of 1,000 institutions take 6 GB at 40 features."""
    features = (numeric("a"), numeric("b"))
    first, second = (AdditiveModel(features, norm).basis for norm in (1.0, 2.0))
    assert first is second
    assert first is not AdditiveModel(features[:1], 1.0).basis
