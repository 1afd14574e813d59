"""Every answered set of questions: facets as addresses, tables with intervals, pictures as files.

Reading a released sum costs nothing, however often it is done. What was held back is said as such.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from fieldfare.server.answers.answer import Answer
from fieldfare.server.answers.output import HELD_BACK, answers_csv, answers_json, cell_label
from fieldfare.server.answers.sets import AnswerSet, kept_answers
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.store.rows import RunRow
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator, watched_coordinator
from fieldfare.shared.console.frame import MenuEntry, Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.pages.words import number
from fieldfare.shared.terminal.texts import SHORT, plain

ANSWERS: Final = "/answers"
ANSWERS_MENU: Final = MenuEntry(ANSWERS, "Answers", Right.WATCH)
MOST_KEPT: Final = 200  # runs whose answers are remembered
MOST_ROWS: Final = 200  # of one answer on its page; the files have all
MOST_LISTED: Final = 500
PICTURES: Final = {"png": "image/png", "svg": "image/svg+xml"}
_FACETS: Final = ("study", "kind", "question", "month")


@dataclass(frozen=True)
class AnsweredQuestion:
    """One answer in the list: where it is, and what it can be found by."""

    row: RunRow
    number: int
    index: int
    one: AnswerSet
    answer: Answer

    @property
    def address(self) -> str:
        """Of its set's page, at this answer."""
        return f"{ANSWERS}/{self.row.run}/{self.number}#answer-{self.index}"

    @property
    def facets(self) -> dict[str, str]:
        """What it is found by."""
        return {
            "study": self.one.study,
            "kind": self.answer.kind,
            "question": self.answer.name,
            "month": f"{self.row.created:%Y-%m}",
        }


@dataclass(frozen=True)
class FacetLink:
    """One value of a facet: how many there are, and the address with it, or without."""

    text: str
    count: int
    address: str
    chosen: bool


@dataclass
class AnswersDesk:
    """The pages; answers of runs that have ended are remembered.

    Attributes:
        place: where it works.
    """

    place: CoordinatorPlace
    _kept: dict[tuple[str, object], tuple[AnswerSet, ...]] = field(default_factory=dict)
    _reading: Lock = field(default_factory=Lock)
    _drawing: Lock = field(default_factory=Lock)  # matplotlib's settings are the process's

    @property
    def pages(self) -> tuple[Page, ...]:
        """Everything about answers."""
        of_set = f"{ANSWERS}/{{run}}/{{number}}"
        return (
            Page(ANSWERS, Right.WATCH, self._all),
            Page(of_set, Right.WATCH, self._set),
            Page(f"{of_set}/{{file}}", Right.WATCH, self._file),
        )

    def sets_of(self, coordinator: WatchedCoordinator, row: RunRow) -> tuple[AnswerSet, ...]:
        """Return what a run answered; raises as `kept_answers`."""
        key = (row.run, row.ended)
        with self._reading:
            if key in self._kept:
                return self._kept[key]
        found = kept_answers(coordinator.store, coordinator.home, row)
        with self._reading:
            if row.ended is not None:
                self._kept[key] = found
            if len(self._kept) > MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
        return found

    def _all(self, visit: Visit) -> Response:
        chosen = {name: visit.query[name] for name in _FACETS if visit.query.get(name)}
        every, problems = self._read_answers()
        found = [one for one in every if chosen.items() <= one.facets.items()]
        names = {one.one.study: f"{one.one.name}, {one.one.study[:SHORT]}" for one in every}
        return visit.page(
            "answers.html",
            found=found[:MOST_LISTED],
            count=len(found),
            facets={name: _facet(name, every, chosen, names) for name in _FACETS},
            problems=problems,
            plain=plain,
        )

    def _read_answers(self) -> tuple[list[AnsweredQuestion], list[str]]:
        """Return all answers, newest run first, and why some runs cannot be read."""
        found: list[AnsweredQuestion] = []
        problems: list[str] = []
        with watched_coordinator(self.place.opened) as coordinator:
            for row in reversed(coordinator.store.rows()):
                try:
                    sets = self.sets_of(coordinator, row)
                except FieldfareError as error:
                    problems.append(str(error))
                    continue
                for number, one in enumerate(sets):
                    for index, answer in enumerate(one.answers):
                        found.append(AnsweredQuestion(row, number, index, one, answer))
        return found, problems

    def _one(self, visit: Visit) -> tuple[RunRow, AnswerSet]:
        text = visit.places["number"]
        with watched_coordinator(self.place.opened) as coordinator:
            row = coordinator.store.row(visit.places["run"])
            sets = self.sets_of(coordinator, row)
        if not text.isascii() or not text.isdecimal() or not 0 <= int(text[:4]) < len(sets):
            raise UsageError("expected an answered set of this run, found none of that number")
        return row, sets[int(text[:4])]

    def _set(self, visit: Visit) -> Response:
        row, one = self._one(visit)
        return visit.page(
            "answer_set.html",
            row=row,
            one=one,
            address=f"{ANSWERS}/{row.run}/{visit.places['number']}",
            shown=[(answer, list(answer.cells[:MOST_ROWS])) for answer in one.answers],
            held_back=HELD_BACK,
            label=cell_label,
            number=number,
            most=MOST_ROWS,
            plain=plain,
        )

    def _file(self, visit: Visit) -> Response:
        """Return a picture of one answer, or the whole set as CSV or JSON."""
        _, one = self._one(visit)
        name, _, kind = visit.places["file"].partition(".")
        if (name, kind) == ("answers", "csv"):
            return Response(answers_csv([one]), media_type="text/csv; charset=utf-8")
        if (name, kind) == ("answers", "json"):
            return Response(json.dumps(answers_json([one])), media_type="application/json")
        if kind not in PICTURES or not name.isascii() or not name.isdecimal():
            raise UsageError("expected a picture of an answer, found another file")
        index = int(name[:4])
        if index >= len(one.answers):
            raise UsageError("expected a picture of an answer, found none of that number")
        # Half a second and 30 MB that a console without pictures does without.
        from fieldfare.server.answers.plots import picture  # noqa: PLC0415 -- see above

        with self._drawing:
            content = picture(one, index, kind)
        return Response(content, media_type=PICTURES[kind])


def _facet(
    name: str,
    every: Sequence[AnsweredQuestion],
    chosen: dict[str, str],
    names: dict[str, str],
) -> list[FacetLink]:
    """Return a facet's values, counted among what the other facets leave."""
    others = {key: one for key, one in chosen.items() if key != name}
    left = [one.facets for one in every if others.items() <= one.facets.items()]
    links: Callable[[str], FacetLink] = lambda value: FacetLink(  # noqa: E731
        text=names.get(value, value) if name == "study" else value,
        count=counts[value],
        address=_address(others if chosen.get(name) == value else {**others, name: value}),
        chosen=chosen.get(name) == value,
    )
    counts = Counter(one[name] for one in left)
    return [links(value) for value in sorted(counts)]


def _address(chosen: dict[str, str]) -> str:
    return f"{ANSWERS}?{urlencode(chosen)}" if chosen else ANSWERS


def answers_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about answers."""
    return AnswersDesk(place).pages
