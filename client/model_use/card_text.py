"""A model card for a terminal: the facts that a person needs before using a model."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from fieldfare.shared.evaluation.groups import group_lines
from fieldfare.shared.evaluation.metrics import guard_line
from fieldfare.shared.evaluation.score_map import score_map
from fieldfare.shared.finished_model.card import (
    CardInterval,
    FeatureCard,
    ModelCard,
    ReleasedMetrics,
)
from fieldfare.shared.finished_model.card_page import STATED
from fieldfare.shared.pages.words import decimals, odds_factor, percent, signed
from fieldfare.shared.terminal.screen import facts
from fieldfare.shared.terminal.texts import plain, short

MOST_FEATURES = 12  # the page has all


def card_text(card: ModelCard, figures: str = STATED) -> RenderableType:
    """Return the card for a terminal; strangers' words lose characters that move a cursor.

    Args:
        card: of a kept model.
        figures: what its metrics rest on, in words (`card_checks`).
    """
    rows = (
        ("" if index else topic, line)
        for topic, lines in _rows(card, figures)
        for index, line in enumerate(lines)
    )
    return Group(Text(f"{plain(card.name)}, run {card.run}", style="bold"), Text(), facts(rows))


def _rows(card: ModelCard, figures: str) -> list[tuple[str, Sequence[str]]]:
    data = card.data
    return [
        ("finished", [card.finished]),
        ("conditions", card.conditions),
        ("purpose", [card.purpose]),
        ("prohibited", card.prohibited_uses or ["nothing is named"]),
        ("quality", _quality(card.metrics, figures)),
        *_start(card),
        *_groups(card),
        (
            "trained on",
            [
                (
                    f"records of {card.participation.institutions} institutions; planned for "
                    f"{data.units:,} units, {percent(data.prevalence)} of them labelled"
                )
            ],
        ),
        ("inputs", _features(card)),
        ("privacy", _privacy(card)),
        ("limits", card.limits),
        ("fairness", card.fairness),
        ("verify", card.verification.how),
        ("parameters", [card.model.parameters]),
    ]


def _quality(metrics: ReleasedMetrics | None, figures: str) -> list[str]:
    if metrics is None:
        return ["hidden by noise: measure it on your own hold-out"]
    budget = percent(metrics.alert_budget)
    return [
        f"AUROC {_interval(metrics.auroc)}",
        f"average precision {_interval(metrics.average_precision)}",
        (
            f"of {budget} reviewed: precision {_interval(metrics.precision)}, "
            f"recall {_interval(metrics.recall)}"
        ),
        *_meaning(metrics),
        f"these figures: {figures}",
    ]


def _meaning(metrics: ReleasedMetrics) -> tuple[str, ...]:
    found = score_map(metrics.model_dump())
    return found.lines if found else ()


def _start(card: ModelCard) -> list[tuple[str, Sequence[str]]]:
    if card.start is None:
        return []
    one = card.start
    made = f"{one.name} ({one.generator}, seed {one.seed}; SHA-256 {one.hash})"
    return [("start", [made, guard_line(one.model_dump())])]


def _groups(card: ModelCard) -> list[tuple[str, Sequence[str]]]:
    if card.groups is None:
        return []
    return [("groups", group_lines(card.groups.model_dump(mode="json")))]


def _interval(rate: CardInterval) -> str:
    return f"{decimals(rate.value)} ({decimals(rate.low)} to {decimals(rate.high)})"


def _features(card: ModelCard) -> list[str]:
    ranked = sorted(card.features, key=lambda one: (one.lowest - one.highest, one.name))
    lines = [
        f"{_named(one)}: {signed(one.lowest, 2)} to {signed(one.highest, 2)} log-odds"
        for one in ranked[:MOST_FEATURES]
    ]
    more = len(ranked) - MOST_FEATURES
    return [*lines, f"{more} more on the page"] if more > 0 else lines


def _named(one: FeatureCard) -> str:
    return f"{one.name} ({one.computed})" if one.computed else one.name


def _privacy(card: ModelCard) -> list[str]:
    privacy = card.privacy
    bare = privacy.epsilon_if_masks_fail
    left = "nothing" if bare is None else f"epsilon {short(bare)}"
    return [
        (
            f"epsilon {short(privacy.epsilon)}, delta {short(privacy.delta)} for one "
            f"{privacy.unit}'s own records, there or not: odds change at most "
            f"{odds_factor(privacy.epsilon)} times"
        ),
        (
            f"one {privacy.unit} may be known to {privacy.multiplicity} of the institutions, which "
            f"nobody counts; to one known to {privacy.multiplicity + 1} the promise is epsilon "
            f"{short(privacy.epsilon_beyond())}"
        ),
        f"spent by this run: epsilon {short(privacy.epsilon_spent)}",
        (
            f"{privacy.collusion_tolerance} of the institutions may collude; if every mask failed, "
            f"{left} would be left"
        ),
    ]
