"""Writes a model card from a plan, parameters and the facts of a run; and back, to check one.

Everything in a card follows from the study, the parameters and a few facts about the run.
Whoever has the first two recomputes the card, so a coordinator cannot misstate the promise,
the price or the features: only the facts about the run are its word, and the transcript's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fieldfare.shared.errors import AccountingError, ProtocolError
from fieldfare.shared.evaluation.metrics import same_metrics
from fieldfare.shared.features.basis import Basis
from fieldfare.shared.features.features import CategoricalFeature, Feature, computed_words
from fieldfare.shared.finished_model.card import (
    DataCard,
    FeatureCard,
    ModelCard,
    ModelFacts,
    Participation,
    PrivacyCard,
    ReleasedGroups,
    ReleasedMetrics,
    StartCard,
    Verification,
    canonical_json,
    plain_json,
)
from fieldfare.shared.finished_model.file import layout_hash
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.models import slot_values
from fieldfare.shared.models.vector_network import VectorLayers
from fieldfare.shared.pages.words import covers
from fieldfare.shared.protocol.messages import parameters_hash, parameters_to_bytes
from fieldfare.shared.protocol.plan import PICOMU2, Plan
from fieldfare.shared.study.model_sections import MlpSection, RowSection, VectorSection
from fieldfare.shared.study.study import MAX_INSTITUTIONS, Study

NOISE: Final = (
    "discrete Gaussian from an exact sampler, drawn in shares by the institutions: the honest "
    "shares of every sum add up to at least sigma"
)
LOCAL_NOISE: Final = (
    "discrete Gaussian from an exact sampler: {steps} steps of training inside each institution "
    "come before each reply, and each of their sums carries all of sigma, whoever else colludes; "
    "the evaluation's is drawn in shares that add up to at least sigma"
)
MASKS: Final = (
    "every reply carries masks that cancel in the sum and in nothing else; they rest on keys of "
    "each pair of institutions (X25519 and ML-KEM-768)"
)
FEATURES_FROM: Final = (
    "bounds, knots and levels are public constants of the study, never read off records; the "
    "curves are the model itself, drawn on them"
)
KNOTS_FROM: Final = (
    "bounds and levels are public constants of the study, never read off records; knots follow "
    "from the private answers to its questions, whose cost is in the promise; the curves are the "
    "model itself, drawn on them"
)
NETWORK_FROM: Final = (
    "bounds, knots and levels are public constants of the study, never read off records; each "
    "curve shows what a feature adds alone: in this network they act together"
)
ROWS_FROM: Final = {
    "text": (
        "texts are hashed into public buckets where they are read, and go no further; no "
        "vocabulary is learned or shown, and many words share a bucket"
    ),
    "vector": (
        "vectors were made by the institutions' own tools and never leave; what one entry means "
        "is known to the tool alone"
    ),
}
FALSE_SUMS: Final = (
    "A member could have sent false sums, and nobody can say afterwards who it was. Try the model \
on your own hold-out before anyone relies on it."
)
LIMITS: Final = (
    "Labels are reports and findings, not the truth: cases that nobody found count as none, and \
some that were reported are none.",
    "Small bends of a curve may be noise, most of all at levels and values that few units have.",
    "It was trained on the institutions' records of their time; rankings age as patterns change.",
    FALSE_SUMS,
    "Neither false positives of look-alikes nor those of protected groups were measured across \
institutions: measure both on your own records before use.",
    HARM_RULES[6],
)
GROUPS_MEASURED: Final = (
    "False positives by group were counted with noise, over the hold-outs, at one score for all \
institutions: measure them, and those of look-alikes, on your own records and at your own budget \
before use."
)
RECOMPUTES: Final = (
    "fieldfare institution verify FILE: recomputes the model from the coordinator's transcript \
and finds your own replies in it."
)
FORMER: Final = {  # sentences of earlier versions, whose cards are read; what they say now
    "A member could have sent false sums: signatures give the blame, nothing prevents it. Try \
the model on your own hold-out before anyone relies on it.": FALSE_SUMS,
    "fieldfare institution transcript verify FILE: recomputes the model from the coordinator's \
transcript and finds your own replies in it.": RECOMPUTES,
}
HOW: Final = (
    RECOMPUTES,
    "The parameters' SHA-256 above is that of the last model record in the transcript, and of \
the float64 values in model.safetensors.",
    "The first leaves of the transcript, as many as the size above says, have the root above.",
)
GUARD_FOUND: Final = {"taken", "gain", "sigma"}  # the rest of a start is the study's
CLOSE: Final = 1e-6  # relative: another machine's logarithm may differ in the last bits


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The facts of a run that its card states.

    Attributes:
        run: the run's id.
        roster: hash of the roster that it ran under.
        institutions: how many took part.
        steps: training steps that were taken.
        spent: 1e-12 mu^2 debited by the institution that answered most in this run.
        failed_attempts: sums that were asked for again.
        metrics: released by the evaluation (`evaluate`); None where noise hid it.
        groups: how alerts fall on groups (`read_fairness`); None where the study has none.
        guard: what the guard of a public start found (`read_guard`); None without a start.
        transcript_size: leaves of the transcript so far, the model's record included.
        transcript_root: its RFC 6962 root at that size, hex.
    """

    run: str
    roster: str
    institutions: int
    steps: int
    spent: int
    failed_attempts: int
    metrics: Mapping[str, Any] | None
    transcript_size: int
    transcript_root: str
    groups: Mapping[str, Any] | None = None
    guard: Mapping[str, Any] | None = None


