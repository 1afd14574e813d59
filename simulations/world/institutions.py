"""The institutions of the world: banks, a remittance firm, NGOs, a hotline.

They differ on purpose: in size, in the lives and the ring accounts that they attract, in
what they record, and in what they ever learn. One institution's own view is lopsided.
"""

from enum import StrEnum
from importlib.resources import files
from itertools import chain, islice, product
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.toml import Section, load_toml, parse_toml
from fieldfare.simulations.world.personas import PERSONAS
from fieldfare.simulations.world.scenarios import ROLES

LACKABLE: Final = (
    "mcc",
    "merchant_city",
    "counterparty_type",
    "memo_category",
    "terminal_city",
    "device_key",
    "conductor_is_holder",
    "ticket_count",
    "branch_items",
)
"""Columns that an institution may not record."""

MOST_BANKS: Final = 26 + 26**2  # bank-a to bank-z, bank-aa to bank-zz

# A folder's name, and `truth` is taken: `Institutions` refuses it.
Name = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0, le=100)]


def _known(names: tuple[str, ...]) -> BeforeValidator:
    def check(value: object) -> object:
        """Refuse a mapping with a name that is not known."""
        found = list(value) if isinstance(value, dict) else []
        unknown = [name for name in found if name not in names]
        if unknown:
            raise ValueError(f"expected some of {', '.join(names)}, found {unknown[0]!r:.40}")
        return value

    return BeforeValidator(check)


class WorldInstitution(Section):
    """One institution; the file `institutions.toml` explains each word."""

    name: Name
    kind: Literal["bank", "remittance", "ngo", "hotline"]
    size: Annotated[float, Field(gt=0, le=1000)] = 1.0
    lacks: Annotated[dict[str, Share], _known(LACKABLE)] = Field(default={})
    unseen: tuple[Literal["VASP_OUT", "CASH_DEP", "MSB", "WIRE", "PREPAID_LOAD"], ...] = Field(
        default=(), strict=False
    )
    roles: Annotated[dict[str, Factor], _known(tuple(ROLES))] = Field(default={})
    lives: Annotated[dict[str, Factor], _known(tuple(p.name for p in PERSONAS))] = Field(default={})
    seen: Share = 0.25


class Institutions(Section):
    """All of them, in the order of the file."""

    institution: tuple[WorldInstitution, ...] = Field(min_length=1, strict=False)
    at_two_banks: Share = 0.08  # of people who are no business

    @model_validator(mode="after")
    def _fit(self) -> Self:
        names = [one.name for one in self.institution]
        if len(set(names)) != len(names):
            raise ValueError("expected different names, found one twice")
        if "truth" in names:
            raise ValueError(
                "expected a name other than truth, found it: that folder holds the truth"
            )
        if not self.of("bank"):
            raise ValueError("expected at least one bank, found none")
        return self

    def of(self, *kinds: str) -> tuple[WorldInstitution, ...]:
        """Return those of some kinds, in order."""
        return tuple(one for one in self.institution if one.kind in kinds)


class WorldFederation(StrEnum):
    """A federation: its banks and others, and its banks' study, which is shipped."""

    FIVE = "five-banks"
    TWELVE = "twelve-banks"
    TWENTY = "twenty-banks"


TWENTY: Final = 20
_SHIPPED: Final = {
    WorldFederation.FIVE: "institutions.toml",
    WorldFederation.TWELVE: "twelve-institutions.toml",
}


def equal_banks(count: int) -> Institutions:
    """Return so many banks of one size, `bank-a` first, and the five banks' other institutions.

    They record everything, attract everybody alike, and learn late of a quarter of their cases.
    Each person has one of them, so that what is promised to a customer is promised to a person.

    Raises:
        UsageError: no bank, or more than there can be.
    """
    if not 1 <= count <= MOST_BANKS:
        raise UsageError(f"expected 1 to {MOST_BANKS} banks, found {count}")
    names = islice(chain(ascii_lowercase, map("".join, product(ascii_lowercase, repeat=2))), count)
    banks = [WorldInstitution(name=f"bank-{one}", kind="bank") for one in names]
    others = load_institutions().of("remittance", "ngo", "hotline")
    return Institutions(institution=(*banks, *others), at_two_banks=0.0)


def load_institutions(
    path: Path | None = None, federation: WorldFederation = WorldFederation.FIVE
) -> Institutions:
    """Read a file of institutions, or a shipped federation's where none is named.

    Raises:
        StudyError: unreadable, or lists every mistake.
    """
    if path is not None:
        return load_toml(path, Institutions)
    if federation is WorldFederation.TWENTY:
        return equal_banks(TWENTY)
    name = _SHIPPED[federation]
    text = files("fieldfare.simulations.world").joinpath(name).read_text("utf-8")
    return parse_toml(text, Institutions, name)
