"""What a `Signer` signs, with a key or without, is read back under its own protection."""

from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evidence.pack import DigestAlone
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import (
    Approval,
    IdentitySigner,
    NoSigner,
    Signer,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import Member, Roster

KEYS: Final = {
    name: Ed25519PrivateKey.from_private_bytes(name.encode() * 32) for name in ("a", "b", "c")
}
BODY: Final = Approval(study="1" * 64, roster="2" * 64, institution="a", number=1, epoch=0)
SIGNERS: Final[dict[Protection, Signer]] = {
    Protection.EXACT: IdentitySigner(KEYS["a"]),
    Protection.SIMULATED: NoSigner(),
}
ROSTERS: Final = {
    protection: Roster(
        version=1,
        coordinator=public_hex(KEYS["c"]) if signed else "",
        members=tuple(Member(id=n, key=public_hex(KEYS[n]) if signed else "") for n in "ab"),
    )
    for protection, signed in ((Protection.EXACT, True), (Protection.SIMULATED, False))
}
every_signer = pytest.mark.parametrize("protection", SIGNERS)


@every_signer
def test_a_signature_is_the_same_each_time_and_of_these_bytes(protection: Protection) -> None:
    signer = SIGNERS[protection]
    assert signer.sign(b"x") == signer.sign(b"x")
    assert len(signer.sign(b"x")) == len(signer.sign(b"")) == (64 if signer.sign(b"x") else 0)


@every_signer
def test_what_was_signed_is_read_back(protection: Protection) -> None:
    content = sign_envelope(BODY, "a", SIGNERS[protection])
    found = open_envelope(content, Approval, ROSTERS[protection], protection)
    assert (found.body, found.signer, found.content) == (BODY, "a", content)


@every_signer
def test_a_signer_shows_no_key(protection: Protection) -> None:
    assert KEYS["a"].private_bytes_raw().hex() not in repr(SIGNERS[protection])


def test_a_digest_alone_stands_where_there_is_no_key() -> None:
    signer: Signer = DigestAlone()
    assert signer.sign(b"x") == signer.sign(b"x") != signer.sign(b"y")
    assert len(signer.sign(b"x")) == 32
    content = sign_envelope(BODY, "a", signer)
    found = open_envelope(content, Approval, ROSTERS[Protection.SIMULATED], Protection.SIMULATED)
    assert found.body == BODY
    with pytest.raises(ProtocolError):  # it is no signature
        open_envelope(content, Approval, ROSTERS[Protection.EXACT], Protection.EXACT)
