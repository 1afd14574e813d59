"""Everything that is said of a study before it is proposed, from its text.

What `study check` and `study plan` say, the price, and what changed since the last study of its
name. Pure: the text and what stands around it go in. No module that a study names is loaded: that
does whoever signs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fieldfare.server.store.rows import RunRow
from fieldfare.server.studies.study_text import MOST_TEXT
from fieldfare.shared.cli.study import plan_facts
from fieldfare.shared.errors import AccountingError, PackageError, StudyError
from fieldfare.shared.joining.expectation import StudyAdvice, is_like_trials, outlook_of
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.privacy.usual_budget import (
    USUAL_STUDY,
    USUAL_YEAR,
    usual_limit,
    usual_worth,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.study.asked_words import asked_lines
from fieldfare.shared.study.comparison import change_line, compare
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study, check_deployable
from fieldfare.shared.terminal.texts import SHORT

YEAR: Final = timedelta(days=365)
MOST_VALUE: Final = 2_000  # characters of one value that changed
MOST_CHANGES: Final = 500
NOT_MEASURED: Final = (
    "no similar study was measured, so there is no expectation of what it may learn"
)


@dataclass(frozen=True)
class AroundDraft:
    """What a draft is held against.

    Attributes:
        roster: the published one; None: there is none yet.
        earlier: the last study of its name that was proposed here.
        spent: by all runs of this coordinator in the last 365 days, 1e-12 mu^2.
    """

    roster: Roster | None = None
    earlier: Study | None = None
    spent: int = 0


@dataclass(frozen=True)
class DraftSum:
    """One kind of sum; `moves`: how far one unit can move it."""

    name: str
    times: int
    spare: int
    numbers: int
    size: int
    moves: float
    noise: float


@dataclass(frozen=True)
class DraftPrice:
    """What a study costs a member, as epsilon at the usual delta.

    Attributes:
        costs: the study with all its spares.
        left: of the usual year, where a member took part in everything of this coordinator's.
        allowed: whether a member with the usual limits could approve it today.
    """

    costs: float
    left: float
    allowed: bool

    @property
    def said(self) -> str:
        """The price in words."""
        return f"costs {self.costs:.3g}, {self.left:.3g} is left of {USUAL_YEAR:g} in any 365 days"


@dataclass(frozen=True)
class CheckedDraft:
    """What is said of a draft.

    Attributes:
        problems: why it cannot be proposed; empty: it can.
        study: None where the text is none.
        facts: what `study check` says, head and text.
        leaves: the sums that leave.
        asked: its questions in words.
        price: what it costs.
        advice: of `study plan`, and why; empty for what nobody measured.
        reasons: of the advice.
        changes: since the earlier study of its name; None: there is none.
    """

    problems: tuple[str, ...]
    study: Study | None = None
    facts: tuple[tuple[str, str], ...] = ()
    leaves: tuple[DraftSum, ...] = ()
    asked: tuple[str, ...] = ()
    price: DraftPrice | None = None
    advice: str = ""
    reasons: tuple[str, ...] = ()
    changes: tuple[str, ...] | None = None

    @property
    def advises_against(self) -> bool:
        """Whether `study plan` says not to run it."""
        return self.advice == StudyAdvice.NOT.value


def read_draft(text: str) -> Study:
    """Parse a draft's text.

    Raises:
        StudyError: too long, no TOML, or every mistake in it, one line each.
    """
    if len(text) > MOST_TEXT:
        raise StudyError(
            f"expected a study of at most {MOST_TEXT:,} characters, found {len(text):,}: propose "
            "it with `fieldfare coordinator propose`"
        )
    return parse_study(text)


def check_draft(study: Study, around: AroundDraft) -> CheckedDraft:
    """Return everything that is said of a draft; what is wrong with it is among that."""
    try:
        plan = plan_for(study)
        facts = plan_facts(plan)
    except (StudyError, AccountingError, PackageError) as error:
        return CheckedDraft(tuple(str(error).splitlines()), study)
    advice, reasons = _advice(plan, around.roster)
    return CheckedDraft(
        problems=tuple(_problems(study, around.roster)),
        study=study,
        facts=tuple(facts),
        leaves=tuple(_leaves(plan)),
        asked=asked_lines(study),
        price=_price(plan, around.spent),
        advice=advice,
        reasons=reasons,
        changes=None if around.earlier is None else _changes(around.earlier, study),
    )


def _problems(study: Study, roster: Roster | None) -> Iterator[str]:
    """Yield what `propose` would refuse, and what no run could be of."""
    try:
        check_deployable(study)
    except StudyError as error:
        yield from str(error).splitlines()
    if roster is None:
        return
    if study.privacy.multiplicity != roster.multiplicity:
        yield (
            f"privacy.multiplicity: expected the roster's {roster.multiplicity}, found "
            f"{study.privacy.multiplicity}"
        )
    least, members = study.aggregation.minimum_institutions, len(roster.members)
    if least > members:
        yield (
            f"aggregation.minimum_institutions: expected at most the roster's {members} members, "
            f"found {least}"
        )


def _advice(plan: Plan, roster: Roster | None) -> tuple[str, tuple[str, ...]]:
    if not is_like_trials(plan.study):
        return "", (NOT_MEASURED,)
    least = plan.study.aggregation.minimum_institutions
    members = max(len(roster.members), least) if roster else least
    try:
        found = outlook_of(plan, members)
    except AccountingError as error:
        return "", (str(error),)
    return found.answer.value, found.reasons


def _price(plan: Plan, spent: int) -> DraftPrice:
    left = max(usual_limit(USUAL_YEAR) - spent, 0)
    fits = plan.study_limit <= min(left, usual_limit(USUAL_STUDY))
    return DraftPrice(usual_worth(plan.study_limit), usual_worth(left), fits)


def _leaves(plan: Plan) -> Iterator[DraftSum]:
    for terms in plan.releases:
        if not terms.steps:
            continue
        yield DraftSum(
            name=_named(plan, terms),
            times=terms.steps,
            spare=terms.spare,
            numbers=terms.vectors.entries,
            size=terms.vectors.entries * terms.word_bits.value // 8,
            moves=terms.sensitivity.l2(plan.relation) if terms.sensitivity else 0.0,
            noise=terms.sigma,
        )


def _named(plan: Plan, terms: ReleaseTerms) -> str:
    return "questions asked later" if terms is plan.allowance else terms.kind.value


def _changes(earlier: Study, study: Study) -> tuple[str, ...]:
    found = [change_line(one, MOST_VALUE) for one in compare(earlier, study).changes]
    more = len(found) - MOST_CHANGES
    rest = [f"and {more} more"] if more > 0 else []
    head = f"since {earlier.id[:SHORT]}, the last one of this name that was proposed here:"
    return (head, *(found[:MOST_CHANGES] or ["nothing"]), *rest)


def spent_in_year(rows: tuple[RunRow, ...], now: datetime) -> int:
    """Return what the runs of the last 365 days cost whoever took part in all, 1e-12 mu^2.

    A run that told something in that time counts as a whole, so it is never less.
    """
    studies: dict[str, SideCosts] = {}
    for row in rows:
        if row.progress is not None and row.progress.at > now - YEAR:
            before = studies.get(row.study, SideCosts())
            studies[row.study] = before.and_also(row.progress.spent)
    return sum(one.total for one in studies.values())
