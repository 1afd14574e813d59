"""Figures as inline SVG: nothing to draw gives none, strangers' names stay text."""

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from fieldfare.shared.pages.figures import ACCENT, INK, SOFT
from fieldfare.simulations.report import pictures as p
from fieldfare.simulations.report.curves import ModelScores
from fieldfare.simulations.report.words import MODELS

NAMESPACE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def parsed(picture: p.Picture | None) -> ET.Element:
    assert picture is not None
    return ET.fromstring(str(picture.svg).replace("<svg", f"<svg {NAMESPACE}", 1))  # noqa: S314


def texts(picture: p.Picture | None) -> str:
    return " ".join(parsed(picture).itertext())


def test_every_model_has_a_bar_with_its_value(make_run: Any) -> None:
    results = make_run().results
    picture = p.bars(results, "auroc", "AUROC", 0.5)
    shown = texts(picture)
    ran = {key: said for key, said in MODELS.items() if key in results["models"]}
    assert set(MODELS) - set(ran) == {"start", "alone_start"}  # the study names no public start
    for key, said in ran.items():
        assert said.name in shown
        assert f"{results['models'][key]['auroc']:.3f}" in shown
    assert parsed(picture).get("aria-label", "").startswith("AUROC: Together, through Fieldfare")


def test_names_are_text_and_never_formulas(make_run: Any) -> None:
    results = make_run().results
    results["groups"]["rows"][0]["name"] = '<script>"$\\frac{a}$ & 銀行'
    picture = p.groups(results)
    assert picture is not None
    assert '<script>"$\\frac{a}$ & 銀行' in texts(picture)
    assert "<script" not in picture.svg


def test_a_long_name_is_shortened(make_run: Any) -> None:
    results = make_run().results
    results["groups"]["rows"][0]["name"] = "n" * 500
    assert "n" * 40 + "…" in texts(p.groups(results))
    assert "n" * 41 not in texts(p.groups(results))


def test_curves_leave_out_hold_outs_of_one_class() -> None:
    def one(labels: list[int]) -> ModelScores:
        given = np.array(labels, np.uint8)
        return ModelScores(name="m", labels=given, probabilities=np.linspace(0, 1, given.size))

    assert p.curves({"federated": [one([0, 0, 0])]}, "roc") is None
    shown = texts(p.curves({"federated": [one([0, 1, 0])], "alone": [one([1, 1, 1])]}, "roc"))
    assert "Together, through Fieldfare" in shown
    assert "Each alone" not in shown


def test_many_institutions_are_said_to_be_cut(make_run: Any) -> None:
    names = tuple(f"b{i}" for i in range(15))
    picture = p.curves(make_run(names=names, units=600).scores, "precision_recall")
    assert picture is not None
    assert "the first 12 institutions" in picture.caption


def test_nothing_measured_draws_nothing(make_run: Any) -> None:
    results = make_run().results
    results["models"] = {"federated": {"auroc": None}}
    results["released_metrics"] = {"auroc": None, "precision": {"value": None}}
    results["groups"]["rows"] = []
    assert p.bars(results, "auroc", "AUROC", 0.5) is None
    assert p.released(results) is None
    assert p.groups(results) is None
    assert p.calibrated([], []) is None
    assert p.curves({}, "roc") is None


def test_released_figures_without_an_interval_still_have_their_value(make_run: Any) -> None:
    results = make_run().results
    results["released_metrics"] = {"auroc": {"value": 0.876, "low": None, "high": None}}
    assert "AUROC: 0.876" in texts(p.released(results))


def test_calibration_takes_intervals_that_miss_or_invert() -> None:
    bins: list[dict[str, float | None]] = [
        {"predicted": 0.1, "observed": 0.2, "low": None, "high": None},
        {"predicted": 0.4, "observed": 0.3, "low": 0.35, "high": 0.2},
    ]
    assert "As released" in texts(p.calibrated(bins, []))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize(
    ("colour", "ratio"),
    [(INK, 4.5), (SOFT, 4.5), (ACCENT, 4.5), *((s.colour, 3.0) for s in p.STROKES.values())],
)
def test_contrast_on_white_is_what_wcag_asks(colour: str, ratio: float) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= ratio
