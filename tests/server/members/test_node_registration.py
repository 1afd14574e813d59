"""The SuperLink's list of nodes becomes the enrolments', whatever it was."""

from dataclasses import dataclass, field

from tests.support.homes.papers import node_called

from fieldfare.server.members.enrolment import EnrolledMember
from fieldfare.server.members.node_registration import UNREGISTERED, KnownNode, settle_nodes
from fieldfare.shared.errors import RunError


@dataclass
class Known:
    node: int
    public_key: bytes
    status: str
    name: str = ""


@dataclass
class Superlink:
    """In memory, with Flower's rule: a key that was taken off never comes back."""

    known: list[Known] = field(default_factory=list)
    calls: int = 0

    def register_node(self, public_key: bytes, name: str) -> int:
        self.calls += 1
        if any(one.public_key == public_key for one in self.known):
            raise RunError("this key was taken off")
        self.known.append(Known(len(self.known) + 1, public_key, "registered", name))
        return len(self.known)

    def unregister_node(self, node: int) -> None:
        self.calls += 1
        self.known[node - 1].status = UNREGISTERED

    def nodes(self) -> tuple[KnownNode, ...]:
        return tuple(self.known)

    def let_in(self) -> set[str]:
        return {one.name for one in self.known if one.status != UNREGISTERED}


def member(name: str, node: str = "", *, revoked: bool = False) -> EnrolledMember:
    return EnrolledMember(name, "ab" * 32, node_called(node or name), "", revoked)


def test_members_nodes_are_let_in_once() -> None:
    superlink = Superlink()
    done = settle_nodes([member("bank-a"), member("bank-b")], superlink)
    assert done.registered == ("bank-a", "bank-b")
    assert superlink.let_in() == {"bank-a", "bank-b"}
    before = superlink.calls
    assert settle_nodes([member("bank-a"), member("bank-b")], superlink).registered == ()
    assert superlink.calls == before


def test_who_left_is_taken_off_and_a_new_key_takes_the_olds_place() -> None:
    superlink = Superlink()
    settle_nodes([member("bank-a"), member("bank-b")], superlink)
    done = settle_nodes([member("bank-b", "another")], superlink)
    assert (done.registered, done.taken_off) == (("bank-b",), 2)
    assert superlink.let_in() == {"bank-b"}
    assert settle_nodes([member("bank-b", "another")], superlink).taken_off == 0


def test_one_key_that_is_refused_keeps_nobody_else_out() -> None:
    superlink = Superlink()
    settle_nodes([member("bank-a")], superlink)
    settle_nodes([], superlink)
    done = settle_nodes([member("bank-a"), member("bank-b")], superlink)
    assert done.registered == ("bank-b",)
    assert [name for name, _ in done.refused] == ["bank-a"]


def test_a_revoked_identity_keeps_its_node() -> None:
    superlink = Superlink()
    settle_nodes([member("bank-a")], superlink)
    assert settle_nodes([member("bank-a", revoked=True)], superlink).taken_off == 0
