"""A free-rider: one member of ten that gives nothing and takes the model.

    fieldfare attack free-rider [--seeds 5] [--json]

Sums, noise and study are those of `poisoning.py`. One member, the last, answers every release of
its own:

- empty: sums over no units, with its share of the noise;
- silent: the same without its share of the noise;
- copied: sums over records that another member gave it, in place of its own;
- invented: sums over units with levels and labels by chance.

It keeps its own records, and uses the model on them. Measured: what the model finds for it and for
the others (average precision, each on own hold-outs), whether the released numbers of units and
cases show it, and what its lie does to the promise. The check counts: the evaluation releases how
many held-out units and cases there are, with noise of known sigma, and the study says how many
there should be. It accuses where they are further apart than noise and the chance of the hold-out
make in one honest study in 1,000; whoever is accused, it is nobody by name, since single sums are
never read.

Source: Fraboni, Vidal and Lorenzi 2021, AISTATS, arXiv 2006.11901, section 3.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.models import model_for
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import COUNT_GAMMA_BITS, Plan, plan_for
from fieldfare.shared.run.optimizer import next_state
from fieldfare.shared.run.replay import delivered_state, initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.finding import Finding, MeasuredFigure
from fieldfare.simulations.attacks.poisoning import (
    INSTITUTIONS,
    LEVELS,
    PREVALENCE,
    dealt,
    poisoned_study,
    population,
)
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import noise_stream
from fieldfare.simulations.metrics import chances, measure

ACCUSES: Final = 0.001  # of honest studies
STREAM: Final = 2**20 + 48
SOURCE: Final = "Fraboni, Vidal and Lorenzi 2021, AISTATS, arXiv 2006.11901, section 3"

Vector = NDArray[np.float64]


class RiderAnswer(Enum):
    """What the free-rider answers with."""

    HONEST = "honest"
    EMPTY = "empty"
    SILENT = "silent"
    COPIED = "copied"
    INVENTED = "invented"


@dataclass(frozen=True, kw_only=True)
class FreeRideOutcome:
    """What came of one run.

    Attributes:
        answer: of the free-rider.
        own: average precision of the model on the rider's own hold-out.
        others: on the others' hold-outs.
        alone: of the model that the rider trains by itself, without privacy, on its own hold-out.
        apart: how far released units and cases are from the study's, the further of both, in
            standard deviations.
        accused: whether that is further than one honest study in 1,000.
        noise: what hides a unit from the coordinator and t members, in the sigma that is owed.
        copies: in how many institutions' sums a unit of the others is, at most.
    """

    answer: RiderAnswer
    own: float
    others: float
    alone: float
    apart: float
    accused: bool
    noise: float
    copies: int


def ridden(answer: RiderAnswer, *, seed: int = 0) -> FreeRideOutcome:
    """Train with one free-rider of ten, and measure."""
    study = poisoned_study()
    plan, honest = plan_for(study), dealt(study, population(seed), seed)
    given = [*honest[:-1], _given(study, honest, answer, seed)]
    model = _trained(plan, given, seed, silent=answer is RiderAnswer.SILENT)
    apart = _apart(plan, given, seed, silent=answer is RiderAnswer.SILENT)
    tolerance = study.privacy.collusion_tolerance
    hiding = INSTITUTIONS - tolerance - (answer is RiderAnswer.SILENT)
    return FreeRideOutcome(
        answer=answer,
        own=_precision(study, model, honest[-1:]),
        others=_precision(study, model, honest[:-1]),
        alone=_precision(study, _alone(plan, honest[-1]), honest[-1:]),
        apart=apart,
        accused=apart > float(norm.isf(ACCUSES / 4)),  # two counts, two sides
        noise=math.sqrt(hiding / (INSTITUTIONS - tolerance)),
        copies=2 if answer is RiderAnswer.COPIED else 1,
    )


def _given(study: Study, honest: list[StudySums], answer: RiderAnswer, seed: int) -> StudySums:
    """Return the sums that the rider answers with."""
    own = _units(honest[-1])
    held = np.arange(len(own)) < len(honest[-1].holdout)
    match answer:
        case RiderAnswer.HONEST:
            return honest[-1]
        case RiderAnswer.COPIED:
            return honest[0]
        case RiderAnswer.INVENTED:
            generator = np.random.default_rng([seed, STREAM - 1])
            levels = generator.integers(0, LEVELS, own.positions.shape).astype(np.uint16)
            cases = (generator.uniform(size=len(own)) < PREVALENCE).astype(np.uint8)
            return StudySums.prepare(study, EncodedUnits(levels, cases), held)
        case _:
            nobody = np.zeros(len(own), dtype=np.bool_)
            return StudySums.prepare(study, own.select(nobody), held[:0])


def _units(sums: StudySums) -> EncodedUnits:
    """Return an institution's own units, held-out ones first."""
    training = [sums.training.data] if isinstance(sums.training, AdditiveSums) else []
    return concatenate([sums.holdout, *training])


