"""The answer of `fieldfare study plan`: expectations by epsilon and window, settings, a verdict."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.joining.outlook import Anchor, ExpectedPrecision, calibration, expected
from fieldfare.shared.joining.settings import Band, fitting_settings
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for, mu2_for
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.prospects import obstacles
from fieldfare.shared.study.study import Study

EPSILONS: Final = (0.5, 1.0, 2.0, 4.0)
QUARTERS: Final = 4
LEAST_LEFT: Final = 0.25  # of the lift: below, noise is most of what is learned
MOST_PREVALENCE: Final = 0.99


class Window(StrEnum):
    """How much time the records of a study cover."""

    YEAR = "year"
    QUARTER = "quarter"


class StudyAdvice(StrEnum):
    """Whether a study is worth its budget."""

    RUN = "run it"
    AT_HOME = "run it for use at home"
    NOT = "do not run this"


@dataclass(frozen=True)
class OutlookRow:
    """One epsilon: what a year of data and a quarter lead to, and what four quarters cost."""

    epsilon: float
    year: ExpectedPrecision
    quarter: ExpectedPrecision
    four_quarters: float


@dataclass(frozen=True)
class StudyOutlook:
    """Everything that `study plan` says.

    Attributes:
        here: at the study's own epsilon and window.
        rows: by epsilon.
        settings: of training that fit; None for a kind that nobody measured.
        answer, reasons: the verdict, and why.
    """

    here: ExpectedPrecision
    covers: Window
    rows: tuple[OutlookRow, ...]
    settings: Band | None
    answer: StudyAdvice
    reasons: tuple[str, ...]


def is_like_trials(study: Study) -> bool:
    """Tell whether a study trains a model of features together: nothing else was measured."""
    return study.trains and study.rows is None and not study.training.local


def outlook_of(
    plan: Plan,
    institutions: int | None = None,
    covers: Window = Window.YEAR,
    anchor: Anchor | None = None,
) -> StudyOutlook:
    """Say what may be expected of a study, from public numbers alone.

    Args:
        plan: of a study that trains a model of features.
        institutions: that will take part; None: the study's least.
        covers: the time that the study's units and prevalence are of.
        anchor: what an earlier run over such records released.

    Raises:
        AccountingError: an epsilon that leaves nothing to spend.
    """
    numbers = PublicNumbers.of(plan, institutions)
    here = expected(numbers, anchor)
    answer, reasons = _verdict(plan, here)
    return StudyOutlook(
        here=here,
        covers=covers,
        rows=tuple(_row(numbers.at(epsilon=one), covers, anchor) for one in EPSILONS),
        settings=fitting_settings(numbers.kind, here.strength, numbers.entries),
        answer=answer,
        reasons=reasons,
    )


def _row(numbers: PublicNumbers, covers: Window, anchor: Anchor | None) -> OutlookRow:
    """Return a year's and a quarter's expectations: the same units, of which fewer are cases."""
    more = min(QUARTERS, MOST_PREVALENCE / numbers.prevalence)
    year, quarter = (1.0, 1 / QUARTERS) if covers is Window.YEAR else (more, 1.0)
    return OutlookRow(
        epsilon=numbers.epsilon,
        year=expected(numbers.at(cases=year), anchor),
        quarter=expected(numbers.at(cases=quarter), anchor),
        four_quarters=four_times(numbers),
    )


def four_times(numbers: PublicNumbers) -> float:
    """Return epsilon, at the study's delta, of four such studies over the same units."""
    mu2 = mu2_for(epsilon=numbers.epsilon, delta=numbers.delta, xi=XI_LIMIT)
    return epsilon_for(delta=numbers.delta, mu2=QUARTERS * mu2, xi=XI_LIMIT)


def _verdict(plan: Plan, here: ExpectedPrecision) -> tuple[StudyAdvice, tuple[str, ...]]:
    reasons = [*obstacles(plan, here.numbers.institutions)]
    if here.share < LEAST_LEFT:
        reasons.append(
            f"noise is expected to leave {here.share:.0%} of what the records hold, less than "
            f"{LEAST_LEFT:.0%}{_remedy(here.numbers)}"
        )
    if reasons:
        return StudyAdvice.NOT, tuple(reasons)
    against = f"({here.value:.2f} against {here.alone:.2f})"
    if not here.helps:
        said = (
            f"by itself it is expected to rank no better than an institution alone {against}: "
            "weigh it with own models (`fieldfare institution tune`)"
        )
        return StudyAdvice.AT_HOME, (said,)
    said = (
        f"it is expected to rank better than an institution alone {against}, and noise to leave "
        f"{here.share:.0%} of what the records hold"
    )
    return StudyAdvice.RUN, (said,)


def _remedy(numbers: PublicNumbers) -> str:
    """Say which epsilon, or how many cases, would do."""
    curve, found = calibration()[0], list[str]()
    for epsilon in EPSILONS:
        try:
            strength = numbers.at(epsilon=epsilon).strength
        except AccountingError:
            continue
        if epsilon > numbers.epsilon and curve.share(strength) >= LEAST_LEFT:
            found.append(f"epsilon {epsilon:g}")
            break
    needed = curve.half * (LEAST_LEFT / (1 - LEAST_LEFT)) ** (1 / curve.bend)
    times = needed / numbers.strength if numbers.strength else math.inf
    cases = f"{math.ceil(numbers.cases * times):,}" if math.isfinite(times) else "more"
    found.append(f"about {cases} cases in training, not {numbers.cases:,.0f},")
    return f": {' or '.join(found)} would do"
