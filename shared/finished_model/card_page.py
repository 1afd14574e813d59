"""The model card as a page: one self-contained HTML file for the person responsible for the model.

Both sides draw it from the same three inputs, so no reader has to trust a page that was sent:
the card, and the curves from the study and the parameters themselves.

How alerts fall on groups, as rows of a page: the report's and the model card's alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from fieldfare.shared.evaluation.groups import Verdict, percents, rate_in
from fieldfare.shared.evaluation.metrics import guard_line
from fieldfare.shared.evaluation.score_map import score_map
from fieldfare.shared.finished_model.card import (
    CalibrationPoint,
    CardInterval,
    ModelCard,
    ReleasedMetrics,
)
from fieldfare.shared.finished_model.card_writing import finished_at
from fieldfare.shared.pages import charts as panels
from fieldfare.shared.pages.charts import plain_shape, shapes_of
from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.pages.words import (
    best_guess,
    covers,
    decimals,
    odds_factor,
    one_in,
    plain,
)
from fieldfare.shared.protocol.plan import PICOMU2
from fieldfare.shared.study.study import Study


def group_tables(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return one table for each grouping: `column` and `rows` of text; none without groups.

    Args:
        found: `released_groups`, or nothing.
    """
    if not found:
        return []
    everybody = _row(found["everybody"], first=True)
    return [
        {"column": one["column"], "rows": [everybody, *map(_row, one["rows"])]}
        for one in found["columns"]
    ]


def _row(row: Mapping[str, Any], *, first: bool = False) -> dict[str, str]:
    wrong = percents(rate_in(row["false_positive_rate"]))
    return {
        "name": row["name"],
        "units": f"{row['units']['value']:,.0f}",
        "alerts": percents(rate_in(row["alert_rate"])),
        "wrong": wrong,
        "verdict": "" if first else _said(row),
    }


def _said(row: Mapping[str, Any]) -> str:
    verdict, times = str(row["verdict"]), row["times"]
    if verdict == Verdict.TOO_FEW or times is None:
        return verdict
    return f"{verdict}: {decimals(times, 1)} times"


# -- model card page ------------------------------------------------------------------------------

TEMPLATE: Final = resources.files("fieldfare.shared.pages") / "model_card.html"
SECTIONS: Final = resources.files("fieldfare.shared.pages") / "card_sections.html"
BAR: Final = 200.0  # width of an interval's bar, in SVG units
EDGE: Final = 6.0  # beside it, so that a dot at an end is whole
HEADROOM: Final = 1.08  # of the calibration's scale above its largest value

RATES: Final = (
    ("auroc", "AUROC", "how often a labelled unit is ranked above an unlabelled one"),
    ("average_precision", "Average precision", "share of labelled, over all lengths of the list"),
    ("precision", "Precision at the budget", "of those reviewed, how many are labelled"),
    ("recall", "Recall at the budget", "of the labelled, how many are reviewed"),
)


class Bar(NamedTuple):
    """An interval's bar, in SVG units; `mark` is where something else is compared."""

    low: float
    value: float
    high: float
    mark: float | None = None


STATED: Final = "the coordinator's word: not recomputed here"


@dataclass(frozen=True)
class CardChecks:
    """What whoever draws the page has recomputed of it, in words; nothing, unless it says so.

    Attributes:
        model: its parameters.
        metrics: of the evaluation.
        groups: counts of alerts by group.
    """

    model: str = STATED
    metrics: str = STATED
    groups: str = STATED


NOTHING: Final = CardChecks()


def card_page(
    card: ModelCard, study: Study, parameters: NDArray[np.float64], checks: CardChecks = NOTHING
) -> str:
    """Return the page; the same card, study, parameters and checks give the same text.

    Names and uses are strangers' words: they are escaped and stripped of control characters.

    Args:
        card: checked against the two others (`check_card`).
        study: whose features the parameters belong to.
        parameters: float64 (entries,).
        checks: of the card, by the program that draws the page.

    Raises:
        ProtocolError: the card's time is none.
    """
    return page_template(TEMPLATE).render(_context(card, study, parameters, checks))


def card_sections(
    card: ModelCard, study: Study, parameters: NDArray[np.float64], checks: CardChecks
) -> Markup:
    """Return the same without head and end, for a page that has its own.

    Args:
        card: checked against the two others (`check_card`).
        study: whose features the parameters belong to.
        parameters: float64 (entries,).
        checks: of the card, by the program that draws the page.

    Raises:
        ProtocolError: the card's time is none.
    """
    text = page_template(SECTIONS).render(_context(card, study, parameters, checks))
    return Markup(text)  # noqa: S704 -- the template escaped what it was filled in with


def _context(
    card: ModelCard, study: Study, parameters: NDArray[np.float64], checks: CardChecks
) -> dict[str, Any]:
    shapes = [plain_shape(shape) for shape in shapes_of(study, parameters)]
    privacy = card.privacy
    return {
        "checks": checks,
        "card": plain(card.model_dump(mode="json")),
        "finished": f"{finished_at(card):%Y-%m-%d %H:%M} UTC",
        "rates": _rates(card.metrics),
        "calibration": _calibration(card.metrics),
        "meaning": _meaning(card.metrics),
        "guard": guard_line(card.start.model_dump()) if card.start else "",
        "groups": group_tables(_released_groups(card)),
        "panels": panels.panels(shapes),
        "geometry": panels,
        "bar": {"width": BAR + 2 * EDGE, "left": EDGE, "right": EDGE + BAR},
        "factor": odds_factor(privacy.epsilon),
        "one_in": one_in(privacy.delta),
        "best_guess": best_guess(privacy.planned / PICOMU2),
        "beyond": privacy.epsilon_beyond(),
        "covers": covers(study.records.left_out_banks),
        "planned": privacy.planned / PICOMU2,
        "spent": privacy.spent / PICOMU2,
    }


def _released_groups(card: ModelCard) -> Any:
    return None if card.groups is None else plain(card.groups.model_dump(mode="json"))


def _rates(metrics: ReleasedMetrics | None) -> list[dict[str, Any]]:
    if metrics is None:
        return []
    rows: list[dict[str, Any]] = []
    for key, title, meaning in RATES:
        rate: CardInterval = getattr(metrics, key)
        rows.append({"title": title, "meaning": meaning, "rate": rate, "bar": _bar(rate, 1.0)})
    return rows


def _calibration(metrics: ReleasedMetrics | None) -> list[dict[str, Any]]:
    points = metrics.calibration if metrics else ()
    top = min(1.0, HEADROOM * max((max(p.high, p.predicted) for p in points), default=1.0))
    return [{"point": point, "bar": _point_bar(point, top)} for point in points]


def _meaning(metrics: ReleasedMetrics | None) -> tuple[str, ...]:
    found = score_map(metrics.model_dump()) if metrics else None
    return found.lines if found else ()


def _point_bar(point: CalibrationPoint, top: float) -> Bar:
    observed = CardInterval(value=point.observed, low=point.low, high=point.high)
    return _bar(observed, top)._replace(mark=_place(point.predicted, top))


def _bar(rate: CardInterval, top: float) -> Bar:
    return Bar(*(_place(value, top) for value in (rate.low, rate.value, rate.high)))


def _place(value: float, top: float) -> float:
    """Return where a value stands; what a stranger's card says beyond the scale stays on it."""
    return EDGE + BAR * min(max(value / top if top > 0 else 0.0, 0.0), 1.0)
