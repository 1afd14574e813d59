"""A named module: clipped by Opacus as an explicit loop clips, and refused with its reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.records.networks import FEATURES, clipped_sum, made_up_units
from tests.support.system.packages import PACKAGE, install

from fieldfare.shared.errors import RunError, StudyError
from fieldfare.shared.models.custom_module import ModuleModel, Values
from fieldfare.shared.models.network_facts import GAMMA_BITS
from fieldfare.shared.models.unit_batches import rows_at
from fieldfare.shared.study.allowed_packages import class_named, permit


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    permit([PACKAGE])


def model_of(name: str = "Small", *, rows: int = 1, limit: float = 0.3) -> ModuleModel:
    found = ModuleModel(FEATURES, f"acme_nets:{name}", PACKAGE, 1, rows, limit)
    made = class_named(found.module, PACKAGE)
    if not isinstance(made, type):
        return found
    size = sum(parameter.numel() for parameter in made(found.inputs.width).parameters())
    return replace(found, parameters=size)


def loop(model: ModuleModel, parameters: Values, counts: list[int], seed: int) -> list[Values]:
    """Each unit's gradient by torch, one by one."""
    data, found = made_up_units(counts, model.rows, seed), []
    for unit, count in enumerate(counts):
        if not count:
            found.append(np.zeros(len(parameters)))
            continue
        rows, _ = rows_at(model.inputs, data, np.array([unit]))
        offset = torch.tensor(parameters[0], requires_grad=True)
        model.row_scores(parameters, torch.zeros((1, model.inputs.width), dtype=torch.float64))
        scores = model.built(torch.from_numpy(rows / 256.0)[None])[0, :, 0] + offset
        target = torch.full_like(scores, float(data.labels[unit]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, target)
        parts = torch.autograd.grad(loss, [offset, *model.built.parameters()])
        found.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
    return found


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("limit", [0.05, 8.0])
def test_clipped_sums_are_those_of_an_explicit_loop_over_units(rows: int, limit: float) -> None:
    counts = [1] * 200 if rows == 1 else [0, 1, 2, 4] * 50
    model, data = model_of(rows=rows, limit=limit), made_up_units(counts, rows, 1)
    parameters = np.random.default_rng(2).normal(size=model.vectors.entries)
    gradients = loop(model, parameters, counts, 1)
    expected = clipped_sum(gradients, limit, len(parameters))
    sums = model.prepare(data)
    found = np.ldexp(sums.gradient_sum(parameters).astype(np.float64), -GAMMA_BITS)
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
    plain = np.sum(gradients, axis=0)
    assert np.allclose(sums.plain_gradient(parameters), plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("size", [200.0, 1e4])
def test_units_whose_gradients_no_arithmetic_holds_count_as_zero(rows: int, size: float) -> None:
    """Zero times infinity is no number, and one unit would be told from the whole sum."""
    counts = [rows] * 40
    model, data = model_of("Growing", rows=rows), made_up_units(counts, rows, 1)
    parameters = np.random.default_rng(2).normal(0, size, model.vectors.entries)
    gradients = loop(model, parameters, counts, 1)
    held = [gradient for gradient in gradients if np.isfinite(np.linalg.norm(gradient))]
    assert len(held) < len(gradients)
    sums = model.prepare(data).gradient_sum(parameters).astype(np.float64)
    found, expected = np.ldexp(sums, -GAMMA_BITS), clipped_sum(held, 0.3, len(parameters))
    assert np.linalg.norm(found) <= 0.3 * len(held) + 1e-6
    if rows == 1:  # with more, squares of what is finite may be infinite: zero too
        assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected) + 1e-6


def test_scores_and_the_start_are_the_modules_own_and_public() -> None:
    model, data = model_of(), made_up_units([1] * 150, 1, 3)
    start = model.initial(-2.0)
    assert np.array_equal(start, model_of().initial(-2.0))
    rows, _ = rows_at(model.inputs, data, np.arange(150))
    expected = model.row_scores(start, torch.from_numpy(rows / 256.0)).detach().numpy()
    assert np.allclose(model.scores(start, data), expected, atol=1e-12)
    assert model.slot_values(start).shape == (model.inputs.count,)
    assert not list(model.prepare(made_up_units([], 1, 0)).gradient_sum(start).nonzero()[0])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Dropping", "expected no dropout"),
        ("Normed", "expected no batch normalisation"),
        ("Normed", "expected no buffers"),
        ("Convolved", r"\(Linear, Embedding\), found Conv1d"),
        ("no_module", "expected a torch module"),
    ],
)
def test_what_cannot_be_clipped_is_refused_in_plain_words(name: str, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        model_of(name).initial(0.0)


def test_a_module_that_mixes_units_is_found_out() -> None:
    with pytest.raises(RunError, match="it mixes units of a batch"):
        model_of("Mixing").prepare(made_up_units([1] * 10, 1, 0))


@pytest.mark.parametrize("name", ["Twice", "Reading", "Idle"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_module_whose_norms_opacus_does_not_see_is_found_out(name: str, rows: int) -> None:
    """Ghost clipping takes a layer's last use for its only one: units would pass unclipped."""
    with pytest.raises(RunError, match="whose gradients Opacus measures"):
        model_of(name, rows=rows).prepare(made_up_units([1] * 10, rows, 0))
