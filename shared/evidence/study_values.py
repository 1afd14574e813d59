"""What a pack's texts may fill in of a study and its loss: figures, and words for them."""

import math
from statistics import NormalDist
from typing import Any, Final

from fieldfare.shared.evidence.facts import EvidenceFacts
from fieldfare.shared.evidence.loss import (
    LossAt,
    PrivacyLoss,
    loss_at,
    privacy_loss,
)
from fieldfare.shared.features.features import CategoricalFeature
from fieldfare.shared.pages.words import covers, number, percent, unit_words
from fieldfare.shared.privacy.delta import UNITS_PER_DELTA, delta_for, largest_delta
from fieldfare.shared.protocol.plan import PICOMU2, Plan, ReleaseTerms
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import counted, short

WINDOW_DAYS: Final = 365  # of every ledger's first limit
GROUP_SIZES: Final = (100, 1000, 10_000)
HIDDEN: Final = 0.1  # noise of more than this share of a group hides what is said of it
SURE: Final = 0.95
Z95: Final = NormalDist().inv_cdf((1 + SURE) / 2)
MOST_FEATURES: Final = 40  # shown
BITS: Final = 8


def study_values(study: Study) -> dict[str, Any]:
    """Return what is said of a study: everybody signed it, and nothing in it is a record's."""
    one, several = unit_words(study.records.unit)
    privacy, aggregation = study.privacy, study.aggregation
    return {
        "id": study.id,
        "name": study.name,
        "purpose": study.purpose,
        "prohibited": list(study.prohibited_uses),
        "prohibited_count": len(study.prohibited_uses),
        "unit": study.records.unit or "",
        "unit_word": one,
        "units_word": several,
        "units": study.records.units,
        "units_text": f"{study.records.units:,}",
        "label": study.records.label,
        "positive": study.records.positive,
        "prevalence": study.records.prevalence,
        "holdout": study.evaluation.holdout,
        "alert_budget": study.evaluation.alert_budget,
        "covers": covers(study.records.left_out_banks),
        "features": [_feature(feature) for feature in study.features[:MOST_FEATURES]],
        "features_more": max(0, len(study.features) - MOST_FEATURES),
        "features_left_out": len(study.features) > MOST_FEATURES,
        "reads": _reads(study),
        "groups": [one.column for one in study.groups],
        "questions": [f"{one.name} ({one.kind})" for one in study.queries],
        "allowance": study.allowance is not None,
        "trains": study.trains,
        "model": study.model.kind,
        "steps": study.training.steps,
        "local": study.training.local,
        "start": study.training.start or "",
        "asks_for_knots": study.asks_for_knots,
        "clip": privacy.clipping_norm,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "delta_text": f"{privacy.delta:g}",
        "tolerance": privacy.collusion_tolerance,
        "multiplicity": privacy.multiplicity,
        "multiplicity_words": counted(privacy.multiplicity, "unit per person", "units per person"),
        "minimum": aggregation.minimum_institutions,
        "attempts": aggregation.attempts,
        "fixed": aggregation.fixed,
        "left_out_banks": list(study.records.left_out_banks),
        "window_days": WINDOW_DAYS,
        "settings": _settings(study),
    }


def _reads(study: Study) -> str:
    """Return what is read of each unit: features and columns, or a column of texts or vectors."""
    found = [counted(len(study.features), "feature")] if study.features else []
    if study.rows is not None:
        found = [f"column {study.rows.column}, as {study.rows.kind}"]
    if study.columns:
        found.append(counted(len(study.columns), "further column"))
    return " and ".join(found) or "no column beside"


def _feature(feature: Any) -> dict[str, Any]:
    if isinstance(feature, CategoricalFeature):
        said = f"{counted(len(feature.levels), 'public level')}"
        return {"name": feature.name, "kind": "levels", "said": said, "tag": feature.tag.value}
    bounds = f"{number(feature.lower)} to {number(feature.upper)}"
    said = f"{bounds}, {counted(len(feature.knots), 'knot')}"
    return {"name": feature.name, "kind": "number", "said": said, "tag": feature.tag.value}


def _settings(study: Study) -> str:
    """Return the settings of training in one line, by the names of the study's own sections."""
    if not study.trains:
        return f"{counted(len(study.queries), 'question')}, nothing is trained"
    training = study.training
    parts = [f"model {study.model.kind}", f"{counted(training.steps, 'step')}"]
    if training.local:
        parts.append(
            f"{training.local_steps} steps inside each, local rate {training.local_rate:g}"
        )
    else:
        parts.append(f"learning rate {training.learning_rate:g}")
    parts.append(f"clipping norm {study.privacy.clipping_norm:g}")
    if study.geometry is not None:
        parts.append(f"{study.geometry.kind} coordinates from private moments")
    if study.training.start:
        parts.append(f"from the public start {study.training.start}")
    return ", ".join(parts)


# -- loss -----------------------------------------------------------------------------------------


def loss_values(facts: EvidenceFacts) -> dict[str, Any]:
    """Return the privacy-loss statement's figures."""
    plan, count = facts.plan, facts.institutions
    found = privacy_loss(plan, facts.spent, count)
    beyond = (
        plan.mu2 * ((plan.study.privacy.multiplicity + 1) / plan.study.privacy.multiplicity) ** 2
    )
    return {
        "planned": _at(found.planned),
        "spent": _at(found.spent),
        "spent_of": _spent_of(facts),
        "unmasked": _at(found.unmasked),
        "unmasked_spent": _at(found.unmasked_spent),
        "beyond": _at(loss_at(beyond, found.deltas)),
        "forms": _forms(plan, found),
        "beside": [
            {
                "colluders": one.colluders,
                "within": one.within,
                "mu": one.planned.mu,
                "planned": one.planned.epsilons[0],
                "spent": one.spent.epsilons[0],
            }
            for one in found.beside
        ],
        "times": [
            {
                "times": count,
                "within": count <= plan.study.privacy.multiplicity,
                "mu": one.mu,
                "planned": one.epsilons[0],
            }
            for count, one in found.times
        ],
        "kinds": [_kind(terms) for terms in plan.releases],
        "releases": sum(terms.steps for terms in plan.releases),
        "institutions": [
            {
                "name": name,
                "releases": facts.releases_by.get(name, ""),
                "mu2": cost / PICOMU2,
                "epsilon": _epsilon(cost, plan),
                "at_most": _epsilon(facts.asked_by.get(name, cost), plan),
            }
            for name, cost in facts.spent_by.items()
        ],
    }


