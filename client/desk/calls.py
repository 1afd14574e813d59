"""The closed list of an institution's desk: every question and act, and the words of both ends.

Whatever the console sends is one of these; nothing else of it reaches ledger, keys or home.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from fieldfare.shared.desk.calls import DeskCall, DeskTerm, Nothing
from fieldfare.shared.desk.topics import ReviewTopic

DECIDE_SECONDS: Final = 120.0  # an approval reads the records first
CHECK_SECONDS: Final = 60.0
_Study = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Person = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_Digits = Annotated[str, Field(max_length=200)]


# -- studies --------------------------------------------------------------------------------------


class StudyGroup(StrEnum):
    """Under which heading a study stands."""

    WAITING = "Waiting"
    APPROVED = "Approved"
    ENDED = "Rejected or withdrawn"


class StudyView(DeskTerm):
    """A study that arrived, and what was decided."""

    id: str
    short: str
    name: str
    epsilon: float
    delta: float
    received: str
    group: StudyGroup
    standing: str
    user: str
    time: str
    reason: str
    first: str  # who approved it, where another person has to as well


class StudyList(DeskTerm):
    """All that arrived, oldest first; `earlier`: why those of an earlier version run no more."""

    studies: list[StudyView]
    earlier: dict[str, str]


class StudyQuestion(DeskTerm):
    """One study, by first digits of its id as they stand in an address."""

    digits: Annotated[str, Field(max_length=200)]


class BrowserDecision(DeskTerm):
    """Whether and how a study can be decided on in a browser.

    Attributes:
        allowed: the home's settings say so.
        columns: that the policy does not list and an approval adds to it, by name.
        seen: the hash of all that was told, which an approval repeats.
    """

    allowed: bool
    columns: list[str]
    seen: str


class DeskStudy(DeskTerm):
    """One study as a person decides on it.

    Attributes:
        since: where the one stands that it is compared to; may be empty.
        titles: of the table of what leaves.
        approved: that a rejection withdraws an approval.
        home: where the commands are typed.
    """

    study: StudyView
    since: str
    topics: tuple[ReviewTopic, ...]
    titles: tuple[str, ...]
    approved: bool
    home: str
    browser: BrowserDecision


# -- budget, log, check ---------------------------------------------------------------------------


class LimitView(DeskTerm):
    """A limit, as epsilon; `left`: whether anything is."""

    name: str
    limit: float
    spent: float
    left: float
    some: bool


class MonthView(DeskTerm):
    """A day ahead: what is left of the year then, in thousandths of the limit and as epsilon."""

    day: date
    share: int
    left: float
    sure: float


class ShareView(DeskTerm):
    """A part of what was spent."""

    name: str
    epsilon: float
    percent: float


class BudgetView(DeskTerm):
    """A budget as people read it; epsilons at `delta`."""

    population: str
    entries: int
    epoch: int
    delta: float
    limits: list[LimitView]
    promised: float
    next_freed: str
    ahead: list[MonthView]
    shares: dict[str, list[ShareView]]
    last: list[str]


class LogQuestion(DeskTerm):
    """A page of the log: entries of a kind and of a person, older than a number."""

    kind: Annotated[str, Field(max_length=64)] = ""
    person: Annotated[str, Field(max_length=256)] = ""
    before: Annotated[int, Field(ge=0, lt=2**53)] = 0
    most: Annotated[int, Field(ge=1, le=200)]


class EntryView(DeskTerm):
    """One entry of the log."""

    number: int
    time: datetime
    kind: str
    person: str
    details: dict[str, str]


class LogView(DeskTerm):
    """Entries, newest first, and all kinds that may be asked for."""

    entries: list[EntryView]
    kinds: list[str]


class FindingView(DeskTerm):
    """A check's outcome, and what to do; `odd`: a person should look."""

    topic: str
    outcome: str
    odd: bool
    failed: bool
    text: str
    remedy: str


class CheckView(DeskTerm):
    """All checks that open no key and no record, in their order."""

    findings: list[FindingView]


# -- decisions ------------------------------------------------------------------------------------


class DecisionChoice(StrEnum):
    """What a person says to a study."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"


class DecisionForm(DeskTerm):
    """A person's approval or rejection.

    Attributes:
        person: the account's name, which is the decider's.
        study: the whole id.
        say: which.
        code: six digits of the person's second factor at the desk.
        safety: of an approval, the roster's safety code, as it is typed.
        seen: of an approval, the hash of what was shown.
        columns: of an approval, that the columns shown there may be added to the policy.
        reason: of a rejection.
        keep: that the coordinator learns of the rejection, and not of the reason.
    """

    person: _Person
    study: _Study
    say: DecisionChoice
    code: _Digits
    safety: _Digits = ""
    seen: Annotated[str, Field(max_length=64)] = ""
    columns: bool = False
    reason: Annotated[str, Field(max_length=2000)] = ""
    keep: bool = False


class DecisionOutcome(DeskTerm):
    """What came of it, one line each."""

    lines: list[str]


STUDIES: Final = DeskCall("studies", Nothing, StudyList)
STUDY: Final = DeskCall("study", StudyQuestion, DeskStudy)
BUDGET: Final = DeskCall("budget", Nothing, BudgetView)
LOG: Final = DeskCall("log", LogQuestion, LogView)
CHECK: Final = DeskCall("check", Nothing, CheckView, CHECK_SECONDS)
DECIDE: Final = DeskCall("decide", DecisionForm, DecisionOutcome, DECIDE_SECONDS)
