"""A policy in plain words, and the changes that a study needs in it before it can be approved.

Comments stay. Only what a person reads before is added: columns, kinds of sums, packages and the
budget. In whose company a sum may leave and the fewest units are never loosened here.
"""

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import tomlkit

from fieldfare.client.home.policy import EVERY_COLUMN, Policy, limits, study_limit
from fieldfare.client.home.policy_objections import (
    PolicyViolation,
    allows,
    objections,
    package_objections,
    study_columns,
)
from fieldfare.client.journal.entries import printable
from fieldfare.client.ledger.budget import from_picomu2
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import delta_for, epsilon_for
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.study.model_sections import named_class
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.system.first_settings import fill_toml
from fieldfare.shared.terminal.texts import folded, listed

INDENT: Final = 14
SHOWN_COLUMNS: Final = 12

SAID_OF_KINDS: Final = {"moments": "moments (how features go together, and how many units train)"}

# Beyond these a setting is said to be weak. Utility is measured at epsilon 1.
WEAK_STUDY_EPSILON: Final = 2.0
WEAK_YEARLY_EPSILON: Final = 4.0
WEAK_LIFETIME_EPSILON: Final = 10.0
WEAK_DELTA: Final = 1e-4
WEAK_UNITS: Final = 50


def policy_text(coordinator: str = "") -> str:
    """Return the file that `init` writes; `coordinator` is a checked key in hex, or empty."""
    return fill_toml("fieldfare.client.home", "policy.toml", coordinator=coordinator)


def explain(policy: Policy) -> list[str]:
    """Return the policy in plain words, one screen."""
    budget, rules = policy.budget, policy.participants
    granted = limits(policy)
    study, yearly = study_limit(policy), granted.yearly_picomu2
    lines = [
        *_said("coordinator", _coordinator(policy)),
        *_said("who decides", f"{_deciders(policy)} every study; nothing runs before"),
        *_said("one study", f"at most epsilon {budget.study_epsilon:g}"),
        *_said("any 365 days", f"at most epsilon {budget.yearly_epsilon:g}{_room(yearly, study)}"),
        *_said(
            "ever",
            f"at most epsilon {budget.lifetime_epsilon:g}{_room(granted.lifetime_picomu2, study)}",
        ),
        *_said(
            "",
            f"all at delta {budget.delta:g}. Epsilon does not add up from study to study: twice "
            "the epsilon buys more than two studies",
        ),
        *_said(
            "guessing",
            "someone who knows all else and sees everything that left guesses whether one "
            "person or case was in your records. Right by luck: 50 %. At most "
            f"{_guess(study)} after one full study, {_guess(yearly)} after a full year, "
            f"{_guess(granted.lifetime_picomu2)} ever",
        ),
        *_said(
            "company",
            f"at least {rules.minimum_honest + rules.minimum_tolerance} institutions in every sum, "
            f"of which {rules.minimum_tolerance} may collude and {rules.minimum_honest} do not",
        ),
        *_said("", _unknown_keys(policy)),
        *_said("may leave", _kinds(policy)),
        *_said("units", f"at least {policy.records.minimum_units} of your own, or no approval"),
        *_said("columns", _columns(policy)),
        *(_said("modules of", ", ".join(policy.models.packages)) if policy.models.packages else ()),
    ]
    found = list(warnings(policy))
    if not found:
        return [*lines, "", "nothing to warn of"]
    return [*lines, "", *(line for warning in found for line in folded("- ", warning))]


def _unknown_keys(policy: Policy) -> str:
    limit = policy.participants.epsilon_if_masks_fail
    shown = "4 times the study's epsilon" if limit is None else f"epsilon {limit:g}"
    return (
        "a member whose key nobody here compared counts as one that colludes; if every mask "
        f"failed, {shown} may remain at most"
    )