def _shares(plan: Plan, kind: ReleaseKind, seed: int, *, silent: bool) -> Iterator[Vector]:
    """Yield everybody's noise on releases of a kind, one after the other."""
    terms, tolerance = plan.terms(kind), plan.study.privacy.collusion_tolerance
    share = terms.share(INSTITUTIONS, tolerance) * terms.gamma
    offset = STREAM * (kind is ReleaseKind.EVALUATION)
    draws = INSTITUTIONS - silent
    streams = [noise_stream(seed, offset + index) for index in range(draws)]
    while True:
        parts = [stream.normal(0.0, share, terms.vectors.entries) for stream in streams]
        yield np.sum(parts, axis=0)


def _trained(plan: Plan, given: list[StudySums], seed: int, *, silent: bool) -> Vector:
    study, bits = plan.study, plan.training.vectors.gamma_bits
    state, noise = initial_state(study), _shares(plan, ReleaseKind.TRAINING, seed, silent=silent)
    for _ in range(study.training.steps):
        exact = np.sum([one.training.gradient_sum(state.parameters) for one in given], axis=0)
        state = next_state(plan, state, np.ldexp(exact.astype(np.float64), -bits) + next(noise))
    return delivered_state(study, state).model


def _alone(plan: Plan, own: StudySums) -> Vector:
    trainer = Trainer(plan, {"own": own.training}, {"own": own.training_count}, 0)
    return trainer.train(Baseline.ALONE)["own"]


def _apart(plan: Plan, given: list[StudySums], seed: int, *, silent: bool) -> float:
    """Return how far released counts are from what the study says, in standard deviations."""
    study, terms = plan.study, plan.evaluation
    start = initial_state(study).parameters  # totals are the same under any model
    table = np.sum([one.vector(ReleaseKind.EVALUATION, start) for one in given], axis=0)
    counts = np.ldexp(table.astype(np.float64), -COUNT_GAMMA_BITS)
    counts += next(_shares(plan, ReleaseKind.EVALUATION, seed, silent=silent))
    noise = terms.noise_on_sum(INSTITUTIONS, study.privacy.collusion_tolerance)
    cells, held, split = len(counts), study.holdout_units, 1 - study.evaluation.holdout
    cases = held * study.records.prevalence
    return max(
        abs(float(counts.sum()) - held)
        / math.hypot(noise * math.sqrt(cells), math.sqrt(held * split)),
        abs(float(counts[cells // 2 :].sum()) - cases)
        / math.hypot(noise * math.sqrt(cells / 2), math.sqrt(cases * split)),
    )


def _precision(study: Study, model: Vector, parts: list[StudySums]) -> float:
    held = concatenate([one.holdout for one in parts])
    scores = model_for(study).scores(model, held)
    told = measure(held.labels, chances(scores), study.evaluation.alert_budget)
    return float(told["average_precision"] or 0.0)


# -- over several worlds --------------------------------------------------------------------------


@cache
def _runs(answer: RiderAnswer, seeds: int) -> tuple[FreeRideOutcome, ...]:
    return tuple(ridden(answer, seed=seed) for seed in range(seeds))


def free_riders(seeds: int) -> Iterator[Finding]:
    """Yield what each answer comes to, over so many worlds and noises.

    Intervals are Student's over worlds, of differences in the same world; with one world there are
    none. The accused have none: they are counted.
    """
    honest = _runs(RiderAnswer.HONEST, seeds)
    for answer in RiderAnswer:
        runs = _runs(answer, seeds)
        first = runs[0]
        plan = plan_for(poisoned_study())
        costs = plan.epsilon(plan.mu2 * first.copies**2 / first.noise**2)
        yield Finding(
            attack=f"free-rider, {answer.value}",
            figures=(
                _mean("AP for the rider", [one.own for one in runs]),
                _mean("gain over alone", [one.own - one.alone for one in runs]),
                _mean(
                    "cost to the others",
                    [was.others - one.others for was, one in zip(honest, runs, strict=True)],
                ),
                MeasuredFigure(
                    name="accused by counts", value=sum(one.accused for one in runs) / seeds
                ),
                _mean("counts apart, in sigma", [one.apart for one in runs]),
                MeasuredFigure(name="noise that is left, of what is owed", value=first.noise),
                MeasuredFigure(name="epsilon of a unit, promised 1", value=costs),
            ),
            sees="what one of ten gains and costs, and whether released totals show that it gave "
            "nothing",
            misses="who it is: single sums are never read; a rider whose inventions look like "
            "cases is a poisoner (attack poisoning)",
            source=SOURCE,
        )


def _mean(name: str, values: list[float]) -> MeasuredFigure:
    """Return a mean over worlds with Student's 95 % interval; none of one world."""
    value, count = float(np.mean(values)), len(values)
    if count == 1:
        return MeasuredFigure(name=name, value=value)
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return MeasuredFigure(name=name, value=value, interval=(value - half, value + half))
