"""The queue: filters and saved views as addresses, pages, and taking an alert."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from fieldfare.client.alerts.acts import CaseAct, CaseActKind, holder_of
from fieldfare.client.alerts.queue_view import AGES, NOBODY, DueFilter, QueueFilter, QueueState
from fieldfare.client.console.place import ConsolePlace
from fieldfare.shared.console.accounts import SavedView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.errors import UsageError
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import counted

QUEUE: Final = "/alerts"
_ACTS: Final = {"take": CaseActKind.TAKE, "give-back": CaseActKind.RELEASE}
_KEY_DIGITS: Final = 32
_DUE: Final = {
    DueFilter.ANY: "any time",
    DueFilter.OVERDUE: "overdue",
    DueFilter.SOON: "within 3 days",
}


@dataclass(frozen=True)
class FilterChoice:
    """One value of a filter; `count`: how many alerts there are with it, None where nobody says."""

    value: str
    text: str
    count: int | None
    chosen: bool


@dataclass(frozen=True)
class FilterField:
    """One filter as a form has it."""

    name: str
    label: str
    choices: tuple[FilterChoice, ...]


def queue_pages(place: ConsolePlace) -> tuple[Page, ...]:
    """Return the pages of the queue."""
    return (
        Page(QUEUE, Right.READ_ALERTS, lambda visit: _queue(visit, place)),
        Page(f"{QUEUE}/views", Right.READ_ALERTS, _save_view, "POST"),
        Page(f"{QUEUE}/{{alert}}/{{act}}", Right.WORK_ON_ALERTS, lambda v: _act(v, place), "POST"),
    )


def _queue(visit: Visit, place: ConsolePlace) -> Response:
    query = {name: value for name, value in visit.query.items() if value}
    done = query.pop("done", "")
    asked = QueueFilter.parse(urlencode(query))
    queue, name = place.queue, visit.person.name
    with queue.store() as store:
        hidden = queue.hidden(store)
        page = store.page(asked, utc_now().date(), hidden)
        kept = store.kept(done, hidden) if done else None
    return visit.page(
        "queue.html",
        page=page,
        asked=asked,
        fields=_fields(asked, page.counts, name),
        views=visit.parts.book.views(name, QUEUE),
        view=asked.query(after=""),
        held=done if kept and holder_of(kept.history) == name else "",
        remember=HARM_RULES[2],
        due=_due,
        counted=counted,
        may_work=Right.WORK_ON_ALERTS in visit.rights,
    )


def _fields(
    asked: QueueFilter, counts: Mapping[str, Mapping[str, int]], person: str
) -> tuple[FilterField, ...]:
    """Return the filters, each value with how many alerts it would leave."""
    tiers = sorted(counts["tier"], key=int, reverse=True)
    families = sorted(counts["family"])
    values: tuple[tuple[str, str, Mapping[str, str]], ...] = (
        ("state", "State", {one.value: one.value.replace("_", " ") for one in QueueState}),
        ("tier", "Independent families", {"": "all", **{one: one for one in tiers}}),
        ("assigned", "Taken by", {"": "anybody", NOBODY: NOBODY, person: f"me ({person})"}),
        ("due", "Due", {one.value: text for one, text in _DUE.items()}),
        ("family", "Evidence of", {"": "any family", **{one: one for one in families}}),
        (
            "older",
            "Opened",
            {"0": "at any time", **{f"{n}": f"{n} days ago or more" for n in AGES}},
        ),
    )
    chosen = {
        "state": asked.state.value,
        "tier": "" if asked.tier is None else str(asked.tier),
        "assigned": asked.assigned,
        "due": asked.due.value,
        "family": asked.family,
        "older": str(asked.older),
    }
    return tuple(
        FilterField(name, label, _choices(texts, chosen[name], counts[name]))
        for name, label, texts in values
    )


def _choices(
    texts: Mapping[str, str], chosen: str, counts: Mapping[str, int]
) -> tuple[FilterChoice, ...]:
    known = texts if chosen in texts else {**texts, chosen: chosen}
    return tuple(
        FilterChoice(
            value, text, counts.get(value, 0) if value in counts else None, value == chosen
        )
        for value, text in known.items()
    )


def _due(days: int) -> str:
    if days < 0:
        return f"{counted(-days, 'day')} over"
    return f"in {counted(days, 'day')}" if days else "today"


def _save_view(visit: Visit) -> Response:
    """Save the filters under a name, or forget a saved view."""
    book, name = visit.parts.book, visit.person.name
    asked = QueueFilter.parse(visit.form.get("view", ""))
    if visit.form.get("drop"):
        book.drop_view(name, visit.form["drop"])
    else:
        saved = SavedView(visit.form.get("name", "").strip(), QUEUE, asked.query(after=""))
        book.save_view(name, saved)
    return visit.go(f"{QUEUE}?{asked.query()}")


def _act(visit: Visit, place: ConsolePlace) -> Response:
    """Take an alert or give it back, as it was seen; the same form twice does it once."""
    kind = _ACTS.get(visit.places["act"])
    if kind is None:
        raise PageRefusal(HTTPStatus.NOT_FOUND, "There is no such page.")
    alert, view = visit.places["alert"], QueueFilter.parse(visit.form.get("view", ""))
    seen = visit.form.get("seen", "")
    if not seen.isdecimal() or len(seen) > 9:  # noqa: PLR2004 -- digits of a count of acts
        raise UsageError("expected a form of the queue, found something else: open it again")
    said = f"{visit.form_token} {alert} {kind.value} {seen}"
    key = hashlib.sha256(said.encode()).hexdigest()[:_KEY_DIGITS]
    act = CaseAct(alert, utc_now(), visit.person.name, kind, key=key)
    outcome = place.queue.act(act, int(seen))
    if outcome.problem:
        raise PageRefusal(HTTPStatus.CONFLICT, outcome.problem)
    shown = f"{view.query()}&" if view.query() else ""
    return visit.go(f"{QUEUE}?{shown}{urlencode({'done': alert})}")
