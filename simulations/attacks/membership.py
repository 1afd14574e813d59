"""Membership inference: does a finished model tell whose records it learned from?

Members are dealt to institutions and train together; non-members are of the same population, and
nobody has them. The attacker has the model, and one record at a time:

- loss: a record with a small loss was learned from (Yeom et al. 2018, CSF, section III.B);
- LiRA: how probable its log-odds are under models that learned from it, over models that did not.
  Both are normal distributions over shadow models, each trained on a random half of all records
  (Carlini et al. 2022, S&P, arXiv 2112.03570, algorithm 1 and section VI-C: one spread for all).
  The shadow models are trained as the attacked one was, with noise of their own.

AUROC .5 is guessing. What counts for a single person is the share of members found where one or ten
of a thousand others are accused (TPR at .1 % and 1 %). Differential privacy bounds all of it, by
the ceiling beside each figure; the attack shows how far that is from what an attacker gets, and
that it gets much where a model was over-fitted without privacy.

An independent coin makes each unit a member. With exactly half of them members a unit that is in
keeps another one out, and the ceiling would be that of replacing a unit, of twice the mu.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.ceilings import area, found_at
from fieldfare.simulations.attacks.finding import Finding
from fieldfare.simulations.engines.conducting import conducted
from fieldfare.simulations.engines.one_pass import InstitutionUnits, OnePass
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import LocalFederation, noise_source

FALSE_POSITIVES: Final = (0.001, 0.01)
MOST_CUSTODIANS: Final = 50  # each is sent everybody's answers and vectors: n^2 of them
LEAST_EACH: Final = 100
LEAST_SHADOWS: Final = 4
STREAM: Final = 2**20 + 64

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MembershipTask:
    """The inputs of an attack.

    Attributes:
        study: that trains.
        units: of the population; of each a coin says whether it is a member.
        institutions: to whom members are dealt.
        shadows: models for LiRA; 0: the loss alone.
        private: trained through the door, with the study's noise; else on all records, without
            clipping and noise, as someone would who does not care.
        seed: of coins, deals and simulated noise.
    """

    study: Study
    units: EncodedUnits
    institutions: int = 3
    shadows: int = 16
    private: bool = True
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class MembershipFinding:
    """What two attacks on one model came to.

    Attributes:
        members, others: how many of each.
        loss: by the loss.
        lira: by the likelihood ratio; None without shadow models.
    """

    members: int
    others: int
    loss: Finding
    lira: Finding | None


def membership(task: MembershipTask) -> MembershipFinding:
    """Train a model, and attack it.

    Raises:
        UsageError: too few units or shadow models, or a study that asks or counts groups.
    """
    if task.study.asks or task.study.groups:
        raise UsageError("expected a study that trains and measures only, found one that asks")
    if len(task.units) < 2 * LEAST_EACH or 0 < task.shadows < LEAST_SHADOWS:
        raise UsageError(
            f"expected {2 * LEAST_EACH} units or more, and no shadow model or {LEAST_SHADOWS} or "
            f"more, found {len(task.units)} and {task.shadows}"
        )
    inside = members_of(task)
    generator = np.random.default_rng([task.seed, STREAM + 1])
    scored, mu = _confidence(task, _target(task, inside)), _mu(task)
    lira = None
    if task.shadows:
        halves = generator.permuted(
            np.tile(np.arange(len(inside)) % 2 == 0, (task.shadows, 1)), axis=1
        )
        shadows = [
            _confidence(task, _trained(task, half, seed=task.seed + 1 + index))
            for index, half in enumerate(halves)
        ]
        ratio = likelihood_ratio(scored, np.stack(shadows), halves)
        lira = _finding("membership by likelihood ratio (LiRA)", ratio, inside, mu, LIRA)
    return MembershipFinding(
        members=int(inside.sum()),
        others=int((~inside).sum()),
        loss=_finding("membership by loss", scored, inside, mu, LOSS),
        lira=lira,
    )


def members_of(task: MembershipTask) -> Mask:
    """Return bool (units,): a fair coin for each, from a stream that made no records.

    Where an invented population was drawn from the same stream, its first column said who is a
    member, and the loss found that.
    """
    generator = np.random.default_rng([task.seed, STREAM])
    return np.asarray(generator.uniform(size=len(task.units)) < 0.5)  # noqa: PLR2004


LOSS: Final = "Yeom et al. 2018, CSF, section III.B; Carlini et al. 2022, S&P, section III"
LIRA: Final = "Carlini et al. 2022, S&P, arXiv 2112.03570, algorithm 1 and section VI-C"


def _mu(task: MembershipTask) -> float:
    """Return what the delivered model costs a unit of training; inf without privacy."""
    costs = plan_for(task.study).run_costs
    return math.sqrt((costs.all + costs.training) / PICOMU2) if task.private else math.inf


def _finding(name: str, scores: Vector, inside: Mask, mu: float, source: str) -> Finding:
    rates = [found_at(scores, inside, rate, mu) for rate in FALSE_POSITIVES]
    return Finding(
        attack=name,
        figures=(area(scores, inside, mu), *rates),
        sees="what this model says of records as a whole, to somebody who has the record",
        misses="attacks on single steps, which see more (`attack door`); records that are unlike "
        "all others; a bound: only epsilon bounds every attack",
        source=source,
    )


def likelihood_ratio(scored: Vector, shadows: Vector, halves: Mask) -> Vector:
    """Return float64 (units,): the log of how much more probable a score is of a member.

    Args:
        scored: float64 (units,), the attacked model's confidence.
        shadows: float64 (models, units), that of shadow models.
        halves: bool (models, units), from which units each learned.
    """
    counts = halves.sum(axis=0)
    into = np.where(halves, shadows, 0.0).sum(axis=0) / np.maximum(counts, 1)
    out = np.where(halves, 0.0, shadows).sum(axis=0) / np.maximum(len(halves) - counts, 1)
    left = shadows - np.where(halves, into, out)
    # One spread for all units: few models do not tell each unit's own.
    freedom = max(1, left.size - 2 * left.shape[1])
    spread = max(math.sqrt(float((left**2).sum()) / freedom), 1e-12)
    both = (counts > 0) & (counts < len(halves))
    ratio = norm.logpdf(scored, into, spread) - norm.logpdf(scored, out, spread)
    return np.where(both, ratio, 0.0)


def _confidence(task: MembershipTask, parameters: Vector) -> Vector:
    """Return float64 (units,): the log-odds that a model gives to each unit's own label."""
    scores = model_for(task.study).scores(parameters, task.units)
    return np.where(task.units.labels == 1, scores, -scores)