def _at(loss: LossAt) -> dict[str, Any]:
    return {"mu2": loss.mu2, "mu": loss.mu, "rho": loss.rho, "epsilon": loss.epsilons[0]}


def _epsilon(cost: int, plan: Plan) -> float:
    return plan.epsilon(cost / PICOMU2) if cost else 0.0


def _spent_of(facts: EvidenceFacts) -> str:
    if facts.own is not None:
        lost = ", and by releases that its ledger lost and counts as spent" if facts.lost else ""
        return f"by {facts.maker} in all runs of the study so far{lost}"
    if facts.report is None:
        return "no transcript was given: nothing is known to be spent"
    return "at most, by the institution that spent most in this run; other runs add to it"


def _forms(plan: Plan, found: PrivacyLoss) -> list[dict[str, Any]]:
    limit = largest_delta(plan.study.records.units)
    rows = []
    for index, delta in enumerate(found.deltas):
        why = "often used"
        if delta == limit:
            why = f"one over {UNITS_PER_DELTA} times the number of units, which it should be below"
        if index == 0:
            why = "the study's own"
        rows.append(
            {
                "delta": delta,
                "delta_text": f"{delta:.4g}",
                "why": why,
                "planned": found.planned.epsilons[index],
                "spent": found.spent.epsilons[index],
            }
        )
    return rows


def _kind(terms: ReleaseTerms) -> dict[str, Any]:
    return {
        "kind": terms.kind.value,
        "side": {"all": "all units", "training": "training", "holdout": "hold-out"}[
            terms.side.value
        ],
        "steps": terms.steps,
        "spare": terms.spare,
        "sigma": terms.sigma,
        "norm": terms.vectors.clipping_norm,
        "mu2": terms.mu2,
    }


def delta_values(study: Study) -> dict[str, Any]:
    """Return whether the study's delta is small enough for its number of units."""
    limit = largest_delta(study.records.units)
    fits = study.privacy.delta < limit
    word = "below" if fits else "NOT below"
    return {
        "limit": limit,
        "limit_text": f"{limit:.3g}",
        "fits": fits,
        "word": word,
        "rule": delta_for(study.records.units),
        "rule_text": f"{delta_for(study.records.units):g}",
        "units": study.privacy.delta * study.records.units,
    }


def noise_values(facts: EvidenceFacts) -> dict[str, Any]:
    """Return how noise on a count stands against the size of a group."""
    plan, study = facts.plan, facts.plan.study
    terms = plan.fairness if plan.fairness.cost else plan.evaluation
    terms = terms if terms.cost else (plan.query if plan.query.cost else plan.allowance)
    sigma = terms.noise_on_sum(facts.institutions, study.privacy.collusion_tolerance)
    if plan.fairness.cost:  # a unit counts in each grouping as one over the root of their number
        sigma *= math.sqrt(len(study.groups))
    half = Z95 * sigma
    least = math.ceil(half / HIDDEN)
    several = unit_words(study.records.unit)[1]
    words = (
        f"A released count carries noise with a standard deviation of {short(sigma)}: a "
        f"group of fewer than {least:,} {several} there cannot be counted to within "
        f"{percent(HIDDEN)} (in {percent(SURE)} of cases), so that what happens to it stays hidden."
    )
    rows = [{"size": f"{size:,}", "share": half / size} for size in GROUP_SIZES]
    return {
        "sigma": sigma,
        "least": least,
        "least_text": f"{least:,}",
        "words": words,
        "rows": rows,
    }


def size_values(plan: Plan) -> dict[str, Any]:
    """Return the bytes of each kind of masked vector: public, for they follow from the study."""
    rows: list[dict[str, Any]] = [
        {
            "kind": terms.kind.value,
            "entries": terms.vectors.entries,
            "bytes": terms.vectors.entries * terms.word_bits.value // BITS,
            "releases": terms.steps + terms.spare,
        }
        for terms in plan.releases
    ]
    for one in rows:
        one["bytes_text"] = f"{one['bytes']:,}"
    words = ", ".join(f"{one['kind']} {one['bytes']:,} bytes" for one in rows)
    return {"rows": rows, "words": words}


def weaker_values(facts: EvidenceFacts) -> dict[str, Any]:
    """Return the promises of the study that are weaker than the first one, each by itself."""
    study, plan = facts.plan.study, facts.plan
    bare = plan.epsilon_if_masks_fail(facts.institutions)
    items = [f"with every mask broken, epsilon {short(bare)} in place of {short(plan.epsilon())}"]
    if not study.records.left_out_banks:
        items.append(
            "what statements of others say of the same person, as payer or payee, is not covered"
        )
    if study.training.local:
        items.append("in local mode all of the noise is on each institution's own sums")
    if not study.aggregation.fixed:
        items.append(
            "sums may be of different institutions: two of them tell one institution's own, to "
            "within the noise"
        )
    items.append("who takes part, and facts about whole groups, are not hidden")
    return {"items": items, "words": "; ".join(items)}