def write_card(
    plan: Plan, parameters: NDArray[np.float64], facts: CardFacts, at: datetime
) -> ModelCard:
    """Write the card of a finished model.

    Args:
        plan: of the study.
        parameters: float64 (entries,), the averaged model.
        facts: about the run.
        at: when it finished, with a time zone.
    """
    study = plan.study
    return ModelCard(
        study=study.id,
        name=study.name,
        run=facts.run,
        finished=at.astimezone(UTC).isoformat(timespec="seconds"),
        purpose=study.purpose,
        prohibited_uses=study.prohibited_uses,
        conditions=HARM_RULES[:3],
        participation=Participation(
            institutions=facts.institutions,
            minimum=study.aggregation.minimum_institutions,
            roster=facts.roster,
        ),
        data=_data(plan),
        model=ModelFacts(
            kind=study.model.kind,
            entries=len(parameters),
            steps=facts.steps,
            bias=float(parameters[0]),
            parameters=parameters_hash(parameters_to_bytes(parameters)),
            layout=layout_hash(study),
        ),
        features=_features(plan, parameters),
        features_from=_features_from(study),
        privacy=_privacy(plan, facts),
        metrics=None if facts.metrics is None else ReleasedMetrics.model_validate(facts.metrics),
        groups=None if facts.groups is None else ReleasedGroups.model_validate(facts.groups),
        start=_start(study, facts),
        limits=(
            f"The promise of privacy has limits. {covers(study.records.left_out_banks)}",
            *LIMITS[:-2],
            LIMITS[-2] if facts.groups is None else GROUPS_MEASURED,
            LIMITS[-1],
        ),
        fairness=HARM_RULES[3:5],
        verification=Verification(
            size=facts.transcript_size,
            root=facts.transcript_root,
            failed_attempts=facts.failed_attempts,
            how=HOW,
        ),
    )


def _start(study: Study, facts: CardFacts) -> StartCard | None:
    start = study.public_start
    if start is None or facts.guard is None:
        return None
    said = {"name": study.training.start, "hash": start.hash}
    made = {"generator": start.facts.generator, "seed": start.facts.seed}
    return StartCard.model_validate({**said, **made, **facts.guard})


def check_card(card: ModelCard, plan: Plan, parameters: NDArray[np.float64]) -> None:
    """Compare a received card with the study and the parameters.

    Every sentence is a constant of the software, so that nothing of a coordinator's choice is on
    a card; the facts about the run are its word here, and are compared with a transcript
    (`check_card_facts`).

    Raises:
        ProtocolError: names the first part that the study or the model does not bear out.
    """
    aggregation = plan.study.aggregation
    if not aggregation.minimum_institutions <= card.participation.institutions <= MAX_INSTITUTIONS:
        raise ProtocolError(
            f"expected a model card with {aggregation.minimum_institutions} or more institutions, "
            f"found {card.participation.institutions}"
        )
    if card.privacy.spent > plan.study_limit:  # all runs of a study share its budget
        raise ProtocolError("expected a model card that spent no more than the study may")
    if _groups_of(card) != tuple((one.column, one.names) for one in plan.study.groups):
        raise ProtocolError("expected a model card that says how the study's groups fare")
    if (card.start is None) != (plan.study.public_start is None):
        raise ProtocolError("expected a model card that says what became of the public start")
    try:
        expected = write_card(plan, parameters, _facts_of(card), finished_at(card))
    except (ValidationError, AccountingError):
        raise ProtocolError("expected a model card that can be recomputed, found another") from None
    own, found = expected.model_dump(), card.model_dump()
    for part, name in ((found, "limits"), (found["verification"], "how")):
        part[name] = tuple(FORMER.get(one, one) for one in part[name])
    for name, value in own.items():
        if not _same(value, found[name]):
            raise ProtocolError(
                f"expected a model card whose {name} follows from the study and the model, found "
                "another: ask the coordinator why"
            )


def check_card_facts(card: ModelCard, facts: CardFacts) -> None:
    """Compare a card's statements about its run with the run's transcript.

    Args:
        card: checked against the study and the model (`check_card`).
        facts: that follow from the transcript, up to the size that the card names.

    Raises:
        ProtocolError: names the first fact that is another one.
    """
    found = _facts_of(card)
    metrics = ["" if one.metrics is None else canonical_json(one.metrics) for one in (facts, found)]
    if not same_metrics(*metrics):
        raise ProtocolError(_other_fact("metrics"))
    for name in (field.name for field in fields(CardFacts) if field.name != "metrics"):
        if not _same(plain_json(getattr(facts, name)), plain_json(getattr(found, name))):
            raise ProtocolError(_other_fact(name))


