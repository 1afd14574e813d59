"""Membership inference: does a finished model tell whose records it learned from?

Members are dealt to institutions and train together; non-members are of the same population, and
nobody has them. The attacker has the model, and one record at a time:

- loss: a record with a small loss was learned from (Yeom et al. 2018, CSF, section III.B);
- LiRA: how probable its log-odds are under models that learned from it, over models that did not.
  Both are normal distributions over shadow models, each trained on a random half of all records
  (Carlini et al. 2022, S&P, arXiv 2112.03570, algorithm 1 and section VI-C: one spread for all).
  The shadow models are trained as the attacked one was, with noise of their own.

AUROC .5 is guessing. What counts for a single person is the share of members found where one or ten
of a thousand others are accused (TPR at .1 % and 1 %). Differential privacy bounds all of it; the
attack shows how far the bound is from what an attacker gets, and that it gets much where a model
was over-fitted without privacy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, rankdata

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.finding import Finding, Measured
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import LocalFederation

FALSE_POSITIVES: Final = (0.001, 0.01)
END: Final = 0.05 / 4  # of a share of members found: two ends of members, two of others
LEAST_EACH: Final = 100
LEAST_SHADOWS: Final = 4

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MembershipTask:
    """The inputs of an attack.

    Attributes:
        study: that trains.
        units: of the population; a coin makes half of them members.
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
    generator = np.random.default_rng([task.seed, len(task.units)])
    inside = generator.permutation(len(task.units)) < len(task.units) // 2
    scored = _confidence(task, _target(task, inside))
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
        lira = _finding("membership by likelihood ratio (LiRA)", ratio, inside, LIRA)
    return MembershipFinding(
        members=int(inside.sum()),
        others=int((~inside).sum()),
        loss=_finding("membership by loss", scored, inside, LOSS),
        lira=lira,
    )


LOSS: Final = "Yeom et al. 2018, CSF, section III.B; Carlini et al. 2022, S&P, section III"
LIRA: Final = "Carlini et al. 2022, S&P, arXiv 2112.03570, algorithm 1 and section VI-C"


def _finding(name: str, scores: Vector, inside: Mask, source: str) -> Finding:
    rates = [found_at(scores, inside, rate) for rate in FALSE_POSITIVES]
    return Finding(
        attack=name,
        figures=(area(scores, inside), *rates),
        sees="what this model says of records as a whole, to somebody who has the record",
        misses="attacks on single steps, which see more (`audit door`); records that are unlike "
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


def area(scores: Vector, inside: Mask) -> Measured:
    """Return the AUROC of members over others, with its 95 % interval (DeLong 1988).

    Args:
        scores: float64 (units,), higher where membership is thought more probable.
        inside: bool (units,): who is a member.
    """
    members, others = int(inside.sum()), int((~inside).sum())
    ranks = rankdata(scores)
    # Of each member the share of others below it, and of each other the share of members above.
    above = (ranks[inside] - rankdata(scores[inside])) / others
    below = 1 - (ranks[~inside] - rankdata(scores[~inside])) / members
    value = float(above.mean())
    error = math.sqrt(above.var(ddof=1) / members + below.var(ddof=1) / others)
    half = float(norm.ppf(0.975)) * error
    return Measured(
        name="AUROC", value=value, interval=(max(0.0, value - half), min(1.0, value + half))
    )


def found_at(scores: Vector, inside: Mask, rate: float) -> Measured:
    """Return the share of members found, where at most `rate` of these others are accused.

    The interval holds, at 95 % or more, the share found by a threshold that accuses `rate` of *all*
    others, which these do not tell exactly: the true share above the k-th largest of m others is
    Beta(k, m - k + 1) (David and Nagaraja 2003, "Order Statistics", section 2.5), that of members
    above a threshold has Clopper and Pearson's interval; each of four ends errs at 1.25 %.

    Args:
        scores: float64 (units,), higher where membership is thought more probable.
        inside: bool (units,): who is a member.
        rate: share of others.
    """
    others, members = np.sort(scores[~inside])[::-1], scores[inside]
    count, places = len(others), np.arange(1, len(others) + 1)
    found = int((members > others[int(rate * count)]).sum())
    surely = beta.cdf(rate, places, count - places + 1)  # that no more are above the k-th
    strict, loose = np.flatnonzero(surely >= 1 - END), np.flatnonzero(surely <= END)
    low, high = 0.0, 1.0
    if len(strict) and (above := int((members > others[strict[-1]]).sum())):
        low = float(beta.ppf(END, above, len(members) - above + 1))
    if len(loose) and (above := int((members >= others[loose[0]]).sum())) < len(members):
        high = float(beta.ppf(1 - END, above + 1, len(members) - above))
    return Measured(
        name=f"TPR at {100 * rate:g} %", value=found / len(members), interval=(low, high)
    )


def _confidence(task: MembershipTask, parameters: Vector) -> Vector:
    """Return float64 (units,): the log-odds that a model gives to each unit's own label."""
    scores = model_for(task.study).scores(parameters, task.units)
    return np.where(task.units.labels == 1, scores, -scores)


def _dealt(task: MembershipTask, inside: Mask) -> Mapping[str, StudySums]:
    owners = np.arange(len(inside)) % task.institutions
    sums = {}
    for index in range(task.institutions):
        own = task.units.select(inside & (owners == index))
        sums[f"institution-{index + 1:02d}"] = StudySums.prepare(
            task.study, own, np.zeros(len(own), dtype=bool)
        )
    return sums


def _target(task: MembershipTask, inside: Mask) -> Vector:
    """Train the attacked model: through the door where it is private."""
    if not task.private:
        return _trained(task, inside, seed=task.seed)
    sums = _dealt(task, inside)
    with LocalFederation(task.study, sums, Protection.SIMULATED, seed=task.seed) as federation:
        return federation.run(federation.job()).parameters


def _trained(task: MembershipTask, inside: Mask, *, seed: int) -> Vector:
    """Train as the attacked model is trained, without masks and ledgers."""
    sums = _dealt(task, inside)
    training = {name: one.training for name, one in sums.items()}
    counts = {name: one.training_count for name, one in sums.items()}
    turned = {name: one.turned for name, one in sums.items() if one.turned is not None}
    trainer = Trainer(plan_for(task.study), training, counts, seed, turned=turned)
    return trainer.federated() if task.private else trainer.train(Baseline.CENTRAL)[""]
