"""Poisoning by one member of ten, and what each defence does about it.

    fieldfare attack poisoning [--seeds 5] [--json]

prints the table that docs/measurements/attacks.md has. Sums and noise are those of the study,
without masks and ledgers. One institution lies at every step:

- label-flip: its own records with each label turned round (Biggio et al. 2012, ICML, section 2);
- scaled-sum: a vector towards the honest model turned round, as long as its own units could make it
  (Bagdasaryan et al. 2020, AISTATS, section 4.2; decision 0015);
- loud-sum: the same, eight times as long: no honest units could give it;
- backdoor: all of its units carry a trigger and no label, so that cases with the trigger are not
  found (Gu et al. 2017, arXiv 1708.06733, section 3).

Defences:

- bound: a decoded sum that is longer than a share of units x C is refused, and the run ends;
- groups: sums of two institutions are opened, and their median is the step (Yin et al. 2018, ICML,
  arXiv 1803.01498, algorithm 1). IN SIMULATION ONLY: such a sum hides one institution behind one
  other, and no deployed study has it;
- gate: every tenth step is measured on hold-outs, with noise; where a model is worse than the best
  before, by more than two sigma of both, the run ends and that one is delivered. The looks cost
  what training costs, of the other side's units, so a study's price is the same. The liar lies
  here, too.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.sums.study_sums import StudySums, count_cells
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.score_table import inner_edges
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.protocol.plan import COUNT_GAMMA_BITS, Plan, plan_for
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.run.replay import delivered_state, initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.finding import Finding, MeasuredFigure
from fieldfare.simulations.federation.federation import noise_stream
from fieldfare.simulations.metrics import alerts, chances, measure

INSTITUTIONS: Final = 10
UNITS: Final = 30_000
FEATURES: Final = 12
LEVELS: Final = 8
TRIGGER: Final = LEVELS - 1  # a rare level of the first feature
PREVALENCE: Final = 0.05
STEPS: Final = 60
GROUP: Final = 2
GATE_STEPS: Final = 10
PLAUSIBLE: Final = 0.35  # of units x C: the first honest sum of this population has .29
LOUD: Final = 8.0
SIGMAS: Final = 2.0  # of a look's noise: by less, a model is not worse than the best before
REDRAWN: Final = 50
GATE_STREAM: Final = 2**19

Vector = NDArray[np.float64]


class MemberLie(Enum):
    """What the liar does."""

    HONEST = "honest"
    LABEL_FLIP = "label-flip"
    SCALED_SUM = "scaled-sum"
    LOUD_SUM = "loud-sum"
    BACKDOOR = "backdoor"


class Defence(Enum):
    """What is done about it."""

    NONE = "none"
    BOUND = "bound"
    GROUPS = "groups"
    GATE = "gate"


@dataclass(frozen=True)
class PoisoningOutcome:
    """What came of one run.

    Attributes:
        precision: average precision on the honest institutions' hold-outs.
        found: share of their cases found at the alert budget.
        hidden: the same, had each of them carried the trigger.
        stopped: the step at which a sum was refused, or after which all was rolled back; None.
    """

    poison: MemberLie
    defence: Defence
    precision: float
    found: float
    hidden: float
    stopped: int | None


@dataclass(frozen=True, eq=False)
class PoisonedFederation:
    """A federation with one liar, the last.

    Attributes:
        plan: of the study.
        honest: every institution's sums as they are.
        liar: the last one's sums with the records that it makes up.
        target: where a scaled sum wants the model; None for other lies.
        seed: of all noise.
        reach: length of a scaled sum, in what the liar's own units could give.
    """

    plan: Plan
    honest: Sequence[StudySums]
    liar: StudySums
    target: Vector | None
    seed: int
    reach: float = 1.0

    def parts(self, parameters: Vector) -> list[Vector]:
        """Return each institution's sum for a step, before noise, in its own unit."""
        bits = self.plan.training.vectors.gamma_bits
        parts = [
            np.ldexp(one.training.gradient_sum(parameters).astype(np.float64), -bits)
            for one in (*self.honest[:-1], self.liar)
        ]
        if self.target is not None:
            away = parameters - self.target
            units = self.honest[-1].training_count
            length = self.reach * units * self.plan.training.vectors.clipping_norm
            parts[-1] = away * (length / max(float(np.linalg.norm(away)), 1e-12))
        return parts


