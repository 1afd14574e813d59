"""The changes to policy.toml that a study needs before it can be approved.

Comments stay. Only what a person reads before is added: columns, kinds of sums, packages and the
budget. In whose company a sum may leave and the fewest units are never loosened here.
"""

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import tomlkit

from fieldfare.client.journal.entries import printable
from fieldfare.client.policy.policy import (
    EVERY_COLUMN,
    Policy,
    PolicyViolation,
    allows,
    objections,
    package_objections,
    study_columns,
    study_limit,
)
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.study.model_sections import named_class
from fieldfare.shared.study.toml import parse_toml

HUNDREDTHS: Final = 100  # epsilon is rounded up to these


@dataclass(frozen=True)
class Allowing:
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


def allowing(text: str, name: str, plan: Plan) -> Allowing:
    """Return the policy in `text` with the additions that the plan's study needs.

    Raises:
        StudyError: no policy; `name` begins every line.
    """
    policy = parse_toml(text, Policy, name)
    document = tomlkit.parse(text)
    added = (*_columns(document, policy, plan), *_kinds(document, policy, plan),
             *_packages(document, policy, plan), *_budget(document, policy, plan))  # fmt: skip
    new = tomlkit.dumps(document)
    left = objections(parse_toml(new, Policy, name), plan.study, plan, units=None)
    return Allowing(new, added, left)


def _columns(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    absent = [name for name in study_columns(plan.study) if not allows(policy, plan.study, name)]
    if absent and EVERY_COLUMN not in policy.records.columns:
        listed = document["records"]["columns"]
        listed.extend(absent)
        listed.multiline(multiline=True)
        yield f"columns: {', '.join(map(ascii, absent))}"


def _kinds(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    planned = [kind for kind in ReleaseKind if plan.terms(kind).cost > 0]
    absent = [kind.value for kind in planned if kind not in policy.releases.kinds]
    if absent:
        document["releases"]["kinds"].extend(absent)
        yield f"kinds of sums: {', '.join(absent)}"


def _packages(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
    named = named_class(plan.study.model)
    if named is not None and any(package_objections(policy, plan.study)):
        section = document.setdefault("models", tomlkit.table())
        section.setdefault("packages", tomlkit.array()).append(named)
        yield f"a class whose code runs on the records here: {named!a}"


def _budget(document: Any, policy: Policy, plan: Plan) -> Iterator[str]:
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
