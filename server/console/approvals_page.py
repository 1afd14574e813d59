"""Which institution says what to which study: a table of both, and one study with hashes and times.

An approval counts only while it verifies under the present roster (studies/run_view.py).
"""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.store import run_store_to_read
from fieldfare.server.studies.proposals import Proposal, proposal, proposals
from fieldfare.server.studies.run_view import start_obstacles
from fieldfare.server.studies.study_answers import StudyAnswer, given, heard_of
from fieldfare.server.studies.watched_coordinator import watched_coordinator
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import PackageError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.terminal.texts import plain, utc_text

APPROVALS: Final = "/approvals"
LONG: Final = 2_000


@dataclass(frozen=True)
class StudyResponses:
    """A study, and what each institution says to it."""

    study: Proposal
    heard: dict[str, StudyAnswer]

    @property
    def counting(self) -> str:
        """How many approvals count, and how many it takes."""
        return f"{given(self.heard)} of {self.study.study.aggregation.minimum_institutions}"

    def word(self, institution: str) -> str:
        """What an institution says, in a word."""
        found = self.heard.get(institution)
        if found is None or found.at is None:
            return "not heard"
        if found.no:
            return found.text.partition(" ")[0]  # its own signed word
        return "approved" if found.approval else "not approved"


def approvals_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about approvals."""
    one = f"{APPROVALS}/{{study}}"
    return (
        Page(APPROVALS, Right.WATCH, lambda visit: _matrix(visit, place)),
        Page(one, Right.WATCH, lambda visit: _study(visit, place)),
    )


def _matrix(visit: Visit, place: CoordinatorPlace) -> Response:
    home = place.opened
    roster = published_roster(home)
    with run_store_to_read(home.runs_database) as store:
        found = [
            StudyResponses(one, heard_of(roster, one.id, store.approvals(one.id)))
            for one in proposals(home)
        ]
    members = sorted({name for one in found for name in one.heard})
    return visit.page("approvals.html", found=found[::-1], members=members, plain=plain)


def _study(visit: Visit, place: CoordinatorPlace) -> Response:
    home = place.opened
    one = proposal(home, visit.places["study"])
    with watched_coordinator(home) as coordinator:
        heard = heard_of(published_roster(home), one.id, coordinator.store.approvals(one.id))
        try:
            obstacles = start_obstacles(plan_for(one.study), heard, coordinator.spent(one.id))
        except PackageError as error:
            obstacles = (str(error),)
    return visit.page(
        "approval.html",
        one=StudyResponses(one, heard),
        obstacles=obstacles,
        may=Right.STEER in visit.rights,
        plain=plain,
        long=LONG,
        time=utc_text,
    )