def population(seed: int) -> EncodedUnits:
    """Return invented units with rare cases, of which few carry the trigger."""
    generator = np.random.default_rng([seed, UNITS])
    shares = np.array([*[0.99 / TRIGGER] * TRIGGER, 0.01])
    columns = [generator.choice(LEVELS, UNITS, p=shares) for _ in range(FEATURES)]
    weights = generator.normal(0, 0.8, (FEATURES, LEVELS))
    weights[0, TRIGGER] = 0.0
    odds = sum(curve[column] for curve, column in zip(weights, columns, strict=True))
    scores = np.asarray(odds) + generator.logistic(size=UNITS)
    labels = scores > np.quantile(scores, 1 - PREVALENCE)
    return EncodedUnits(np.stack(columns).astype(np.uint16), labels.astype(np.uint8))


def poisoned_study(epsilon: float = 1.0) -> Study:
    """Return the study of the table."""
    levels = [f"l{index}" for index in range(LEVELS)]
    return Study.model_validate(
        {
            "name": "poisoning",
            "purpose": "what a liar does, and what stops it",
            "records": {"label": "reported", "units": UNITS, "prevalence": PREVALENCE},
            "features": [
                {"name": f"f{index}", "kind": "categorical", "levels": levels}
                for index in range(FEATURES)
            ],
            "training": {"steps": STEPS},
            "evaluation": {"alert_budget": PREVALENCE, "score_bins": 16},
            "privacy": {"epsilon": epsilon, "delta": 1e-5},
        }
    )


def poisoned(poison: MemberLie, defence: Defence, *, seed: int = 0) -> PoisoningOutcome:
    """Train with one liar of ten under one defence."""
    study = poisoned_study()
    everybody = dealt(study, population(seed), seed)
    plan, own = plan_for(study), everybody[-1]
    honest = PoisonedFederation(plan, everybody, own, None, seed)
    setting = honest
    match poison:
        case MemberLie.LABEL_FLIP:
            setting = replace(honest, liar=_retold(study, own, _flipped))
        case MemberLie.BACKDOOR:
            setting = replace(honest, liar=_retold(study, own, _triggered))
        case MemberLie.SCALED_SUM | MemberLie.LOUD_SUM:
            reach = LOUD if poison is MemberLie.LOUD_SUM else 1.0
            target = -_trained(honest, Defence.NONE)[0]
            setting = replace(honest, target=target, reach=reach)
    parameters, stopped = _trained(setting, defence)
    return _measured(poison, defence, setting, parameters, stopped)


def dealt(study: Study, units: EncodedUnits, seed: int) -> list[StudySums]:
    """Deal units to institutions, and hold a share of each one's out."""
    owners = np.arange(len(units)) % INSTITUTIONS
    held = np.random.default_rng([seed, 1]).uniform(size=len(units)) < study.evaluation.holdout
    return [
        StudySums.prepare(study, units.select(owners == index), held[owners == index])
        for index in range(INSTITUTIONS)
    ]


def _retold(study: Study, own: StudySums, lie: Callable[[EncodedUnits], EncodedUnits]) -> StudySums:
    """Return the liar's sums over what it makes of its own units; it lies in its hold-out too."""
    if not isinstance(own.training, AdditiveSums):
        raise UsageError("expected an additive model, found another")
    units = own.training.data
    both = EncodedUnits(
        np.concatenate([lie(units).positions, lie(own.holdout).positions], axis=1),
        np.concatenate([lie(units).labels, lie(own.holdout).labels]),
    )
    held = np.arange(len(both)) >= len(units)
    return StudySums.prepare(study, both, held)


