"""One alert: its card, the customer's entries, what people did; decide, comment, undo, draft.

Every form carries how much of the history its page showed and the page's key, so that a
decision is made on the alert as it is, once (client/alerts/act_check.py).
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from fieldfare.client.alerts.act_check import MOST_NOTE, VICTIM_WORDS, ActOutcome
from fieldfare.client.alerts.acts import CaseAct, CaseActKind, may_undo
from fieldfare.client.alerts.alert_queue import AlertQueue, statement_of
from fieldfare.client.alerts.card import (
    MOST_PARTIES,
    Card,
    PartyLine,
    card_of,
    parties_of,
    weeks_of,
)
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.kept_entries import KeptEntries
from fieldfare.client.alerts.queue_view import QueueFilter
from fieldfare.client.alerts.reports.facts import REPORTABLE
from fieldfare.client.alerts.reports.forms import ReportFormat
from fieldfare.client.alerts.store import AlertStore, StoredAlert
from fieldfare.client.console.place import ConsolePlace
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import ConsoleRole, Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.errors import UsageError
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.pages.bars import ReasonBar, Spoke, WeekColumn, bars, columns, spokes
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain

ALERT: Final = "/alerts/{alert}"
CASE: Final = "/cases/{alert}"
MOST_ENTRIES: Final = 200  # on a page
WEEKS: Final = 40
KEY_BYTES: Final = 16
SHORT: Final = 14  # characters of another side's name in the graph


class SentAct(BaseModel):
    """A form about an alert, as it came.

    Attributes:
        seen: how many acts its page showed.
        key: the page's own.
        view: the queue's filters, to go on with.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    seen: int = Field(ge=0, le=1_000_000)
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    kind: CaseActKind | None = None
    disposition: Disposition | None = None
    role: PartyRole = PartyRole.UNKNOWN
    confidence: Confidence = Confidence.MEDIUM
    note: str = Field(default="", max_length=2 * MOST_NOTE)
    view: str = Field(default="", max_length=2_000)

    @property
    def own_key(self) -> str:
        """The key of this act: another form of the same page, or other words in it, is another."""
        said = self.model_dump_json(exclude={"view"}).encode()
        return hashlib.blake2b(said, digest_size=KEY_BYTES).hexdigest()


@dataclass(frozen=True)
class StatementPart:
    """A statement as a page shows it, with the geometry of its pictures."""

    kept: KeptEntries
    weeks: tuple[tuple[str, int, int, WeekColumn], ...]
    parties: tuple[tuple[PartyLine, Spoke], ...]
    others: int


def alert_pages(place: ConsolePlace) -> tuple[Page, ...]:
    """Return the pages of one alert."""
    work = Right.WORK_ON_ALERTS
    return (
        Page(ALERT, Right.READ_ALERTS, lambda visit: _alert(visit, place)),
        Page(f"{CASE}/act", work, lambda visit: _act(visit, place), "POST"),
        Page(f"{CASE}/decide", work, lambda visit: _decide(visit, place), "POST"),
    )


def _alert(
    visit: Visit,
    place: ConsolePlace,
    outcome: ActOutcome | None = None,
    sent: SentAct | None = None,
) -> Response:
    """Show an alert; after a form that was refused, with what was typed and what changed."""
    view = QueueFilter.parse(sent.view if sent else urlencode(visit.query)).query(after="")
    queue, name = place.queue, visit.person.name
    with queue.store() as store:
        hidden = queue.hidden(store)
        kept = shown_alert(visit, store, hidden)
        statement, trouble = kept_statement(queue, store, kept)
        after = QueueFilter.parse(view).model_copy(update={"after": kept.alert.alert})
        following = store.following(after, utc_now().date(), hidden)
    card = card_of(kept, blind=True)
    return visit.page(
        "alert.html",
        HTTPStatus.CONFLICT if outcome and outcome.problem else HTTPStatus.OK,
        card=card,
        rows=_rows(card),
        statement=_part(statement) if statement else None,
        trouble=trouble,
        entries=statement.entries[:MOST_ENTRIES] if statement else (),
        problem=outcome.problem if outcome else "",
        changed=len(outcome.since) if outcome else 0,
        sent=sent,
        key=_key(visit, kept),
        view=view,
        following=following,
        may_undo=may_undo(kept.decisions, name, utc_now()),
        may_work=Right.WORK_ON_ALERTS in visit.rights,
        may_draft=kept.status.disposition in REPORTABLE,
        formats=list(ReportFormat),
        dispositions=list(Disposition),
        roles=list(PartyRole),
        confidences=list(Confidence),
        victim=VICTIM_WORDS,
        reminders=HARM_RULES[:3],
        plain=plain,
        short=lambda text: plain(text)[:SHORT],
    )