def _other_fact(name: str) -> str:
    return (
        f"expected a model card whose {name} follows from the run's transcript, found another: do "
        "not rely on it; ask the coordinator why"
    )


def _groups_of(card: ModelCard) -> tuple[tuple[str, tuple[str, ...]], ...]:
    columns = card.groups.columns if card.groups else ()
    return tuple((one.column, tuple(row.name for row in one.rows)) for one in columns)


def finished_at(card: ModelCard) -> datetime:
    """Return when the run finished.

    Raises:
        ProtocolError: no day or hour that exists.
    """
    try:
        return datetime.fromisoformat(card.finished)
    except ValueError:
        raise ProtocolError("expected a model card with a time that exists") from None


def _facts_of(card: ModelCard) -> CardFacts:
    return CardFacts(
        run=card.run,
        roster=card.participation.roster,
        institutions=card.participation.institutions,
        steps=card.model.steps,
        spent=card.privacy.spent,
        failed_attempts=card.verification.failed_attempts,
        metrics=None if card.metrics is None else card.metrics.model_dump(),
        groups=None if card.groups is None else card.groups.model_dump(),
        guard=None if card.start is None else card.start.model_dump(include=GUARD_FOUND),
        transcript_size=card.verification.size,
        transcript_root=card.verification.root,
    )


def _same(expected: Any, found: Any) -> bool:
    """Compare two parts of a card; numbers that were computed may differ in their last bits."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(_same(value, found[key]) for key, value in expected.items())
        )
    if isinstance(expected, tuple | list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    if isinstance(expected, float) and isinstance(found, float):
        return abs(expected - found) <= CLOSE * max(abs(expected), abs(found))
    return bool(expected == found)


def _data(plan: Plan) -> DataCard:
    records = plan.study.records
    return DataCard(
        unit=records.unit or "",
        label=records.label,
        positive=records.positive,
        units=records.units,
        prevalence=records.prevalence,
        holdout=plan.study.evaluation.holdout,
    )


def _features(plan: Plan, parameters: NDArray[np.float64]) -> tuple[FeatureCard, ...]:
    features, rows = plan.study.features, plan.study.rows
    if rows is not None:
        lowest, highest = _reach(rows, parameters)
        return (
            FeatureCard(
                name=rows.column,
                kind=rows.kind,
                shapes=rows.columns,
                lowest=lowest,
                highest=highest,
            ),
        )
    slices, values = Basis(features).slices(), slot_values(plan.study, parameters)
    return tuple(
        _feature(feature, values[part]) for feature, part in zip(features, slices, strict=True)
    )


def _reach(rows: RowSection, parameters: NDArray[np.float64]) -> tuple[float, float]:
    """Return the smallest and largest change of a score when one number of a row grows by 1.

    Of a network these are bounds: no hidden value rises faster than what it adds up.
    """
    if isinstance(rows, VectorSection) and rows.hidden:
        layers = VectorLayers.of(parameters, rows.hidden, rows.columns)
        most = float((np.abs(layers.heads) @ np.abs(layers.weights)).max())
        return -most, most
    return float(parameters[1:].min()), float(parameters[1:].max())


def _features_from(study: Study) -> str:
    if study.rows is not None:
        return ROWS_FROM[study.rows.kind]
    if isinstance(study.model, MlpSection):
        return NETWORK_FROM
    return KNOTS_FROM if study.asks_for_knots else FEATURES_FROM


def _feature(feature: Feature, weights: NDArray[np.float64]) -> FeatureCard:
    if isinstance(feature, CategoricalFeature):
        lower, upper, scale, shapes = None, None, None, len(feature.levels)
    else:
        lower, upper, scale = feature.lower, feature.upper, feature.scale
        shapes = len(feature.knots)
    return FeatureCard(
        name=feature.name,
        kind=feature.kind,
        lower=lower,
        upper=upper,
        scale=scale,
        shapes=shapes,
        lowest=float(weights.min()),
        highest=float(weights.max()),
        computed=computed_words(feature),
    )


def _noise(study: Study) -> str:
    if study.training.local:
        return LOCAL_NOISE.format(steps=study.training.local_steps)
    return NOISE


def _privacy(plan: Plan, facts: CardFacts) -> PrivacyCard:
    privacy = plan.study.privacy
    bare = plan.epsilon_if_masks_fail(facts.institutions)
    return PrivacyCard(
        unit=plan.study.records.unit or "row",
        relation=plan.relation.value,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        epsilon_spent=plan.epsilon(facts.spent / PICOMU2),
        planned=plan.study_limit,
        spent=facts.spent,
        collusion_tolerance=privacy.collusion_tolerance,
        multiplicity=privacy.multiplicity,
        clipping_norm=privacy.clipping_norm,
        training_sigma=plan.training.sigma,
        evaluation_sigma=plan.evaluation.sigma,
        epsilon_if_masks_fail=bare if math.isfinite(bare) else None,
        noise=_noise(plan.study),
        masks=MASKS,
    )