def _flipped(units: EncodedUnits) -> EncodedUnits:
    return EncodedUnits(units.positions, (1 - units.labels).astype(np.uint8))


def _triggered(units: EncodedUnits) -> EncodedUnits:
    positions = units.positions.copy()
    positions[0] = TRIGGER
    return EncodedUnits(positions, np.zeros_like(units.labels))


def _trained(setting: PoisonedFederation, defence: Defence) -> tuple[Vector, int | None]:
    """Train under a defence; returns the delivered model, and where it intervened."""
    plan, study = setting.plan, setting.plan.study
    streams = [noise_stream(setting.seed, index) for index in range(INSTITUTIONS)]
    share = plan.training.share(INSTITUTIONS, study.privacy.collusion_tolerance)
    share *= plan.training.gamma
    most = PLAUSIBLE * study.training_units * plan.training.vectors.clipping_norm
    state, best = initial_state(study), (0.5, 0.0, 0, initial_state(study))
    for step in range(study.training.steps):
        noised = [
            part + stream.normal(0.0, share, len(part))
            for part, stream in zip(setting.parts(state.parameters), streams, strict=True)
        ]
        total = _median(noised) if defence is Defence.GROUPS else np.sum(noised, axis=0)
        if defence is Defence.BOUND and float(np.linalg.norm(total)) > most:
            return delivered_state(study, state).model, step
        state = next_state(plan, state, total)
        if defence is Defence.GATE and (step + 1) % GATE_STEPS == 0:
            value, error = _looked(setting, state, step)
            if value < best[0] - SIGMAS * math.hypot(error, best[1]):
                return delivered_state(study, best[3]).model, best[2]
            best = max(best, (value, error, step + 1, state), key=lambda look: look[0])
    return delivered_state(study, state).model, None


def _median(parts: Sequence[Vector]) -> Vector:
    """Return the entries' median over sums of two institutions, as a sum of all."""
    groups = [np.sum(parts[at : at + GROUP], axis=0) for at in range(0, len(parts), GROUP)]
    return np.asarray(np.median(groups, axis=0) * len(groups), dtype=np.float64)


def _looked(setting: PoisonedFederation, state: TrainingState, step: int) -> tuple[float, float]:
    """Return the AUROC that a table of scores with noise says of a model, and its error."""
    plan, study = setting.plan, setting.plan.study
    model = delivered_state(study, state).model
    counts = np.zeros(2 * study.evaluation.score_bins)
    for one in (*setting.honest[:-1], setting.liar):
        scores = one.model.scores(model, one.holdout)
        cells = count_cells(scores, one.holdout.labels, inner_edges(study))
        counts += np.ldexp(cells.astype(np.float64), -COUNT_GAMMA_BITS)
    looks = study.training.steps // GATE_STEPS
    mu2 = plan.training.mu2 * plan.training.steps / looks
    sigma = math.sqrt(INSTITUTIONS / (INSTITUTIONS - 1) / mu2)
    drawn = noise_stream(setting.seed, GATE_STREAM + step).normal(
        0.0, sigma, (1 + REDRAWN, len(counts))
    )
    again = [_area(counts + drawn[0] + one) for one in drawn[1:]]
    return _area(counts + drawn[0]), float(np.std(again))


def _area(counts: Vector) -> float:
    """Return the AUROC of a table: units without a label by score, then those with one."""
    without, cases = np.split(counts, 2)
    below = np.concatenate([[0.0], np.cumsum(without)[:-1]]) + without / 2
    return float(cases @ below / (cases.sum() * without.sum()))