def warnings(policy: Policy) -> Iterator[str]:
    """Yield each unfinished or weak point with its remedy, one line each."""
    yield from _unfinished(policy)
    yield from _weak_budget(policy)
    if policy.records.columns == (EVERY_COLUMN,):
        yield 'records.columns = ["*"]: a study may read every column; list those that it needs'
    if policy.records.minimum_units < WEAK_UNITS:
        yield (
            f"records.minimum_units is below {WEAK_UNITS}: noise still protects each, but "
            "taking part shows that your few may be among them"
        )
    protected = [name for name in policy.records.columns if is_protected(name)]
    if protected:
        yield (
            f"records.columns lists {_names(protected)}: no model may use it (harm rule 4); it "
            "can only be a group whose alerts a study counts; remove it where you allow none"
        )


def _unfinished(policy: Policy) -> Iterator[str]:
    if not policy.coordinator:
        yield "coordinator is empty: no roster or study is accepted before its key is here"
    if not policy.records.columns:
        yield "records.columns is empty: no study can be approved before columns are listed"
    needed = (ReleaseKind.TRAINING, ReleaseKind.EVALUATION)
    missing = [kind.value for kind in needed if kind not in policy.releases.kinds]
    if missing:
        yield (
            f"releases.kinds lacks {' and '.join(missing)}: every study of format 1 has both, so "
            "none can be approved"
        )
    if study_limit(policy) == 0:
        yield "budget: too small for any release; raise study_epsilon or delta"


def _weak_budget(policy: Policy) -> Iterator[str]:
    budget, least = policy.budget, policy.records.minimum_units
    for name, value, weak in (
        ("study_epsilon", budget.study_epsilon, WEAK_STUDY_EPSILON),
        ("yearly_epsilon", budget.yearly_epsilon, WEAK_YEARLY_EPSILON),
        ("lifetime_epsilon", budget.lifetime_epsilon, WEAK_LIFETIME_EPSILON),
    ):
        if value > weak:
            yield f"budget.{name} = {value:g} is above {weak:g}: a weak promise; see guessing above"
    if budget.delta > WEAK_DELTA or budget.delta * least > 1:
        advised = min(WEAK_DELTA, 1 / least)
        yield (
            f"budget.delta = {budget.delta:g} is above {advised:.2g} (or 1 / minimum_units): the "
            "promise may fail for someone; lower it well below 1 / your number of units"
        )


def _deciders(policy: Policy) -> str:
    return "two persons approve" if policy.approvals.by_two else "a person approves"


def _coordinator(policy: Policy) -> str:
    if not policy.coordinator:
        return "none pinned"
    return "fingerprint " + fingerprint(bytes.fromhex(policy.coordinator))


def _room(whole: int, study: int) -> str:
    return f": room for {whole // study} studies of the largest size" if study else ""


def _guess(picomu2: int) -> str:
    """Return how often the best guesser is right, from even odds: (1 + total variation) / 2.

    Total variation is delta at epsilon 0 (Balle-Wang 2018, Theorem 8, which holds for any
    number of adaptive releases of this total).
    """
    right = (1 + delta_for(epsilon=0.0, mu2=from_picomu2(picomu2), xi=XI_LIMIT)) / 2
    # Half a digit up, so that "at most" stays true when rounded.
    return f"{min(100 * right + 0.05, 100):.1f} %"


def _kinds(policy: Policy) -> str:
    listed_kinds = (kind for kind in policy.releases.kinds if kind is not ReleaseKind.REHEARSAL)
    kinds = [SAID_OF_KINDS.get(kind.value, kind.value) for kind in listed_kinds]
    return f"noised sums for {' and '.join(kinds)}, nothing else" if kinds else "nothing"


def _columns(policy: Policy) -> str:
    columns = policy.records.columns
    if columns == (EVERY_COLUMN,):
        return "every column of your records"
    return f"{len(columns)}: {_names(columns)}" if columns else "none"


def _names(columns: tuple[str, ...] | list[str]) -> str:
    names = [name if name.isprintable() else ascii(name) for name in columns]
    return listed(names, SHOWN_COLUMNS)


