"""How a file is written, and the number that says in which format."""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class NumberPlace(Enum):
    """The place of a format's number; the value is the word of the documents for the file."""

    TOML = "TOML"  # the key `format`
    JSON = "JSON"  # the same
    LINES = "lines of JSON"  # the same, in the last whole line; without one it is format 1
    SIGNED = "signed"  # in each line: `format` in the body and in its papers; a version in the type
    SQLITE = "SQLite"  # `user_version`, or the last row of a table `migrations`
    SAFETENSORS = "safetensors"  # `format` in its metadata


@dataclass(frozen=True)
class Form:
    """A form that files are written in.

    Attributes:
        name: for a reader.
        numbered: where its number stands; None: a standard of others, whose name says all.
        newest: the newest number that this version reads, and the one that it writes.
        oldest: of a database: the oldest one that it reads.
        types: of a signed message: the newest version of every type it may be, by the type's name
            without its version.
    """

    name: str
    numbered: NumberPlace | None = None
    newest: int = 0
    oldest: int = 0
    types: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """Return the form as documents name it."""
        if self.numbered is None:
            return self.name
        kinds = " or ".join(f"{kind}.v{version}" for kind, version in self.types)
        number = "tables of version" if self.numbered is NumberPlace.SQLITE else "format"
        return f"{' '.join(filter(None, (self.name, kinds)))}, {number} {self.newest}"


def toml(newest: int) -> Form:
    """Return the form of a TOML file with a key `format`."""
    return Form("TOML", NumberPlace.TOML, newest)


def json_of(newest: int) -> Form:
    """Return the form of a JSON file with a key `format`."""
    return Form("JSON", NumberPlace.JSON, newest)


def sqlite(newest: int, oldest: int = 1) -> Form:
    """Return the form of a SQLite file whose tables are of one of these versions."""
    return Form("SQLite", NumberPlace.SQLITE, newest, oldest)


def signed(*types: str, newest: int = 1) -> Form:
    """Return the form of a signed message of one of these types, such as roster-offer.v2."""
    parted = (one.rpartition(".v") for one in types)
    return Form(
        "signed", NumberPlace.SIGNED, newest, types=tuple((kind, int(v)) for kind, _, v in parted)
    )


IDENTITY: Final = Form("Ed25519, PKCS8 PEM (RFC 5958)")
IDENTITY_PUBLIC: Final = Form("Ed25519 public key, hex (RFC 8032)")
CERTIFICATE: Final = Form("X.509, PEM (RFC 5280)")
KEY_AND_CERTIFICATE: Final = Form("NIST P-384 key, X.509 certificates or both, PEM")
# A roster with its members' own papers, a line for each signature.
_ON_ROSTER: Final = ("roster-offer.v2", "enrolment.v2", "key-rotation.v1", "key-revocation.v1")
ROSTER_OFFER: Final = signed(*_ON_ROSTER)
MEMBER_PAPER: Final = signed(*_ON_ROSTER, "memory.v1")
STUDY_OFFER: Final = signed("study-offer.v1")
SAFETENSORS: Final = Form("safetensors", NumberPlace.SAFETENSORS, 1)
CERTIFICATE_KEY: Final = Form("NIST P-384, PKCS8 PEM (RFC 5958)")
LINES: Final = Form("lines of JSON", NumberPlace.LINES, 1)
ACCOUNTS: Final = sqlite(3, oldest=3)
OUTBOX: Final = sqlite(1)
