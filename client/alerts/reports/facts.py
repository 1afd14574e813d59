"""The facts of an alert that a draft of a report may state, in plain words.

People finish and file each report to a financial intelligence unit themselves, and set each role.
A possible victim is never the subject (harm rule 1): only a person can mark someone as suspected,
and a possible victim is marked as protected. The rank, the score and the customer's number here are
no business of a report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fieldfare.client.alerts.alert import Alert, Reason
from fieldfare.client.alerts.feedback import AlertStatus, Disposition, PartyRole
from fieldfare.client.scoring.evidence import ROW_FAMILIES, indicators, titles
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError

# -- facts ----------------------------------------------------------------------------------------

OPEN: Final = "TO BE COMPLETED"
"""What a person has to fill in; no report is finished while it stands anywhere."""
USUAL_DAYS: Final = 90  # where no indicator that has a window speaks
MOST_NARRATIVE: Final = 4000  # characters: goAML's comments
REPORTABLE: Final = frozenset({Disposition.FILE, Disposition.ESCALATE})
SUSPECTED: Final = frozenset(
    {PartyRole.CONTROLLER, PartyRole.FRONT_BUSINESS, PartyRole.EMPLOYER, PartyRole.RECRUITER}
)
ENTITIES: Final = frozenset({PartyRole.FRONT_BUSINESS, PartyRole.EMPLOYER})
INDICATOR_CODES: Final = {
    "R01": "MURCW", "R05": "FNACC", "R15": "NOEPC", "R22": "STRUC", "R25": "BCNNP",
    "R26": "SDWPS", "R28": "PESRA", "R29": "FOWNB", "R32": "IETHR",
}  # fmt: skip
"""Codes of one country's table, by indicator; settings name those of the FIU at hand."""


@dataclass(frozen=True)
class Movement:
    """One entry of one of its own accounts.

    Attributes:
        moment: in UTC; `offset` is how many minutes local time is ahead, None where not known.
        out: whether money left the account.
        amount: in units of the currency, as a decimal text.
        country: of the own account; `other_bank` and `other_country` of the other side.
        place: the town of a machine or a merchant.
        attempted: it did not go through.
    """

    reference: str
    moment: datetime
    offset: int | None
    out: bool
    account: str
    amount: str
    currency: str
    channel: str
    country: str | None
    other_bank: str | None
    other_country: str | None
    place: str | None
    attempted: bool

    @property
    def local(self) -> datetime:
        """The moment as clocks stood; UTC where that is not known."""
        return self.moment + timedelta(minutes=self.offset or 0)


@dataclass(frozen=True)
class ReportFacts:
    """The facts that every format holds.

    Attributes:
        reference: the alert's id, which says nothing of the customer.
        suspected, protected: of the one party that the alert is about.
        entity: a business, not a person.
        narrative: plain text, with the gaps that a person must fill.
        codes: of the FIU's indicators; empty where no raised indicator has one.
        movements: of the customer's own accounts, to choose from; empty where none were read.
        local: the report's currency, where a person said it; amounts in others are foreign.
    """

    reference: str
    role: PartyRole
    suspected: bool
    protected: bool
    entity: bool
    narrative: str
    codes: tuple[str, ...]
    movements: tuple[Movement, ...] = ()
    local: str = ""


def report_facts(alert: Alert, status: AlertStatus, codes: Mapping[str, str]) -> ReportFacts:
    """Return the facts of a draft.

    Args:
        alert: whose evidence it is.
        status: what people decided; they decide who this is, and whether there is a report.
        codes: of the FIU, by indicator, before the usual ones.

    Raises:
        UsageError: nobody decided to file or escalate, or nobody said who this is.
    """
    if status.disposition not in REPORTABLE:
        raise UsageError(
            "expected an alert that a person decided to file or to escalate: the software drafts "
            "no report by itself; see `fieldfare institution act ALERT decide`"
        )
    if status.party_role is PartyRole.UNKNOWN:
        raise UsageError(
            "expected a party role that a person set, found unknown: a possible victim must not "
            "become a subject; say who this is with `fieldfare institution act ALERT decide --role`"
        )
    role = status.party_role
    return ReportFacts(
        reference=alert.alert,
        role=role,
        suspected=role in SUSPECTED,
        protected=role is PartyRole.POTENTIAL_VICTIM,
        entity=role in ENTITIES,
        narrative=_narrative(alert, role),
        codes=_codes(alert, {**INDICATOR_CODES, **codes}),
    )


def _codes(alert: Alert, codes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(codes[one] for one in alert.evidence if one in codes))


def window_days(alert: Alert) -> int:
    """Return the longest window of the indicators that are evidence of an alert."""
    windows = [
        one.typology.window_days for one in own_pack().indicators if one.id in alert.evidence
    ]
    return max(windows, default=USUAL_DAYS)


def party_words(role: PartyRole) -> str:
    """Return a report's words on the party that an alert is about."""
    if role is PartyRole.POTENTIAL_VICTIM:
        return "Possible victim. Not a subject of this report; protect this person."
    if role in SUSPECTED:
        return (
            f"Suspected by the reporting institution's reviewers: {role.value.replace('_', ' ')}."
        )
    return "Not suspected; named because the activity is seen on this party's accounts."


def _narrative(alert: Alert, role: PartyRole) -> str:
    named = titles([reason.feature for reason in (*alert.reasons, *alert.counter_evidence)])
    parts = [
        f"{OPEN}: who, what, when, where, why and how, in plain words, from the records.",
        party_words(role),
        "Indicators of possible human trafficking that were looked at by people:",
        *_evidence(alert, named),
    ]
    # Of a text or a vector nothing is said: no words, no numbers, no column (harm rule 6).
    against = [
        f"- {_line(reason, named)}"
        for reason in alert.counter_evidence
        if reason.family not in ROW_FAMILIES.values()
    ]
    if against:
        parts += ["What speaks against it:", *against]
    return "\n".join(parts)[:MOST_NARRATIVE]


def _evidence(alert: Alert, named: Mapping[str, str]) -> list[str]:
    """Return a line for each published indicator that is evidence, and how many families."""
    if not alert.evidence:
        none = ["- none of those that were published is evidence here."]
        if any(reason.family in ROW_FAMILIES.values() for reason in alert.reasons):
            none.append(
                "A model of texts or vectors pointed here; it names no indicator, and is no reason."
            )
        return none
    strongest: dict[str | None, Reason] = {}
    for reason in alert.reasons:
        if reason.evidence:
            strongest.setdefault(reason.indicator, reason)
    lines = [
        f"- {_line(strongest[one], named) if one in strongest else indicators()[one].title + '.'}"
        for one in alert.evidence
    ]
    count, families = len(alert.evidence), alert.families
    found = f"{count} published indicator{'s' * (count != 1)}"
    words = "independent family" if families == 1 else "independent families"
    return [*lines, f"{found}, of {families} {words} of evidence."]


def _line(reason: Reason, named: Mapping[str, str]) -> str:
    if reason.value is None:
        return f"{named[reason.feature]}: {reason.level or 'missing'}."
    before = "" if reason.own_baseline is None else f", {reason.own_baseline:.6g} before"
    return f"{named[reason.feature]}: {reason.value:.6g}{before}."
