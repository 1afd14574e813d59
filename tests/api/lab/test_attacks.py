"""Attacks as a researcher calls them: one form of result, ceilings, plots, refusals."""

import inspect
from functools import cache

import numpy as np
import pytest

import fieldfare
from fieldfare.lab import attacks as lab

COLUMNS = ["attack", "figure", "value", "low", "high", "ceiling"]


def frame(rows: int = 700) -> dict[str, object]:
    random = np.random.default_rng(0)
    levels = [f"l{place}" for place in range(5)]
    columns = {f"f{place}": random.choice(levels, rows) for place in range(4)}
    odds = sum((column == "l0") * 1.0 for column in columns.values()) - 2.0
    return {**columns, "fraud": (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)}


@cache
def study() -> fieldfare.Study:
    features = [
        {"name": f"f{x}", "kind": "categorical", "levels": [f"l{y}" for y in range(5)]}
        for x in range(4)
    ]
    return fieldfare.Study.of(
        name="attacked", purpose="tests", features=features,
        records={"label": "fraud", "units": 700, "prevalence": 0.05},
        training={"steps": 6}, privacy={"epsilon": 1.0, "delta": 1e-5},
    )  # fmt: skip


@cache
def inverted() -> fieldfare.Attack:
    return fieldfare.attacks.inversion(study(), frame(), trials=100)


def test_an_attack_is_a_table_a_screen_and_a_picture() -> None:
    found = inverted()
    table = found.to_arrow()
    assert table.column_names == COLUMNS
    assert len(set(table["attack"].to_pylist())) == 4
    assert found.to_pandas().columns.tolist() == COLUMNS
    assert "(ceiling 0.5)" in repr(found)
    html = found._repr_html_()
    assert html.count("<tr>") == len(table) + 1
    assert "inversion of one reply: no noise, no masks" in html
    plot = found.plot_figure("AUROC")
    assert "<svg" in plot.svg
    assert "ceiling" in plot.svg
    assert "Upright mark" in plot.caption
    assert found.plot_figure().title == found.findings[0].figures[0].name
    with pytest.raises(fieldfare.UsageError, match="figure: expected one of"):
        found.plot_figure("nothing")
    assert found.flagged == ()


def test_without_protection_it_works_and_with_it_not() -> None:
    found = inverted().to_pandas()
    area = found[found["figure"] == "AUROC"].set_index("attack")
    bare, both = (
        area.loc[f"inversion of one reply: {x}"] for x in ("no noise, no masks", "noise and masks")
    )
    assert (bare["value"], bare["ceiling"]) == (1.0, 1.0)
    assert both["low"] <= both["ceiling"] == 0.5


def test_every_attack_on_a_users_records_gives_the_same_form() -> None:
    for found in (
        fieldfare.attacks.membership(study(), frame(), shadows=4),
        fieldfare.attacks.membership(study(), frame(), shadows=0, private=False),
        fieldfare.attacks.labels(study(), frame(), trials=60),
    ):
        assert found.to_arrow().column_names == COLUMNS
        assert all(one.source and one.sees and one.misses for one in found.findings)


def test_a_study_in_other_coordinates_is_attacked_by_its_moments() -> None:
    turned = study().with_(geometry={"kind": "centred"})
    found = fieldfare.attacks.inversion(turned, frame(), trials=60)
    assert found.findings[0].figure("AUROC").value == 1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fieldfare.attacks.inversion(study(), frame(), trials=5), "trials: expected 40"),
        (lambda: fieldfare.attacks.labels(study(), frame(), institutions=2), "institutions: expec"),
        (lambda: fieldfare.attacks.membership(study(), frame(100)), "expected 200 units"),
        (lambda: fieldfare.attacks.membership(study(), frame(), shadows=-1), "shadows: expected 0"),
        (lambda: fieldfare.attacks.membership(study(), frame(), seed=-1), "seed: expected"),
        (lambda: fieldfare.attacks.differencing(epsilon=0), "epsilon: expected above 0"),
        (lambda: fieldfare.attacks.poisoning(seeds=0), "seeds: expected 1"),
        (lambda: fieldfare.attacks.free_rider(seeds=True), "seeds: expected 1"),
        (lambda: fieldfare.attacks.inversion("a.toml", frame()), "study: expected a"),  # type: ignore[arg-type]
    ],
)
def test_what_no_attack_can_be_is_said(call: object, said: str) -> None:
    with pytest.raises(fieldfare.UsageError, match=said):
        call()  # type: ignore[operator]


def test_every_attack_is_documented_with_its_arguments_and_source() -> None:
    for name in lab.__all__:
        thing = getattr(fieldfare.attacks, name)
        if inspect.isfunction(thing):
            text = inspect.getdoc(thing) or ""
            given = list(inspect.signature(thing).parameters)
            assert [one for one in given if f"    {one}: " not in text] == [], name
            assert "Raises:" in text
            assert "Source:" in text
