"""`policy.toml`: the limits that an institution sets for every study.

A study is measured against it once, when a person approves it; its budget is also the
ledger's limit at every release. Nothing here is looked at again per release that depends
on records (docs/design.md, "Refusals").
"""

import math
import re
from fractions import Fraction
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from fieldfare.client.home.layout import Home
from fieldfare.client.ledger.budget import PICOMU2_PER_MU2, Limits
from fieldfare.shared.errors import KeysError
from fieldfare.shared.features.features import Name
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import mu2_for
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.study.allowed_packages import ALLOWED_PATTERN
from fieldfare.shared.study.toml import RetiredKey, Section, load_toml
from fieldfare.shared.system.private_files import read_public

POLICY_FORMAT: Final = 1
EVERY_COLUMN: Final = "*"  # stands alone and is never a default
MAX_COLUMNS: Final = 10_000
MAX_PACKAGES: Final = 100

# Far above 2 xi, what discrete noise adds to epsilon, and far below any use.
Epsilon = Annotated[float, Field(ge=1e-6, le=100)]


class BudgetSection(Section):
    """The limits of the population's budget, as epsilon at one delta.

    Attributes:
        delta: at which all three hold.
        study_epsilon: most that one study may plan, all its runs and spare releases together.
        yearly_epsilon: most that all studies together may spend in any 365 days.
        lifetime_epsilon: most that all studies together may ever spend.
    """

    delta: float = Field(ge=1e-30, lt=0.1)
    study_epsilon: Epsilon
    yearly_epsilon: Epsilon
    lifetime_epsilon: Epsilon

    @field_validator("yearly_epsilon", "lifetime_epsilon")
    @classmethod
    def _not_below_the_part(cls, whole: float, info: ValidationInfo) -> float:
        name = "study_epsilon" if info.field_name == "yearly_epsilon" else "yearly_epsilon"
        part = info.data.get(name)
        if part is not None and whole < part:
            raise ValueError(f"expected at least {name} = {part:g}, found {whole:g}")
        return whole


class ParticipantsSection(Section):
    """In whose company a sum may leave.

    Attributes:
        minimum_honest: least n - t: participants of the smallest sum that do not collude.
        minimum_tolerance: least t: colluders that a study must withstand, beside those whose keys
            were not compared here.
        epsilon_if_masks_fail: most that may remain, at the study's delta, if every mask failed;
            None: 4 times the study's epsilon.
    """

    minimum_honest: int = Field(default=2, ge=2, le=10_000)  # docs/design.md, "Noise": n - t >= 2
    minimum_tolerance: int = Field(default=1, ge=1, le=10_000)
    epsilon_if_masks_fail: Epsilon | None = None


class ReleasesSection(Section):
    """The kinds of release that are allowed; a rehearsal sums no records and is always allowed."""

    kinds: tuple[Annotated[ReleaseKind, Field(strict=False)], ...] = Field(strict=False)


