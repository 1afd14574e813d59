"""Label inference: what does a released evaluation say of the labels of known units?

The attacker has the model and knows every held-out unit's score. What is released is a table of
held-out units by score and label, and everything that is read off it: curves, figures, the
calibration. Three attacks, on the table as it leaves (with noise) and as it would be without:

- **all other labels known**: is this one unit a case? Its label moves one count from a cell to
  another, so that the table moves by sqrt(2); a coin decides the label at each trial, and the
  projection on that move is the best test there is. Its ceiling is that of mu sqrt(2).
- **by the calibration**: the same from the released points of the calibration alone, which are
  read off the same table and so can say no more.
- **no label known**: each unit is as probably a case as the share of cases in its bin. The model
  says that too, without any release: what counts is the difference to ranking by the score.

The noise is that of the n - t members who tell theirs to nobody.

Source: Yeom et al. 2018, CSF, section III.C (attribute inference); ceilings: Dong, Roth and Su
2019, arXiv 1905.02383, equation 6.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.sums.study_sums import StudySums, count_cells
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.metrics import calibration
from fieldfare.shared.evaluation.score_table import bin_of, inner_edges
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import COUNT_GAMMA_BITS, Plan, plan_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.ceilings import area, told
from fieldfare.simulations.attacks.finding import Finding, MeasuredFigure
from fieldfare.simulations.federation.baselines import Trainer
from fieldfare.simulations.federation.federation import noise_source

LEAST_HELD: Final = 20
LEAST_TRIALS: Final = 40
BARE_SIGMA: Final = 1e-9  # of a calibration whose table has no noise
STREAM: Final = 2**20 + 16
SOURCE: Final = (
    "Yeom et al. 2018, CSF, section III.C; ceilings: Dong, Roth and Su 2019, arXiv 1905.02383, "
    "equation 6"
)

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LabelsTask:
    """The inputs of an attack.

    Attributes:
        study: that trains and measures.
        units: of everybody, dealt to institutions.
        institutions: n.
        trials: tables, each with a coin for the label in question.
        protection: exact noise, or simulated noise.
        seed: of deals, hold-outs, coins and simulated noise.
    """

    study: Study
    units: EncodedUnits
    institutions: int = 3
    trials: int = 1000
    protection: Protection = Protection.SIMULATED
    seed: int = 0


def labels(task: LabelsTask) -> tuple[Finding, ...]:
    """Train a model, release its evaluation without noise and with it, and infer labels.

    Raises:
        UsageError: too few units or trials, a hold-out of one class, or a study that trains no
            model of features.
        AccountingError: n - t < 2.
    """
    if task.trials < LEAST_TRIALS or task.study.asks or task.study.groups:
        raise UsageError(
            f"expected {LEAST_TRIALS} trials or more and a study that trains and measures only, "
            f"found {task.trials} trials or a study that asks"
        )
    table = ReleasedTable.of(task)
    return tuple(_attacked(table, noised=noised) for noised in (False, True))


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ReleasedTable:
    """A federation's evaluation before noise.

    Attributes:
        task: of the attack.
        plan: of the study.
        exact: int64 (2 * bins,), everybody's counts, in units of 2^-20.
        scores: float64 (held,), log-odds of all held-out units.
        labels: uint8 (held,).
    """

    task: LabelsTask
    plan: Plan
    exact: Sums
    scores: Vector
    labels: NDArray[np.uint8]

    @classmethod
    def of(cls, task: LabelsTask) -> "ReleasedTable":
        """Train as the federation trains, and count as its custodians count."""
        generator = np.random.default_rng([task.seed, STREAM])
        count, study = len(task.units), task.study
        owners = generator.permutation(count) % task.institutions
        held = generator.uniform(size=count) < study.evaluation.holdout
        sums = {
            f"institution-{index + 1:02d}": StudySums.prepare(
                study, task.units.select(owners == index), held[owners == index]
            )
            for index in range(task.institutions)
        }
        whole = concatenate([one.holdout for one in sums.values()])
        if len(whole) < LEAST_HELD or len(set(whole.labels.tolist())) == 1:
            raise UsageError(
                f"expected {LEAST_HELD} held-out units or more of both classes, found {len(whole)} "
                f"with {int(whole.labels.sum())} cases"
            )
        plan, model = plan_for(study), _model(study, sums, task.seed)
        exact = np.sum([one.vector(ReleaseKind.EVALUATION, model) for one in sums.values()], axis=0)
        scores = model_for(study).scores(model, whole)
        return cls(task, plan, exact, scores, whole.labels)

    @cached_property
    def pair(self) -> tuple[Sums, Sums]:
        """The table where the unit in question is none, and where it is a case."""
        edges = inner_edges(self.task.study)
        score, label = self.scores[:1], self.labels[:1]
        rest = self.exact - count_cells(score, label, edges)
        one = [count_cells(score, np.array([y], np.uint8), edges) for y in (0, 1)]
        return rest + one[0], rest + one[1]

    def released(self, exact: Sums, noise: Sums) -> Vector:
        """Return float64 (2 * bins,), as everybody decodes it."""
        return np.ldexp((exact + noise).astype(np.float64), -COUNT_GAMMA_BITS)

    def cases_said(self, table: Vector, sigma: float) -> float:
        """Return how many cases the points of a calibration hold."""
        points = calibration(self.task.study, table.reshape(2, -1), sigma)
        return sum(point["observed"] * point["units"] for point in points)


def _model(study: Study, sums: Mapping[str, StudySums], seed: int) -> Vector:
    training = {name: one.training for name, one in sums.items()}
    counts = {name: one.training_count for name, one in sums.items()}
    turned = {name: one.turned for name, one in sums.items() if one.turned is not None}
    return Trainer(plan_for(study), training, counts, seed, turned=turned).federated()


def _attacked(table: ReleasedTable, *, noised: bool) -> Finding:
    task, terms = table.task, table.plan.evaluation
    tolerance = task.study.privacy.collusion_tolerance
    hidden = task.institutions - tolerance
    share = terms.share(task.institutions, tolerance)
    source = noise_source(task.protection, seed=task.seed, stream=0)
    entries = terms.vectors.entries

    def noise() -> Sums:
        """Draw the noise of all whose shares are not known."""
        total = np.zeros(entries, dtype=np.int64)
        for _ in range(hidden if noised else 0):
            total += source.sample(entries, share)
        return total

    coins = np.random.default_rng([task.seed, STREAM + 1]).uniform(size=task.trials) < 0.5  # noqa: PLR2004
    tables = [table.released(table.pair[int(coin)], noise()) for coin in coins]
    mu = math.sqrt(2 * terms.mu2) if noised else math.inf
    sigma = terms.sigma if noised else BARE_SIGMA
    known = (
        *told(_by_table(table, tables), coins, mu),
        *(
            replace(one, name=f"{one.name} by the calibration")
            for one in told(_by_calibration(table, tables, sigma), coins, mu)
        ),
    )
    return Finding(
        attack=f"labels from a released evaluation: {'with' if noised else 'without'} its noise",
        figures=(*known, *_unknown(table, table.released(table.exact, noise()))),
        sees="the label of one held-out unit whose score is known, where all other labels are "
        "known; and all labels, where none is",
        misses="what several studies say of one unit, which adds up to their mu; the score itself, "
        "which says what the model learned of such units",
        source=SOURCE,
    )


def _by_table(table: ReleasedTable, tables: list[Vector]) -> Vector:
    """Return float64 (trials,): how far a table lies from "none" towards "a case"; .5 is zero."""
    none, case = (table.released(one, np.zeros_like(one)) for one in table.pair)
    towards = case - none
    return np.array([(one - none) @ towards / (towards @ towards) - 0.5 for one in tables])


def _by_calibration(table: ReleasedTable, tables: list[Vector], sigma: float) -> Vector:
    """Return float64 (trials,): the same by how many cases a calibration's points hold."""
    none, case = (
        table.cases_said(table.released(one, np.zeros_like(one)), sigma) for one in table.pair
    )
    step = case - none
    said = np.array([table.cases_said(one, sigma) for one in tables])
    return (said - none) / step - 0.5 if step else said - said.mean()


def _unknown(table: ReleasedTable, released: Vector) -> tuple[MeasuredFigure, MeasuredFigure]:
    """Return how well labels are ranked by the shares of their bins, and by the score alone."""
    places = bin_of(table.scores, inner_edges(table.task.study))
    units = np.bincount(places, minlength=len(released) // 2)
    shares = np.split(released, 2)[1] / np.maximum(units, 1)
    cases = table.labels == 1
    by_bin, by_score = area(shares[places], cases), area(places.astype(np.float64), cases)
    return (
        replace(by_bin, name="AUROC, no label known"),
        replace(by_score, name="AUROC of the score's bin alone"),
    )
