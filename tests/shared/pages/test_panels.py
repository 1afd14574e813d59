"""Panels: one scale for all, strongest first, nothing outside the frame."""

import math

import pytest

from fieldfare.shared.pages.charts import HEIGHT, LEFT, WIDTH, Shape, panels


def numeric(name: str, *contribution: float, **more: object) -> Shape:
    x = [float(10**i) for i in range(len(contribution))]
    return Shape(feature=name, kind="numeric", x=x, contribution=list(contribution), **more)  # type: ignore[arg-type]


def test_the_strongest_feature_comes_first_and_all_share_one_scale() -> None:
    weak, strong = numeric("weak", 0.0, 0.4), numeric("strong", -1.0, 1.0)
    first, second = panels([weak, strong])
    assert (first.feature, second.feature) == ("strong", "weak")
    assert first.ticks == second.ticks
    rise = [panel.points[0].y - panel.points[1].y for panel in (first, second)]
    assert rise[0] == pytest.approx(5 * rise[1])


def test_slots_count_for_strength() -> None:
    special = numeric("special", 0.0, 0.1, slots={"0": -3.0})
    assert panels([numeric("plain", -1.0, 1.0), special])[0].feature == "special"


@pytest.mark.parametrize("scale", ["linear", "log1p"])
def test_points_stay_within_the_frame_and_in_order(scale: str) -> None:
    slots = {str(i): float(i) for i in range(9)}
    panel = panels([numeric("f", -5.0, 2.0, 9.0, 1.0, scale=scale, slots=slots)])[0]
    places = [*panel.points, *panel.slots]
    assert all(LEFT <= p.x <= WIDTH and 0 <= p.y <= HEIGHT for p in places)
    assert [p.x for p in places] == sorted(p.x for p in places)
    assert len(panel.slots) == 6
    assert len(panel.slot_rows) == 9


def test_a_logarithmic_scale_spreads_small_knots() -> None:
    linear, log = (panels([numeric("f", 0, 0, 0, 1, scale=s)])[0] for s in ("linear", "log1p"))
    assert log.points[1].x - log.points[0].x > 20 * (linear.points[1].x - linear.points[0].x)
    assert (log.low, log.high, log.scale, linear.scale) == ("1", "1,000", "logarithmic", "")


def test_levels_are_named_as_far_as_there_is_room() -> None:
    few = Shape(feature="f", kind="categorical", x=["cash", "wire"], contribution=[0.1, -0.1])
    names = [f"a very long level {i}" for i in range(40)]
    many = Shape(feature="g", kind="categorical", x=names, contribution=[0.0] * 40)
    panel, crowded = panels([few, many])
    assert [level.name for level in panel.levels] == ["cash", "wire"]
    assert (panel.line, panel.stems) == ("", True)
    assert crowded.levels == []
    assert len(crowded.rows) == 30


@pytest.mark.parametrize("shape", [numeric("f"), numeric("f", 0.0), numeric("f", math.nan, 0.0)])
def test_nothing_to_draw_is_no_error(shape: Shape) -> None:
    assert len(panels([shape])) == 1
    assert panels([]) == []


def test_a_panel_can_be_read_aloud() -> None:
    assert panels([numeric("f", -0.5, 0.25)])[0].alt == (
        "f: contribution in log-odds from -0.50 at 1 to +0.25 at 10"
    )