class PolicyRecords(Section):
    """The columns that a study may read.

    Attributes:
        minimum_units: fewest units of this institution at which it takes part at all.
        columns: columns by the study's names; `*` alone is every column.
    """

    minimum_units: int = Field(ge=1, le=2**40)
    columns: tuple[Name, ...] = Field(max_length=MAX_COLUMNS, strict=False)

    @field_validator("columns")
    @classmethod
    def _listed_or_every(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if EVERY_COLUMN in columns and len(columns) > 1:
            raise ValueError(f'expected "{EVERY_COLUMN}" alone or column names, found both')
        if len(set(columns)) != len(columns):
            raise ValueError("expected different names, found one twice")
        return columns


class ModelsSection(Section):
    """Whose torch modules a study may name; code is never shipped.

    Attributes:
        packages: one class each, as `name==version:import.path:Class`, read by people and installed
            here by the institution itself; nothing else of the package may be named.
    """

    packages: tuple[str, ...] = Field(default=(), max_length=MAX_PACKAGES, strict=False)

    @field_validator("packages")
    @classmethod
    def _one_class_each(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        for package in packages:
            if not re.fullmatch(ALLOWED_PATTERN, package):
                raise ValueError(
                    "expected NAME==VERSION:IMPORT.PATH:CLASS, found "
                    f"{package[:100]!a}: list the one class that you read, not its package"
                )
        return packages


class ApprovalsSection(Section):
    """Who approves.

    Attributes:
        by_two: a study runs only when two persons approved it.
    """

    by_two: bool = False


class Policy(Section):
    """The whole file.

    Attributes:
        coordinator: Ed25519 public key, hex, compared out of band; empty: none pinned yet.
    """

    format: Literal[1] = POLICY_FORMAT
    coordinator: Hex32 | Literal[""] = ""
    budget: BudgetSection
    participants: ParticipantsSection = ParticipantsSection()
    releases: ReleasesSection
    records: PolicyRecords
    models: ModelsSection = ModelsSection()
    approvals: ApprovalsSection = ApprovalsSection()

    RETIRED: ClassVar = {
        "auto_approve": RetiredKey(
            False,  # docs/adr/0009
            "a program's approvals would tell the coordinator, without noise, what your records "
            "hold: remove the line, review studies and approve them yourself",
        )
    }


def load_policy(home: Home) -> Policy:
    """Read `policy.toml`.

    Raises:
        StudyError: unreadable, or lists every mistake, one line each.
    """
    return load_toml(home.policy, Policy)


def pinned_coordinator(home: Home, policy: Policy) -> str:
    """Return the coordinator's key, hex: from policy.toml, from coordinator.pub, or both alike.

    Raises:
        KeysError: none pinned, the two differ, or coordinator.pub holds no key.
    """
    kept = ""
    if home.coordinator_key.exists():
        kept = read_public(home.coordinator_key).strip().decode("ascii", errors="replace")
    found = sorted({key for key in (policy.coordinator, kept) if key})
    if not found:
        raise KeysError(
            f"{home.policy}: expected the coordinator's key, found none: compare the fingerprint "
            "with the coordinator, then fieldfare institution join INVITATION; or write its 64 "
            'hexadecimal digits there, coordinator = "..."'
        )
    if len(found) > 1:
        raise KeysError(
            f"{home.coordinator_key}: expected the key that {home.policy} pins, found another: ask "
            "the coordinator out of band which is theirs, and correct the other"
        )
    return check_public_key(found[0], str(home.coordinator_key))


def check_public_key(text: str, name: str) -> str:
    """Return `text` where it may be a public key in hex.

    Raises:
        KeysError: not 64 lower-case hexadecimal digits; `name` begins the message.
    """
    if len(text) != 64 or text.strip("0123456789abcdef"):  # noqa: PLR2004 -- RFC 8032: 32 bytes
        raise KeysError(
            f"{name}: expected a public key of 64 lower-case hexadecimal digits, found something "
            "else"
        )
    return text


def limits(policy: Policy) -> Limits:
    """Return the ledger's limits.

    *Formal Guarantees.* While the ledger admits debits only within them, all releases of any
    365 days, and all ever, satisfy (epsilon, delta) of the policy for adding or removing one
    unit: mu^2 adds up over releases and studies, also when each is chosen after seeing the last
    (Dong-Roth-Su 2019, Cor. 3.3; Smith-Thakurta 2022). Limits are rounded down. What discrete
    noise adds is taken as one study's allowance, xi < 1e-15; k studies add at most
    2 k 1e-15 to epsilon.

    *Edge cases.*
        | budget                                | result                        |
        |---------------------------------------|-------------------------------|
        | too small for one unit of 1e-12 mu^2  | a limit of 0: nothing passes  |
        | epsilon 100 at delta just below 0.1   | 1.7e14, within the ledger     |

    Source: Balle-Wang 2018, Theorem 8, through `mu2_for`.
    """
    budget = policy.budget
    return Limits(
        yearly_picomu2=_picomu2(budget.yearly_epsilon, budget.delta),
        lifetime_picomu2=_picomu2(budget.lifetime_epsilon, budget.delta),
    )


def study_limit(policy: Policy) -> int:
    """Return the most that one study may plan, in picomu2, rounded down."""
    return _picomu2(policy.budget.study_epsilon, policy.budget.delta)


def _picomu2(epsilon: float, delta: float) -> int:
    # The same xi as in `plan_for`, so that a study that promises the limit fits into it.
    mu2 = mu2_for(epsilon=epsilon, delta=delta, xi=XI_LIMIT)
    return math.floor(Fraction(mu2) * PICOMU2_PER_MU2)
