"""Both papers are signed by the key that they name, and have one spelling."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from tests.support.homes.coordinators import an_authority

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.identity import (
    Enrolment,
    Invitation,
    node_key_line,
    open_enrolment,
    open_invitation,
    parse_node_key,
    public_hex,
    sign_enrolment,
    sign_invitation,
)
from fieldfare.shared.protocol.messages import IdentitySigner, sign_envelope

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
COORDINATOR: Final = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
IDENTITY: Final = Ed25519PrivateKey.from_private_bytes(b"i" * 32)
THIEF: Final = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
NODE: Final = node_key_line(ec.derive_private_key(7, ec.SECP384R1()).public_key())
AUTHORITY: Final = an_authority(NOW)


def enrolment(**changes: Any) -> Enrolment:
    fields = {
        "institution": "bank-a",
        "identity": public_hex(IDENTITY),
        "node": NODE,
        "contact": "Data office, +1 555 0100",
        "hub": "Example hub",
        "roster_key": public_hex(COORDINATOR),
    }
    return Enrolment.model_validate(fields | changes)


def invitation(**changes: Any) -> Invitation:
    fields = {
        "hub": "Example hub",
        "address": "hub.example.org:443",
        "authority": AUTHORITY,
        "bundle": "ab" * 32,
        "roster_key": public_hex(COORDINATOR),
    }
    return Invitation.model_validate(fields | changes)


def test_an_enrolment_is_read_as_it_was_signed() -> None:
    assert open_enrolment(sign_enrolment(enrolment(), IDENTITY)) == enrolment()


def test_an_invitation_is_read_as_it_was_signed() -> None:
    assert open_invitation(sign_invitation(invitation(), COORDINATOR)) == invitation()


def test_nobody_signs_with_a_key_that_is_not_named_inside() -> None:
    with pytest.raises(ProtocolError, match="named inside"):
        sign_enrolment(enrolment(), THIEF)
    with pytest.raises(ProtocolError, match="named inside"):
        sign_invitation(invitation(), THIEF)


@pytest.mark.parametrize("signer", ["bank-a", "bank-b", "coordinator"])
def test_who_names_anothers_key_without_having_it_is_refused(signer: str) -> None:
    with pytest.raises(ProtocolError):
        open_enrolment(sign_envelope(enrolment(), signer, IdentitySigner(THIEF)))
    with pytest.raises(ProtocolError):
        open_invitation(sign_envelope(invitation(), signer, IdentitySigner(THIEF)))


def test_the_right_key_under_another_name_is_refused() -> None:
    with pytest.raises(ProtocolError):
        open_enrolment(sign_envelope(enrolment(), "bank-b", IdentitySigner(IDENTITY)))
    with pytest.raises(ProtocolError):
        open_invitation(sign_envelope(invitation(), "bank-a", IdentitySigner(COORDINATOR)))


def test_no_field_can_be_changed_under_the_signature() -> None:
    for content, read in (
        (sign_enrolment(enrolment(), IDENTITY), open_enrolment),
        (sign_invitation(invitation(), COORDINATOR), open_invitation),
    ):
        body = json.loads(content)["body"]
        for name in body.keys() - {"format"}:
            envelope = json.loads(content)
            envelope["body"][name] = {"hub": "Other"}.get(name, "cd" * 32)
            changed = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
            assert changed != content
            with pytest.raises(ProtocolError):
                read(changed)


def test_one_paper_is_not_read_as_another_and_has_one_spelling() -> None:
    signed = sign_enrolment(enrolment(), IDENTITY)
    with pytest.raises(ProtocolError):
        open_invitation(signed)
    for other in (b" " + signed, signed + b"\n", signed.replace(b'":"', b'": "'), signed[:-1]):
        with pytest.raises(ProtocolError):
            open_enrolment(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"institution": "coordinator"},
        {"institution": "coordinator-roster"},
        {"institution": ""},
        {"institution": " bank-a"},
        {"institution": "bank\u202ea"},
        {"institution": "x" * 65},
        {"identity": "AB" * 32},
        {"identity": public_hex(COORDINATOR)},
        {"node": NODE + " someone@somewhere"},
        {"node": NODE + "\n"},
        {"node": "ssh-ed25519 AAAA"},
        {"contact": "two\nlines"},
        {"contact": "x" * 201},
        {"hub": ""},
        {"roster_key": ""},
        {"more": "1"},
    ],
)
def test_what_an_enrolment_may_not_hold(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        enrolment(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"hub": "a\tb"},
        {"address": "hub"},
        {"address": "https://hub:1"},
        {"authority": ""},
        {"authority": AUTHORITY + AUTHORITY},
        {"authority": AUTHORITY + "# more\n"},
        {"bundle": "ab"},
        {"roster_key": "G" * 64},
    ],
)
def test_what_an_invitation_may_not_hold(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        invitation(**changes)


def test_a_node_key_is_p384_in_one_spelling() -> None:
    assert node_key_line(parse_node_key(NODE)) == NODE
    curve = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    identity = IDENTITY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    kind, blob = NODE.split()
    longer = base64.b64encode(base64.b64decode(blob) + b"\0").decode()
    point = parse_node_key(NODE).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    packed = base64.b64encode(base64.b64decode(blob).replace(point, b"\2" + point[1:])).decode()
    for line in (
        *("", "junk", node_key_line(curve), identity.decode(), f"{kind}  {blob}"),
        *(
            f"{kind} {longer}",
            f"{kind} {packed}",
            f" {NODE}",
            f"{NODE} comment",
            f"{NODE}\n{NODE}",
            "é",
        ),
    ):
        with pytest.raises(ValueError, match="expected"):
            parse_node_key(line)
