"""The nodes that the SuperLink admits: those of the enrolled institutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fieldfare.server.members.enrolment import EnrolledMember
from fieldfare.shared.errors import RunError

UNREGISTERED: Final = "unregistered"


class KnownNode(Protocol):
    """The SuperLink's facts about a node, as far as they are needed here."""

    @property
    def node(self) -> int:
        """Its number."""
        ...

    @property
    def public_key(self) -> bytes:
        """One OpenSSH line."""
        ...

    @property
    def status(self) -> str:
        """`unregistered` where it was taken off."""
        ...


class NodeControl(Protocol):
    """The part of superlink.Control that is needed here."""

    def register_node(self, public_key: bytes, name: str) -> int:
        """Let a node sign on."""
        ...

    def unregister_node(self, node: int) -> None:
        """Take a node off, for good."""
        ...

    def nodes(self) -> Sequence[KnownNode]:
        """Return every node that was ever registered."""
        ...


@dataclass(frozen=True)
class RegistrationChanges:
    """The changes that were made at the SuperLink.

    Attributes:
        registered: institutions whose nodes may sign on from now on.
        taken_off: how many nodes may not any more.
        refused: institutions whose node the SuperLink did not take, and why.
    """

    registered: tuple[str, ...]
    taken_off: int
    refused: tuple[tuple[str, str], ...]


def settle_nodes(members: Sequence[EnrolledMember], control: NodeControl) -> RegistrationChanges:
    """Register the members' nodes and take every other one off; nothing to do is no error.

    A node that was taken off never comes back with the same key: Flower keeps it so. A member
    whose identity was taken back keeps its node; without a roster it takes part in nothing.

    Raises:
        RunError: the SuperLink cannot be reached.
    """
    wanted = {member.node.encode(): member for member in members}
    present = {one.public_key: one for one in control.nodes() if one.status != UNREGISTERED}
    registered, refused = [], []
    for line, member in wanted.items():
        if line in present:
            continue
        try:
            control.register_node(line, member.institution)
            registered.append(member.institution)
        except RunError as error:
            refused.append((member.institution, str(error)))
    gone = [one for line, one in present.items() if line not in wanted]
    for one in gone:
        control.unregister_node(one.node)
    return RegistrationChanges(tuple(registered), len(gone), tuple(refused))
