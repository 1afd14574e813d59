"""What institutions send to a coordinator, signed with keys that a test makes up."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.settings import load_settings
from fieldfare.shared.protocol.identity import (
    Enrolment,
    node_key_line,
    public_hex,
    sign_enrolment,
    state_revocation,
    state_rotation,
)

P384_ORDER_BITS: Final = 300  # of a private number, well below the group's order


def key_called(name: str) -> Ed25519PrivateKey:
    """The same key for the same name, always."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def node_called(name: str) -> str:
    """A node's public line, the same for the same name."""
    number = int.from_bytes(hashlib.sha512(name.encode()).digest()) >> (512 - P384_ORDER_BITS)
    return node_key_line(ec.derive_private_key(number, ec.SECP384R1()).public_key())


@dataclass
class Applicant:
    """An institution with an identity that it can replace."""

    name: str
    home: CoordinatorHome
    identity: Ed25519PrivateKey = field(init=False)
    node: str = field(init=False)
    contact: str = ""

    def __post_init__(self) -> None:
        self.identity, self.node = key_called(self.name), node_called(self.name)

    @property
    def public(self) -> str:
        return public_hex(self.identity)

    def enrolment(self, *, hub: str = "", roster_key: str = "") -> bytes:
        """Its enrolment at the coordinator, or at another one."""
        body = Enrolment(
            institution=self.name,
            identity=self.public,
            node=self.node,
            contact=self.contact,
            hub=hub or load_settings(self.home).name,
            roster_key=roster_key or roster_public(self.home),
        )
        return sign_enrolment(body, self.identity)

    def rotate(self, to: str = "") -> bytes:
        """Replace the identity; returns the statement."""
        old, self.identity = self.identity, key_called(to or f"{self.public}'s successor")
        return state_rotation(self.name, old, self.identity)

    def revocation(self) -> bytes:
        return state_revocation(self.name, self.identity)