def _owned(task: MembershipTask, inside: Mask) -> Mapping[str, EncodedUnits]:
    owners = np.arange(len(inside)) % task.institutions
    return {
        f"institution-{index + 1:04d}": task.units.select(inside & (owners == index))
        for index in range(task.institutions)
    }


def _dealt(task: MembershipTask, inside: Mask) -> Mapping[str, StudySums]:
    return {
        name: StudySums.prepare(task.study, own, np.zeros(len(own), dtype=bool))
        for name, own in _owned(task, inside).items()
    }


def _target(task: MembershipTask, inside: Mask) -> Vector:
    """Train the attacked model: through the door where it is private.

    Of more institutions than one process holds custodians of, all sums are added up in one pass,
    which leads to the same bytes (docs/engines.md).
    """
    if not task.private:
        return _trained(task, inside, seed=task.seed)
    if task.institutions > MOST_CUSTODIANS:
        return _in_one_pass(task, inside)
    sums = _dealt(task, inside)
    with LocalFederation(task.study, sums, Protection.SIMULATED, seed=task.seed) as federation:
        return federation.run(federation.job()).parameters


def _in_one_pass(task: MembershipTask, inside: Mask) -> Vector:
    """Train the same model without custodians."""
    members = [
        InstitutionUnits(
            name,
            own,
            np.zeros(len(own), dtype=np.bool_),
            noise_source(Protection.SIMULATED, seed=task.seed, stream=stream),
        )
        for stream, (name, own) in enumerate(_owned(task, inside).items())
    ]
    plan = plan_for(task.study)
    return conducted(plan, OnePass(plan, members), [one.name for one in members]).parameters


def _trained(task: MembershipTask, inside: Mask, *, seed: int) -> Vector:
    """Train as the attacked model is trained, without masks and ledgers."""
    sums = _dealt(task, inside)
    training = {name: one.training for name, one in sums.items()}
    counts = {name: one.training_count for name, one in sums.items()}
    turned = {name: one.turned for name, one in sums.items() if one.turned is not None}
    trainer = Trainer(plan_for(task.study), training, counts, seed, turned=turned)
    return trainer.federated() if task.private else trainer.train(Baseline.CENTRAL)[""]
