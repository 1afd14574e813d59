"""Every `Verifier` believes a signer's own key under its own name, and nobody else."""

from typing import Final

import pytest
from tests.support.homes.papers import key_called

from fieldfare.client.custodian.recall import AnyRoster
from fieldfare.client.home.roster import KnownSigners
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import Verifier
from fieldfare.shared.protocol.roster import (
    COORDINATOR,
    ROSTER_SIGNER,
    Member,
    Roster,
    RosterKey,
)

NAMES: Final = (COORDINATOR, ROSTER_SIGNER, "bank", "former")
KEYS: Final = {name: key_called(name) for name in NAMES}
ROSTER: Final = Roster(
    version=1,
    coordinator=public_hex(KEYS[COORDINATOR]),
    members=(Member(id="bank", key=public_hex(KEYS["bank"])),),
    roster_key=public_hex(KEYS[ROSTER_SIGNER]),
)
# Which (name, key) each believes.
RIGHT: Final[dict[str, tuple[Verifier, set[tuple[str, str]]]]] = {
    "Roster": (ROSTER, {(COORDINATOR, COORDINATOR), ("bank", "bank")}),
    "RosterKey": (RosterKey(public_hex(KEYS[ROSTER_SIGNER])), {(ROSTER_SIGNER, ROSTER_SIGNER)}),
    "KnownSigners": (
        KnownSigners(ROSTER, (public_hex(KEYS["former"]),)),
        {(COORDINATOR, COORDINATOR), (COORDINATOR, "former"), ("bank", "bank")},
    ),
    "AnyRoster": (
        AnyRoster((ROSTER, ROSTER.model_copy(update={"coordinator": public_hex(KEYS["former"])}))),
        {(COORDINATOR, COORDINATOR), (COORDINATOR, "former"), ("bank", "bank")},
    ),
}


@pytest.mark.parametrize("verifier", RIGHT)
def test_it_believes_these_signers_and_no_others(verifier: str) -> None:
    found, right = RIGHT[verifier]
    believed = set()
    for name in NAMES:
        for key, private in KEYS.items():
            try:
                found.verify(name, private.sign(b"said"), b"said")
            except ProtocolError:
                continue
            believed.add((name, key))
    assert believed == right


@pytest.mark.parametrize("verifier", RIGHT)
def test_a_signature_of_other_bytes_or_none_is_refused(verifier: str) -> None:
    found, right = RIGHT[verifier]
    for name, key in right:
        for signature in (KEYS[key].sign(b"other"), b"", b"x" * 64):
            with pytest.raises(ProtocolError):
                found.verify(name, signature, b"said")
