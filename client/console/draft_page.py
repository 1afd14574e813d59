"""Drafts of reports as forms: which entries go in, what is missing, checked as a person types.

The server checks; a page with scripts asks it while somebody types, one without at each press of
Check. What was typed is kept nowhere, and nothing is sent: a person saves a file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from starlette.responses import Response

from fieldfare.client.alerts.act_check import VICTIM_WORDS
from fieldfare.client.alerts.card import card_of
from fieldfare.client.alerts.casework import Deed
from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.reports.choosing import (
    MOST_CHOSEN,
    OfferedEntry,
    answers_for,
    choose_entries,
    movement_at,
    offer_entries,
)
from fieldfare.client.alerts.reports.facts import OPEN, report_facts
from fieldfare.client.alerts.reports.forms import (
    LOCAL,
    DraftField,
    DraftForm,
    ReportFormat,
    complete_draft,
    draft_of,
    form_of,
    local_answers,
)
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.client.console.alert_page import CASE, kept_statement, shown_alert
from fieldfare.client.console.place import ConsolePlace
from fieldfare.shared.console.frame import LiveCheck, Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import since_boot
from fieldfare.shared.terminal.texts import plain

DRAFT: Final = f"{CASE}/draft"
FIELD: Final = "field:"
CURRENCY: Final = 3  # letters of a code (ISO 4217)
ENTRY: Final = "entry:"
CHECKS: Final = 60  # at once, of one person: each pause of somebody's typing is one
CHECK_AGAIN: Final = 0.5  # seconds until one more
MOST_FIELDS: Final = 500  # of a draft with as many movements as fit, and all offers


@dataclass(frozen=True)
class ReportDesk:
    """An alert, and what a draft of it may hold.

    Attributes:
        trouble: why no entry is offered; empty: some are, or none fires.
        taken: the entries that are chosen.
        left: how many were chosen beyond those that fit, or are kept no longer.
    """

    kept: StoredAlert
    codes: Mapping[str, str]
    offers: tuple[OfferedEntry, ...]
    trouble: str
    taken: tuple[OfferedEntry, ...] = ()
    left: int = 0

    @property
    def keys(self) -> list[str]:
        """Of the entries that are chosen."""
        return [one.key for one in self.taken]

    def drafted(self, kind: ReportFormat, local: str = "") -> bytes:
        """Return the draft with the entries that are chosen, in a report of a local currency.

        Raises:
            UsageError: nobody decided so, or nobody said who this is.
        """
        facts = report_facts(self.kept.alert, self.kept.status, self.codes)
        movements = tuple(one.movement for one in self.taken)
        facts = replace(facts, movements=movements, local=local)
        return draft_of(kind, facts)


def draft_pages(place: ConsolePlace) -> tuple[Page, ...]:
    """Return the pages of drafts."""
    work, checking = Right.WORK_ON_ALERTS, LiveCheck(since_boot, CHECKS, CHECK_AGAIN)

    def fill(visit: Visit) -> Response:
        """Check or save; somebody's typing takes no turn of the same person's Save."""
        act = "save" if "save" in visit.form else "check"
        with checking.turn(f"{visit.person.name} {act}"):
            return _fill(visit, place)

    return (
        Page(DRAFT, work, lambda visit: _draft(visit, place)),
        Page(DRAFT, work, fill, "POST", fields=MOST_FIELDS),
    )


def _draft(visit: Visit, place: ConsolePlace) -> Response:
    kind, desk = _format(visit.query), _desk(visit, place)
    return _form_page(visit, kind, desk, desk.drafted(kind))


def _fill(visit: Visit, place: ConsolePlace) -> Response:
    """Check what was filled in; or hand the draft over as a file, which nothing sends."""
    kind, desk = _format(visit.form), _desk(visit, place)
    asked = {name.removeprefix(ENTRY) for name in visit.form if name.startswith(ENTRY)}
    taken = choose_entries(desk.offers, asked)
    desk = replace(desk, taken=taken, left=len(asked) - len(taken))
    typed = {
        name.removeprefix(FIELD): value
        for name, value in visit.form.items()
        if name.startswith(FIELD)
    }
    answers = answers_for(typed, visit.form.get("shown", "").split(), desk.keys)
    draft = desk.drafted(kind, _local(typed))
    if kind is ReportFormat.GOAML:
        answers = local_answers(draft, answers)
    content = complete_draft(kind, draft, answers, stored=bool(taken))
    if "save" not in visit.form:
        return _form_page(visit, kind, desk, content)
    said = hashlib.sha256(content).hexdigest()
    place.queue.note(Deed.DRAFTED, kind=kind.value, fingerprint=said, person=visit.person.name)
    suffix = "xml" if kind is ReportFormat.GOAML else "json"
    name = f"draft-{visit.places['alert']}.{suffix}"
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _local(typed: Mapping[str, str]) -> str:
    """Return the report's currency where it is three letters, as the store writes currencies."""
    said = typed.get(LOCAL, "").strip()
    return said if len(said) == CURRENCY and said.isascii() and said.isupper() else ""


def _format(said: Mapping[str, str]) -> ReportFormat:
    try:
        return ReportFormat(said.get("format", ""))
    except ValueError:
        raise UsageError("expected the form of a draft, found none: choose one") from None


def _desk(visit: Visit, place: ConsolePlace) -> ReportDesk:
    queue = place.queue
    with queue.store() as store:
        kept = shown_alert(visit, store, queue.hidden(store))
        statement, trouble = kept_statement(queue, store, kept)
        codes = queue.codes(store)
    return ReportDesk(kept, codes, offer_entries(statement, kept.alert.alert), trouble)


def _form_page(visit: Visit, kind: ReportFormat, desk: ReportDesk, content: bytes) -> Response:
    status, form = desk.kept.status, form_of(kind, content, stored=bool(desk.taken))
    return visit.page(
        "draft.html",
        card=card_of(desk.kept, blind=True),
        desk=desk,
        form=form,
        parts=_parts(form, desk),
        wrong=[one for one in form.problems if OPEN not in one],
        kind=kind,
        most=MOST_CHOSEN,
        victim=VICTIM_WORDS,
        is_victim=status.party_role is PartyRole.POTENTIAL_VICTIM,
        settled=status.state == "closed",
        plain=plain,
    )


def _parts(form: DraftForm, desk: ReportDesk) -> list[tuple[OfferedEntry | None, list[DraftField]]]:
    """Return the fields in the draft's order, those of a chosen entry under it."""
    if not desk.taken:
        return [(None, list(form.fields))]
    return [
        (None if place is None else desk.taken[place], list(fields))
        for place, fields in groupby(form.fields, lambda one: movement_at(one.path))
    ]
