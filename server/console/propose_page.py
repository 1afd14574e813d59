"""Propose a study: its text beside everything that is said of it, and the page before it is signed.

The console parses and prices what somebody types and signs nothing: the desk does, after it has
checked all of it again. Without scripts each press of Check says it; with them it is said as
somebody types, by the same check.
"""

from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from fieldfare.server.console.done import checked_hash, done_query, get_done
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.console.steer_page import PROPOSALS
from fieldfare.server.desk.calls import PROPOSE, ProposeForm
from fieldfare.server.members.roster import published_roster
from fieldfare.server.studies.draft_check import (
    AroundDraft,
    CheckedDraft,
    check_draft,
    read_draft,
    spent_in_year,
)
from fieldfare.server.studies.proposals import find_study, proposals
from fieldfare.server.studies.study_text import (
    MOST_TEXT,
    StudyForm,
    form_text,
    shipped_studies,
    study_text,
)
from fieldfare.server.studies.watched_coordinator import watched_coordinator
from fieldfare.shared.console.frame import LiveCheck, MenuEntry, Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError, StudyError, UsageError
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import since_boot, utc_now
from fieldfare.shared.terminal.texts import plain

PROPOSE_PATH: Final = "/propose"
PROPOSE_MENU: Final = MenuEntry(PROPOSE_PATH, "Propose", Right.STEER)
MOST_FORM: Final = 192 * 1024  # bytes: a form writes a line's end in six, a sign in three or more
MOST_PROBLEMS: Final = 100
_FORM: Final = tuple(one.name for one in fields(StudyForm))


@dataclass(frozen=True)
class StudyStart:
    """Where a text can begin: an address, and what it is called."""

    address: str
    text: str


class DraftDesk:
    """The pages; checks are counted for each person, and one is made at a time."""

    def __init__(self, place: CoordinatorPlace) -> None:
        """Work at a place."""
        self._place = place
        self._checking = LiveCheck(since_boot)

    @property
    def pages(self) -> tuple[Page, ...]:
        """Everything about proposing."""
        return (
            Page(PROPOSE_PATH, Right.STEER, self._editor),
            Page(PROPOSE_PATH, Right.STEER, self._check, "POST", size=MOST_FORM),
            Page(f"{PROPOSE_PATH}/said", Right.STEER, self._answer_script, "POST", size=MOST_FORM),
            Page(f"{PROPOSE_PATH}/form", Right.STEER, self._form, "POST", size=MOST_FORM),
            Page(f"{PROPOSE_PATH}/sign", Right.STEER, self._sign, "POST", size=MOST_FORM),
        )

    def _editor(self, visit: Visit) -> Response:
        text = self._begin_text(visit)
        return self._show_page(visit, text, self._looked_at(visit, text) if text else None)

    def _begin_text(self, visit: Visit) -> str:
        """Return the text that an address asks to begin with."""
        shipped, study = visit.query.get("shipped", ""), visit.query.get("study", "")
        if shipped:
            found = shipped_studies().get(shipped)
            if found is None:
                raise UsageError("shipped: expected a study that comes with Fieldfare")
            return found
        return study_text(find_study(self._place.opened, study).study) if study else ""

    def _check(self, visit: Visit) -> Response:
        """Show what is said of a text; or, for who wants to propose it, the page before that."""
        text = visit.form.get("text", "")
        said = self._looked_at(visit, text)
        if "propose" in visit.form and said.study is not None and not said.problems:
            return self._before(visit, text, said, said.study)
        return self._show_page(visit, text, said)

    def _answer_script(self, visit: Visit) -> Response:
        """Answer a script: the part of the page beside the text, and nothing around it."""
        said = self._looked_at(visit, visit.form.get("text", ""))
        return visit.page("draft_said.html", said=said, plain=plain, most=MOST_PROBLEMS)

    def _form(self, visit: Visit) -> Response:
        form = StudyForm(**{name: visit.form.get(name, "")[:MOST_TEXT] for name in _FORM})
        try:
            with self._checking.turn(visit.person.name):
                text = form_text(form)
        except StudyError as error:
            return self._show_page(visit, "", None, form, str(error))
        return self._show_page(visit, text, self._looked_at(visit, text), form)

    def _show_page(
        self,
        visit: Visit,
        text: str,
        said: CheckedDraft | None,
        form: StudyForm | None = None,
        problem: str = "",
    ) -> Response:
        return visit.page(
            "propose.html",
            HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK,
            text=text,
            said=said,
            starts=self._starts(),
            form=form or StudyForm(),
            problem=problem,
            open_form=form is not None,
            longest=MOST_TEXT,
            most=MOST_PROBLEMS,
            plain=plain,
        )

    def _starts(self) -> tuple[StudyStart, ...]:
        shipped = [StudyStart(f"?shipped={name}", f"{name}, shipped") for name in shipped_studies()]
        try:
            own = reversed(proposals(self._place.opened))
        except FieldfareError:  # a study of somebody else's in the folder: its page says so
            own = iter(())
        earlier = [
            StudyStart(f"?study={one.id}", f"{plain(one.study.name)}, proposed {one.at:%Y-%m-%d}")
            for one in own
        ]
        return (*earlier, *shipped)

    # -- checking --------------------------------------------------------------------------------

    def _looked_at(self, visit: Visit, text: str) -> CheckedDraft:
        with self._checking.turn(visit.person.name):
            try:
                study = read_draft(text)
                return check_draft(study, self._around(study))
            except StudyError as error:
                return CheckedDraft(tuple(error.problems))

    def _around(self, study: Study) -> AroundDraft:
        home = self._place.opened
        earlier = [one.study for one in proposals(home) if one.study.name == study.name]
        with watched_coordinator(home) as coordinator:
            spent = spent_in_year(coordinator.store.rows(), utc_now())
        return AroundDraft(published_roster(home), earlier[-1] if earlier else None, spent)

    # -- proposing -------------------------------------------------------------------------------

    def _before(self, visit: Visit, text: str, said: CheckedDraft, study: Study) -> Response:
        home = self._place.opened
        roster = published_roster(home)
        return visit.page(
            "propose_before.html",
            text=text,
            said=said,
            study=study,
            known=home.study(study.id).exists(),
            members=roster.ids if roster else (),
            plain=plain,
        )

    def _sign(self, visit: Visit) -> Response:
        asked = ProposeForm(
            text=visit.form.get("text", "")[: MOST_TEXT + 1],
            study=checked_hash(visit.form.get("study", "")),
            person=visit.person.name,
        )
        done = get_done(self._place.opened, PROPOSE, asked)
        return visit.go(f"{PROPOSALS}/{done.of}", **done_query(done))


def propose_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages on which a study is written, checked and proposed."""
    return DraftDesk(place).pages
