"""Who takes part: each member with its keys, its place on the roster, and when it was heard.

Enrolling and publishing touch the roster key, which no console may use: the page says the command.
"""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.members.standing import EnrolledStanding, membership, spoken_key
from fieldfare.server.superlink.state_view import NodeContact, SuperlinkView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain

MEMBERS: Final = "/members"
_NONE: Final = NodeContact(None, None, admitted=False)


@dataclass(frozen=True)
class SeenMember:
    """A member as the page shows it; `contact` is None where the SuperLink cannot be read."""

    standing: EnrolledStanding
    contact: NodeContact | None

    @property
    def state(self) -> str:
        """Whether its node is connected, in words; times are UTC."""
        found = self.contact
        if found is None:
            return "not known"
        if not found.admitted:
            return "not let in yet"
        if found.connected:
            return f"connected now, since {found.since:%Y-%m-%d %H:%M}"
        return f"gone since {found.until:%Y-%m-%d %H:%M}" if found.until else "never connected"


def members_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the page about the members."""
    return (Page(MEMBERS, Right.WATCH, lambda visit: _members(visit, place)),)


def _members(visit: Visit, place: CoordinatorPlace) -> Response:
    home = place.opened
    found, problem = membership(home), ""
    of: list[NodeContact | None] = [None] * len(found.members)
    try:
        contacts = SuperlinkView(home.superlink_database, utc_now).contacts()
        of = [contacts.get(one.member.node, _NONE) for one in found.members]
    except RunError as error:
        problem = str(error)
    return visit.page(
        "members.html",
        problem=problem,
        found=found,
        members=[SeenMember(one, at) for one, at in zip(found.members, of, strict=True)],
        home=home.path,
        spoken=spoken_key,
        plain=plain,
    )