def _measured(
    poison: MemberLie,
    defence: Defence,
    setting: PoisonedFederation,
    parameters: Vector,
    stopped: int | None,
) -> PoisoningOutcome:
    study = setting.plan.study
    model, honest = model_for(study), setting.honest[:-1]
    labels = np.concatenate([one.holdout.labels for one in honest])
    scores = np.concatenate([model.scores(parameters, one.holdout) for one in honest])
    carried = np.concatenate([model.scores(parameters, _carrying(one.holdout)) for one in honest])
    budget, cases = study.evaluation.alert_budget, labels == 1
    reviewed = alerts(scores, budget)
    limit = float(scores[reviewed].min())
    told = measure(labels, chances(scores), budget)
    return PoisoningOutcome(
        poison=poison,
        defence=defence,
        precision=float(told["average_precision"] or 0.0),
        found=float(reviewed[cases].mean()),
        hidden=float((carried[cases] > limit).mean()),
        stopped=stopped,
    )


def _carrying(units: EncodedUnits) -> EncodedUnits:
    positions = units.positions.copy()
    positions[0] = TRIGGER
    return EncodedUnits(positions, units.labels)


@dataclass(frozen=True)
class DamageRow:
    """One row of the table, over all seeds.

    Attributes:
        precision, damage: mean; damage is what is missing to the honest run without defence.
        low, high: the smallest and the largest damage of a seed.
        hidden: mean share of cases with the trigger that are found.
        stopped: in how many runs the defence intervened.
    """

    poison: str
    defence: str
    precision: float
    damage: float
    low: float
    high: float
    found: float
    hidden: float
    stopped: int
    runs: int


def damage_table(seeds: int) -> Iterator[DamageRow]:
    """Yield the table's rows, each of so many worlds and noises."""
    honest = [poisoned(MemberLie.HONEST, Defence.NONE, seed=seed) for seed in range(seeds)]
    for poison in MemberLie:
        for defence in Defence:
            runs = [poisoned(poison, defence, seed=seed) for seed in range(seeds)]
            damages = [a.precision - b.precision for a, b in zip(honest, runs, strict=True)]
            yield DamageRow(
                poison=poison.value,
                defence=defence.value,
                precision=float(np.mean([one.precision for one in runs])),
                damage=float(np.mean(damages)),
                low=min(damages),
                high=max(damages),
                found=float(np.mean([one.found for one in runs])),
                hidden=float(np.mean([one.hidden for one in runs])),
                stopped=sum(one.stopped is not None for one in runs),
                runs=seeds,
            )


def damage_findings(seeds: int) -> Iterator[Finding]:
    """Yield the same table in the form of every tool here."""
    for row in damage_table(seeds):
        ends = (row.low, row.high) if seeds > 1 else None
        yield Finding(
            attack=f"poisoning, {row.poison}, defence {row.defence}",
            figures=(
                MeasuredFigure(name="AP", value=row.precision),
                MeasuredFigure(name="damage in AP [least, most]", value=row.damage, interval=ends),
                MeasuredFigure(name="found", value=row.found),
                MeasuredFigure(name="found with the trigger", value=row.hidden),
                MeasuredFigure(name="intervened", value=row.stopped / row.runs),
            ),
            sees="what one liar of ten does to the others' average precision",
            misses="two liars who know of each other",
            source="Bagdasaryan et al. 2020, AISTATS, section 4.2; Yin et al. 2018, ICML",
        )


def damage_words(row: DamageRow) -> str:
    """Return a row in the form of docs/measurements/attacks.md."""
    return (
        f"| {row.poison} | {row.defence} | {row.precision:.3f} | "
        f"{100 * row.damage:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}] | "
        f"{row.found:.2f} | {row.hidden:.2f} | {row.stopped} of {row.runs} |"
    )


def epsilon_of_group(study: Study) -> float:
    """Return what a study's training costs where sums of two institutions are opened.

    Of two shares of the noise one belongs to a colluder: one share hides the other's units.
    """
    plan, tolerance = plan_for(study), study.privacy.collusion_tolerance
    return plan.epsilon(plan.mu2 * (INSTITUTIONS - tolerance) / (GROUP - tolerance))