def shown_alert(visit: Visit, store: AlertStore, hidden: Collection[str]) -> StoredAlert:
    """Return the alert that a page is about.

    Raises:
        Refused: there is none, or it is not to be shown.
    """
    kept = store.kept(visit.places["alert"], hidden)
    if kept is None:
        raise PageRefusal(HTTPStatus.NOT_FOUND, "There is no such alert.")
    return kept


def _find_alert(visit: Visit, place: ConsolePlace) -> StoredAlert:
    queue = place.queue
    with queue.store() as store:
        return shown_alert(visit, store, queue.hidden(store))


def kept_statement(
    queue: AlertQueue, store: AlertStore, kept: StoredAlert
) -> tuple[KeptEntries | None, str]:
    """Return an alert's entries, or why there are none."""
    try:
        found = statement_of(queue, store, kept.alert.alert)
    except UsageError as error:
        return None, str(error)
    if found is None:
        return None, "No entries were kept for this alert, or their day is over."
    return found, ""


def _rows(card: Card) -> list[tuple[object, ReasonBar]]:
    reasons = (*card.raises, *card.lowers)
    return list(zip(reasons, bars([one.contribution for one in reasons]), strict=True))


def _part(statement: KeptEntries) -> StatementPart:
    weeks = weeks_of(statement)[-WEEKS:]
    places = columns([(one.entries, one.counted) for one in weeks])
    parties = parties_of(statement)
    first = parties[:MOST_PARTIES]
    lines = spokes([float(one.came + one.went) for one in first])
    return StatementPart(
        statement,
        tuple((o.first, o.entries, o.counted, c) for o, c in zip(weeks, places, strict=True)),
        tuple(zip(first, lines, strict=True)),
        len(parties) - len(first),
    )


def _key(visit: Visit, kept: StoredAlert) -> str:
    """Return the key of this page: one of its forms that is sent twice does one thing once."""
    said = f"{visit.form_token} {kept.alert.alert} {kept.version}"
    return hashlib.blake2b(said.encode(), digest_size=KEY_BYTES).hexdigest()


def _read_act(visit: Visit) -> SentAct:
    try:
        return SentAct.model_validate(dict(visit.form))
    except ValidationError:
        raise UsageError(
            "expected a form of this alert's page, found another one: open the page again"
        ) from None


def _act(visit: Visit, place: ConsolePlace) -> Response:
    sent, name = _read_act(visit), visit.person.name
    if sent.kind is None:
        raise UsageError("expected what to do with the alert, found nothing: open the page again")
    kept = _find_alert(visit, place)
    act = CaseAct(kept.alert.alert, utc_now(), name, sent.kind, sent.note, sent.own_key)
    return _after(visit, place, place.queue.act(act, sent.seen), sent)


def _decide(visit: Visit, place: ConsolePlace) -> Response:
    sent, name = _read_act(visit), visit.person.name
    kept = _find_alert(visit, place)
    if sent.disposition is None:
        return _alert(visit, place, ActOutcome("Choose a decision first."), sent)
    reviewer = visit.person.role is ConsoleRole.REVIEWER
    one = Feedback(
        kept.alert.alert,
        utc_now(),
        name,
        sent.disposition,
        sent.role,
        sent.confidence,
        sent.note,
        reviewer,
        sent.own_key,
    )
    return _after(visit, place, place.queue.act(one, sent.seen), sent)


def _after(visit: Visit, place: ConsolePlace, done: ActOutcome, sent: SentAct) -> Response:
    if done.problem:
        return _alert(visit, place, done, sent)
    view = QueueFilter.parse(sent.view).query(after="")
    here = f"/alerts/{visit.places['alert']}"
    return visit.go(f"{here}?{view}" if view else here)