def _said(topic: str, text: str) -> list[str]:
    return folded(f"{topic:<{INDENT}}", text)


HUNDREDTHS: Final = 100  # epsilon is rounded up to these


@dataclass(frozen=True)
class WiderPolicy:
    """A policy that allows more.

    Attributes:
        text: the whole file, with its comments.
        added: the added keys, one line each; empty where there are none.
        left: what the study breaks all the same, for a person to think about.
    """

    text: str
    added: tuple[str, ...]
    left: tuple[PolicyViolation, ...]

    def diff(self, before: str) -> list[str]:
        """Return the lines that change, as `-` and `+`."""
        lines = difflib.unified_diff(before.splitlines(), self.text.splitlines(), lineterm="", n=0)
        changed = (line for line in lines if not line.startswith(("---", "+++", "@@")))
        return [printable(line, len(line)) for line in changed]  # names of a study are foreign text


def allowing_columns(text: str, name: str, plan: Plan) -> WiderPolicy:
    """Return the policy in `text` with the columns that the plan's study reads, and no more.

    Raises:
        StudyError: no policy; `name` begins every line.
    """
    policy, document = parse_toml(text, Policy, name), tomlkit.parse(text)
    added = tuple(_add_columns(document, policy, plan))
    return WiderPolicy(tomlkit.dumps(document), added, ())


def allowing(text: str, name: str, plan: Plan) -> WiderPolicy:
    """Return the policy in `text` with the additions that the plan's study needs.

    Raises:
        StudyError: no policy; `name` begins every line.
    """
    policy = parse_toml(text, Policy, name)
    document = tomlkit.parse(text)
    added = (
        *_add_columns(document, policy, plan),
        *_add_kinds(document, policy, plan),
        *_add_packages(document, policy, plan),
        *_add_budget(document, policy, plan),
    )
    new = tomlkit.dumps(document)
    left = objections(parse_toml(new, Policy, name), plan.study, plan, units=None)
    return WiderPolicy(new, added, left)


def _add_columns(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    absent = [name for name in study_columns(plan.study) if not allows(policy, plan.study, name)]
    if absent and EVERY_COLUMN not in policy.records.columns:
        listed = document["records"]["columns"]
        listed.extend(absent)
        listed.multiline(multiline=True)
        yield f"columns: {', '.join(map(ascii, absent))}"


def _add_kinds(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    planned = [kind for kind in ReleaseKind if plan.terms(kind).cost > 0]
    absent = [kind.value for kind in planned if kind not in policy.releases.kinds]
    if absent:
        document["releases"]["kinds"].extend(absent)
        yield f"kinds of sums: {', '.join(absent)}"


def _add_packages(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    named = named_class(plan.study.model)
    if named is not None and any(package_objections(policy, plan.study)):
        section = document.setdefault("models", tomlkit.table())
        section.setdefault("packages", tomlkit.array()).append(named)
        yield f"a class whose code runs on the records here: {named!a}"


def _add_budget(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    if plan.study_limit <= study_limit(policy):
        return
    budget = policy.budget
    epsilon = epsilon_for(delta=budget.delta, mu2=plan.mu2, xi=XI_LIMIT)
    needed = math.ceil(epsilon * HUNDREDTHS) / HUNDREDTHS
    whole = policy.model_copy(
        update={"budget": budget.model_copy(update={"study_epsilon": needed})}
    )
    while plan.study_limit > study_limit(whole):  # what rounding down takes off a limit
        needed += 1 / HUNDREDTHS
        whole = policy.model_copy(
            update={"budget": budget.model_copy(update={"study_epsilon": needed})}
        )
    for key in ("study_epsilon", "yearly_epsilon", "lifetime_epsilon"):
        before = getattr(budget, key)
        if before < needed:
            document["budget"][key] = round(needed, 2)
            yield (
                f"{key}: {needed:.2f} where it was {before:g}: more may be learned about any one "
                f"person (epsilon at delta {budget.delta:g})"
            )
