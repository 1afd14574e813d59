"""Who takes part: each member with its keys, its place on the roster, and when it was heard.

What institutions sent is looked at, with the fingerprints to compare, and taken in by the command
that the page says: it changes who is a member, and a console decides that for nobody.
"""

import shlex
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.enrolment import (
    ENROLMENT,
    REVOCATION,
    ROTATION,
    MembershipChange,
    Paper,
    examine,
)
from fieldfare.server.members.standing import EnrolledStanding, membership, spoken_key
from fieldfare.server.superlink.state_view import NodeContact, SuperlinkView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.protocol.identity import node_key_fingerprint
from fieldfare.shared.protocol.signed_files import read_signed
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain

MEMBERS: Final = "/members"
PASTED: Final = "what was pasted"
MOST_PAPERS: Final = 50  # that are looked at
LONG: Final = 1_000
_PAPERS: Final = frozenset({ENROLMENT, ROTATION, REVOCATION})
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
            return "not admitted yet"
        if found.connected:
            return f"connected now, since {found.since:%Y-%m-%d %H:%M}"
        return f"gone since {found.until:%Y-%m-%d %H:%M}" if found.until else "never connected"


@dataclass(frozen=True)
class WaitingPaper:
    """A paper that an institution sent, and that was not taken in.

    Attributes:
        name: of the file, or what else to call it.
        paper: what it says; None where it does not do.
        problem: why it does not.
        command: that takes it in; empty: there is none.
    """

    name: str
    paper: Paper | None
    problem: str = ""
    command: str = ""

    @property
    def identity(self) -> str:
        """The fingerprint to compare with the institution, out of band."""
        return spoken_key(self.paper.identity) if self.paper else ""

    @property
    def node(self) -> str:
        """The fingerprint of its node's key."""
        return node_key_fingerprint(self.paper.node) if self.paper else ""


def members_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about the members."""
    return (
        Page(MEMBERS, Right.WATCH, lambda visit: _members(visit, place)),
        Page(f"{MEMBERS}/paper", Right.VERIFY, lambda visit: _review_paste(visit, place), "POST"),
    )


def _review_paste(visit: Visit, place: CoordinatorPlace) -> Response:
    """Look at a paper that was pasted; nothing of it is kept."""
    text = visit.form.get("paper", "").strip()
    return _members(visit, place, _looked_at(place.opened, text.encode(), PASTED))


def _looked_at(home: CoordinatorHome, content: bytes, name: str, file: str = "") -> WaitingPaper:
    try:
        paper = examine(home, content, name)
    except UsageError as error:
        return WaitingPaper(name, None, str(error))
    if paper.change is MembershipChange.NONE:
        return WaitingPaper(name, paper)
    where = ["--home", str(home.path)]
    words = ["fieldfare", "coordinator", "enrol", file or "FILE", *where]
    return WaitingPaper(name, paper, command=shlex.join(words))


def _waiting(home: CoordinatorHome) -> list[WaitingPaper]:
    """Look at the papers that lie in the folder itself, as they were saved from mail."""
    files = sorted(one for one in home.path.iterdir() if one.suffix in _PAPERS and one.is_file())
    found = []
    for file in files[:MOST_PAPERS]:
        try:
            found.append(_looked_at(home, read_signed(file), file.name, str(file)))
        except UsageError as error:
            found.append(WaitingPaper(file.name, None, str(error)))
    return [one for one in found if one.command or one.problem]


def _members(visit: Visit, place: CoordinatorPlace, pasted: WaitingPaper | None = None) -> Response:
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
        waiting=_waiting(home),
        pasted=pasted,
        pastes=Right.VERIFY in visit.rights,
        typed=visit.form.get("paper", ""),
        long=LONG,
        spoken=spoken_key,
        plain=plain,
    )
