from pathlib import Path

import pytest
from tests.support.homes.coordinators import an_authority
from tests.support.homes.papers import key_called

from fieldfare.client.home.keys import load_identity, node_public_line, public_identity
from fieldfare.client.home.layout import NODE_FILE, Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.institution.initial_setup import (
    check_pinned,
    enrolment_for,
    pin_coordinator,
    read_invitation,
    write_node_files,
)
from fieldfare.client.node.settings import AUTHORITY_FILE
from fieldfare.client.node.terms import load_node_terms
from fieldfare.shared.errors import KeysError, StudyError, UsageError
from fieldfare.shared.protocol.identity import (
    Invitation,
    open_enrolment,
    public_hex,
    sign_invitation,
)

COORDINATOR = key_called("coordinator")
OTHER = key_called("another coordinator")
AUTHORITY = an_authority()


def invitation(**changes: str) -> Invitation:
    fields = {
        "hub": "Example coordinator",
        "address": "coordinator.example.org:8443",
        "authority": AUTHORITY,
        "bundle": "ab" * 32,
        "roster_key": public_hex(COORDINATOR),
    }
    return Invitation.model_validate(fields | changes)


def test_an_invitation_is_read_and_a_changed_one_refused() -> None:
    signed = sign_invitation(invitation(), COORDINATOR)
    assert read_invitation(signed, "sent") == invitation()
    for content in (signed.replace(b"8443", b"8444"), b"", b"{}"):
        with pytest.raises(UsageError, match=r"^sent: .*ask the coordinator"):
            read_invitation(content, "sent")


def test_a_key_is_pinned_once_and_never_replaced(home: Home) -> None:
    assert not check_pinned(home, invitation(), "sent")
    pin_coordinator(home, invitation())
    assert check_pinned(home, invitation(), "sent")
    assert pinned_coordinator(home, load_policy(home)) == invitation().roster_key
    stranger = invitation(roster_key=public_hex(OTHER))
    with pytest.raises(UsageError, match="follows one coordinator"):
        check_pinned(home, stranger, "sent")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        pin_coordinator(home, stranger)
    assert home.coordinator_key.read_text().strip() == invitation().roster_key


def test_a_key_that_was_pinned_by_hand_in_the_policy_counts(home: Home) -> None:
    text = home.policy.read_text()
    pinned = f'coordinator = "{invitation().roster_key}"'
    home.policy.write_text(text.replace('coordinator = ""', pinned))
    assert check_pinned(home, invitation(), "sent")
    with pytest.raises(UsageError, match="follows one coordinator"):
        check_pinned(home, invitation(roster_key=public_hex(OTHER)), "sent")
    home.coordinator_key.write_text(public_hex(OTHER))
    with pytest.raises(KeysError, match="found another"):
        check_pinned(home, invitation(), "sent")


def test_a_node_finds_the_coordinator_by_what_was_written(home: Home) -> None:
    write_node_files(home, invitation())
    terms = load_node_terms(home.path / NODE_FILE)
    assert terms.superlink == "coordinator.example.org:8443"
    assert terms.authority.decode() == AUTHORITY
    assert terms.bundles == {"ab" * 32}
    assert terms.custodian == home.custodian_socket
    for name in (NODE_FILE, AUTHORITY_FILE):
        assert (home.path / name).stat().st_mode & 0o777 == 0o600
    assert Home.open(home.path) == home


def test_a_later_invitation_changes_the_coordinators_lines_and_no_others(home: Home) -> None:
    path = home.path / NODE_FILE
    write_node_files(home, invitation())
    text = path.read_text().replace("run/custodian.sock", "/run/fieldfare/custodian.sock")
    path.write_text(text + "# mine\n")
    write_node_files(home, invitation(address="10.0.0.1:9000", bundle="cd" * 32))
    terms = load_node_terms(path)
    assert terms.superlink == "10.0.0.1:9000"
    assert terms.custodian == Path("/run/fieldfare/custodian.sock")
    assert terms.bundles == {"ab" * 32, "cd" * 32}
    assert "# mine" in path.read_text()
    before = path.read_bytes()
    write_node_files(home, invitation(address="10.0.0.1:9000", bundle="cd" * 32))
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["superlink", "\xff", 'surprise = 1\nkey = "keys/node"'])
def test_a_node_toml_that_cannot_be_read_is_left_alone(home: Home, text: str) -> None:
    path = home.path / NODE_FILE
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyError, match=NODE_FILE):
        write_node_files(home, invitation())
    assert path.read_bytes() == text.encode("latin-1")
    assert not (home.path / AUTHORITY_FILE).exists()


def test_an_enrolment_says_who_asks_and_of_whom(home: Home) -> None:
    signed = enrolment_for(home, "bank-a", invitation(), load_identity(home, None), "Bo")
    body = open_enrolment(signed)
    assert (body.institution, body.identity) == ("bank-a", public_identity(home))
    assert (body.node, body.contact) == (node_public_line(home), "Bo")
    assert (body.hub, body.roster_key) == ("Example coordinator", public_hex(COORDINATOR))
    with pytest.raises(UsageError, match="--contact"):
        enrolment_for(home, "bank-a", invitation(), load_identity(home, None), "two\nlines")


def test_a_comment_that_ssh_keygen_left_is_not_sent(home: Home) -> None:
    line = node_public_line(home)
    home.node_public.write_text(f"{line} somebody@somewhere\n")
    assert node_public_line(home) == line
    home.node_public.write_text("ssh-ed25519 AAAA\n")
    with pytest.raises(KeysError, match="P-384"):
        node_public_line(home)
