"""A feature's evidence, derived from its name: indicator, family, source, look-alikes.

Features are called as the typologies have them (`R04`, `R04_retention`); the pack knows the
rest. Where a name says nothing, an institution may name the family in `[alerts.families]`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from fieldfare.client.typologies.pack import own_pack
from fieldfare.client.typologies.typology import Family

OTHER: Final = "OTHER"
"""The family of what nobody named: it counts as one, as it is not known to be independent."""
FAMILIES: Final = (*(family.value for family in Family), OTHER)
ROW_FAMILIES: Final = {"text": "TEXT", "vector": "VECTOR"}
"""The one family of all that a model of texts or vectors says, by its kind (harm rule 2)."""
_NAMED: Final = re.compile(r"([A-Z]{1,4}\d{2,3})(?:_|$)")


@dataclass(frozen=True)
class Indicator:
    """A published indicator, as reasons speak of it.

    Attributes:
        family: independent evidence is counted by family.
        source: where it was published.
        at_least: its first feature's value from which it fires; that feature bears its id.
        benign: other explanations of it.
        meanings: of its features, by name.
    """

    id: str
    family: str
    title: str
    source: str
    at_least: float
    benign: tuple[str, ...]
    meanings: Mapping[str, str]


@dataclass(frozen=True)
class Persona:
    """People whose lives look alike and are not cases (harm rule 5).

    Attributes:
        overlaps: indicators that fire on them too.
        apart: facts to look for that tell them apart.
    """

    name: str
    overlaps: frozenset[str]
    apart: str


@cache
def indicators() -> Mapping[str, Indicator]:
    """Return every indicator of Fieldfare's pack by id."""
    found = {}
    for one in own_pack().indicators:
        said = one.typology
        linked = said.linked.features if said.linked else ()
        found[one.id] = Indicator(
            one.id,
            said.family.value,
            said.title,
            "; ".join(source.ref for source in said.sources),
            said.fires.at_least,
            said.benign,
            {spec.name: spec.meaning for spec in (*said.features, *linked)},
        )
    return found


PERSONAS: Final = tuple(
    Persona(name, frozenset(overlaps.split()), apart)
    for name, overlaps, apart in (
        ("ride-hail or delivery driver", "R03 R10 R11 R31",
         "paid by one to three platforms, fuel and repairs, money stays on the account"),
        ("travel nurse or locum", "R07 R09 R31", "wages, stays of a week and more, an agency pays"),
        ("trucker or cabin crew", "R07 R11 R31", "fuel cards, an employer, rent paid at home"),
        ("touring musician or trade", "R01 R07 R13", "clusters around events, venues, equipment"),
        ("student", "R01 R11 R19 R23 R36", "the same people send and receive, terms, tuition"),
        ("hair, nail, tattoo or massage worker", "R01 R12 R23 R24",
         "daytime, clients who return, supplies, taxes, one place"),
        ("online marketplace seller", "R01 R13 R30", "postage, refunds, suppliers are paid"),
        ("treasurer of a savings circle", "R01 R04 R06 R22 R36",
         "the same members, regular, equal amounts paid out"),
        ("migrant who sends money home", "R19 R20 R29", "once a month, to the same family"),
        ("bar, club or night-shift worker", "R02 R03 R19", "wages, one place of work"),
        ("consenting independent adult sex worker", "R01 R02 R07 R13 R23",
         "the holder keeps the money; own rent, food and savings; nobody else controls"),
        ("survivor in recovery", "R08 R17 R33",
         "an NGO or a benefit pays; an alert here can harm: use the suppression list"),
        ("parent, carer or accountant", "R21", "money goes to the holder, seldom at night"),
        ("dorm, shelter or migrant housing", "R20 R27", "many employers, no common payee"),
        ("farm contractor who deducts housing", "R20 R26 R28",
         "legal deductions, wages in a stable proportion"),
        ("cash restaurant or shop", "R22 R24", "card takings, invoices, wages"),
        ("low income, rent on pay day", "R04 R15", "one wage comes in, utilities"),
        ("small saver in coins, or gamer", "R14 R15", "one provider, no lodging"),
    )
)  # fmt: skip
"""Whose everyday life fires which indicators."""


def indicator_of(feature: str) -> Indicator | None:
    """Return the indicator that a feature is called after, if it is one."""
    found = _NAMED.match(feature)
    return indicators().get(found[1]) if found else None


def family_of(feature: str, named: Mapping[str, Family]) -> str:
    """Return a feature's family: as the institution named it, by its indicator, or OTHER."""
    if feature in named:
        return named[feature].value
    indicator = indicator_of(feature)
    return indicator.family if indicator else OTHER


def titles(features: Sequence[str]) -> dict[str, str]:
    """Return what features are, in words, by name; their own name where nothing is known."""
    return {feature: _title(feature) for feature in features}


def _title(feature: str) -> str:
    indicator = indicator_of(feature)
    if indicator is None:
        return feature
    meaning = indicator.meanings.get(feature)
    return f"{indicator.title} ({meaning})" if meaning else indicator.title
