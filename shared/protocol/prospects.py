"""A study's prospects, computed from public numbers alone, before anybody pays for it.

Pure: a plan goes in, lines for people come out. The coordinator says them when it proposes a
study and refuses to start a run for them; an institution says them before it approves.
"""

import math
from typing import Final

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import PICOMU2, Plan, carries_last_sum, is_recomputed

MASKS_FAIL_FACTOR: Final = 4  # times epsilon that may remain without masks, unless a policy differs
MOST_TOGETHER: Final = 1024  # institutions that are looked at
SEEN: Final = 1.96  # sigmas: below, the 95 % interval of a count holds nobody at all


def obstacles(plan: Plan, participants: int | None = None) -> tuple[str, ...]:
    """Return the reasons why a run cannot serve the study's purpose, one line each.

    Args:
        plan: of the study.
        participants: institutions that will take part; None: the study's minimum.
    """
    found = []
    if plan.study.records.unit is None:
        found.append(
            "records.unit: expected the column that names each unit, found none: institutions do "
            "not serve such a study, and nobody could use a score without a name; name it"
        )
    return (*found, *_hidden(plan, participants or plan.study.aggregation.minimum_institutions))


def cautions(plan: Plan) -> tuple[str, ...]:
    """Return the weaknesses of a study that can run all the same, one line each."""
    units, delta = plan.study.records.units, plan.study.privacy.delta
    found = []
    if delta * 2 * units > 1:
        found.append(
            f"privacy.delta = {delta:g} is above 1 / (2 x {units:,} units) = {1 / (2 * units):.3g}"
            ": the promise may fail outright for somebody; lower it"
        )
    aggregation = plan.study.aggregation
    if not aggregation.fixed:
        found.append(
            'aggregation.participants = "any": two sums in a row, with and without an institution, '
            f"tell {_told_by_two_sums(plan)}"
        )
    least = aggregation.minimum_institutions
    if plan.study.trains and not is_recomputed(plan, ReleaseKind.TRAINING, least):
        found.append(
            f"steps of {plan.training.vectors.entries:,} numbers at {least} institutions are more "
            "than a request carries: no custodian takes the last step again before it answers, "
            "and parameters of the coordinator's own are found by an audit of the transcript alone"
        )
    if plan.study.geometry and not carries_last_sum(plan, ReleaseKind.MOMENTS, least):
        found.append(
            f"moments of {plan.moments.vectors.entries:,} numbers at {least} institutions are more "
            "than a request carries: custodians take the coordinates that follow from them on the "
            "coordinator's word, until they co-sign the transcript; any are as private as any other"
        )
    return tuple(found)


def moments_line(plan: Plan) -> str:
    """Say what moments tell, and what they cost; nothing where the study has none."""
    given, terms = plan.study.geometry, plan.moments
    if given is None:
        return ""
    what = "how features go together, their means" if given.whitened else "the features' means"
    share = terms.cost * (terms.steps + terms.spare) / plan.study_limit
    return (
        f"tell, under noise, {what} and how many units train; training is then in {given.kind} "
        f"coordinates; {100 * share:.3g} % of the study's mu^2"
    )


def start_line(plan: Plan) -> str:
    """Say what a study starts from, and what its guard costs; nothing without a public start."""
    start, terms = plan.study.public_start, plan.guard
    if start is None:
        return ""
    share = terms.cost * (terms.steps + terms.spare) / plan.study_limit
    return (
        f"{plan.study.training.start}, made by {start.facts.generator} with seed "
        f"{start.facts.seed}, SHA-256 {start.hash}; what is not better beyond noise on training "
        f"units is shipped as it was; {100 * share:.3g} % of the study's mu^2"
    )


def _told_by_two_sums(plan: Plan) -> str:
    """Say what the difference of two sums tells of one institution: about sigma sqrt 2."""
    study = plan.study
    counts = plan.evaluation if plan.evaluation.cost else plan.query
    if not counts.cost:
        return "its own sum, with the noise of two"
    people = study.aggregation.minimum_institutions
    noise = counts.noise_on_sum(people, study.privacy.collusion_tolerance) * math.sqrt(2)
    return f"its own counts to about +- {noise:.3g}"


def most_together(plan: Plan, limit: float) -> int:
    """Return the most participants at which failed masks leave at most `limit`; 0: none do.

    It depends on n - t alone: one more participant needs one more colluder to be withstood.
    At most `MOST_TOGETHER`, where nothing bounds them.
    """
    low = plan.study.privacy.collusion_tolerance + 1  # n - t of 1 is no sum
    high = MOST_TOGETHER + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _bounded(plan, middle, limit) else (low, middle)
    return low if low > plan.study.privacy.collusion_tolerance + 1 else 0


def _bounded(plan: Plan, participants: int, limit: float) -> bool:
    try:
        return plan.epsilon_if_masks_fail(participants) <= limit
    except AccountingError:
        return False


def together_line(plan: Plan, limit: float) -> str:
    """Say how many may take part before failed masks leave more than `limit`, and the least t."""
    most, tolerance = most_together(plan, limit), plan.study.privacy.collusion_tolerance
    if most >= MOST_TOGETHER:
        return f"failed masks leave at most epsilon {limit:.3g}, however many take part"
    if not most:
        return f"failed masks leave more than epsilon {limit:.3g} whoever takes part"
    return (
        f"at t = {tolerance} at most {most} institutions, then failed masks leave at most epsilon "
        f"{limit:.3g}; {most + 1} need t = {tolerance + 1}, {2 * most} t = {tolerance + most}"
    )


def budget_obstacle(plan: Plan, spent: SideCosts) -> str:
    """Return why the study's own budget does not carry another whole run, or nothing.

    Args:
        plan: of the study.
        spent: by earlier runs, in 1e-12 mu^2.
    """
    run = plan.run_costs
    if spent.and_also(run).total <= plan.study_limit:
        return ""
    left = max(plan.study_limit - spent.total, 0)
    return (
        f"budget: a run costs epsilon {plan.epsilon(run.total / PICOMU2):.3g}, and earlier runs "
        f"left {plan.epsilon(left / PICOMU2) if left else 0.0:.3g} of this study's "
        f"{plan.study.privacy.epsilon:g}: institutions will refuse; resume an earlier run, or "
        "propose another study"
    )


def _hidden(plan: Plan, participants: int) -> tuple[str, ...]:
    """Say so where the hold-out's positives or negatives drown in the table's noise.

    Whoever adds up a class adds up its noise too, sigma * sqrt(bins): all released metrics are
    shares of the two classes, and where one may as well be empty they are noise themselves.
    """
    study, terms = plan.study, plan.evaluation
    if not terms.cost:
        return ()
    sigma = terms.noise_on_sum(participants, study.privacy.collusion_tolerance)
    noise = SEEN * sigma * math.sqrt(study.evaluation.score_bins)
    positives = study.holdout_units * study.records.prevalence
    name, least = min(
        ("positives", positives),
        ("negatives", study.holdout_units - positives),
        key=lambda one: one[1],
    )
    if least >= noise:
        return ()
    said = (
        f"evaluation: expected more than {noise:.0f} {name} in the hold-out, so that noise does "
        f"not hide every metric, found about {least:.0f}: raise evaluation.holdout or "
        "privacy.epsilon, or lower evaluation.score_bins"
    )
    return (said,)
