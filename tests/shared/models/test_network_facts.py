"""A plan counts a network without torch; torch itself, building the same layers, counts as much."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.homes.institutions import home_study
from torch.nn import Linear, Sequential

from fieldfare.shared.models import gradient_vectors, parameter_entries, trained_model
from fieldfare.shared.protocol.plan import plan_for

WIDTHS = st.lists(st.integers(1, 32).map(lambda n: 8 * n), min_size=1, max_size=3)
KNOTS = st.lists(st.integers(0, 100), min_size=2, max_size=9, unique=True).map(sorted)


@st.composite
def columns(draw: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """One to eight features, with and without special values, of as many slots as they like."""
    found: list[dict[str, Any]] = []
    for place in range(draw(st.integers(1, 8))):
        one: dict[str, Any] = {"name": f"f{place}"}
        if draw(st.booleans()):
            levels = [f"l{n}" for n in range(draw(st.integers(2, 12)))]
            found.append(one | {"kind": "categorical", "levels": levels})
            continue
        knots = draw(KNOTS)
        one |= {"kind": "numeric", "lower": knots[0], "upper": knots[-1], "knots": knots}
        found.append(one | draw(st.sampled_from([{}, {"special": [-1]}])))
    return found


def count_by_torch(slots: int, hidden: list[int]) -> int:
    layers = [Linear(a, b, device="meta") for a, b in pairwise([slots, *hidden, 1])]
    return sum(part.numel() for part in Sequential(*layers).parameters())


@given(columns(), WIDTHS, st.integers(1, 64), st.sampled_from([2.0**-10, 0.25, 8.0]))
@settings(max_examples=60, deadline=None)
def test_a_plan_counts_what_torch_counts(
    features: list[dict[str, Any]], hidden: list[int], rows: int, norm: float
) -> None:
    section = {"kind": "mlp", "hidden": hidden, "rows": rows}
    study = home_study(features=features, model=section, privacy__clipping_norm=norm)
    model: Any = trained_model(study)
    parameters = torch.from_numpy(model.initial(0.0))
    parts = model.network.layers(parameters).parts
    padding = hidden[0] * (model.inputs.width - model.inputs.count - 1)
    counts = {
        count_by_torch(len(model.slot_values(parameters.numpy())), hidden),
        sum(part.numel() for part in parts) - padding,
        len(parameters),
        parameter_entries(study),
    }
    assert counts == {plan_for(study).training.parameter_entries}
    assert gradient_vectors(study) == plan_for(study).training.vectors == model.vectors
    assert gradient_vectors(study).entries in counts
