"""Which entries of a statement does an indicator count?

An indicator is one number of many entries; a person who reads a statement wants to see which. Each
rule of `counted.toml` is the indicator's own, as SQL over the tables of ledger.sql, so it changes
with the indicator's query (a test takes the marked entries away and sees that it fires no longer).
R25 counts wages that are absent: no entry is marked for it.
"""

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

from fieldfare.client.typologies.pack import own_pack

_SQL: Final = tomllib.loads(
    (resources.files("fieldfare.client.typologies") / "counted.toml").read_text(encoding="utf-8")
)
COUNTED: Final[Mapping[str, str]] = MappingProxyType(
    {name: rule.format_map(_SQL["shared"]) for name, rule in _SQL["rules"].items()}
)
"""By indicator: a condition on one row `e` of `entry`."""


def marks(indicators: Iterable[str]) -> str:
    """Return SQL for the list of those indicators that count the entry `e`, by id.

    Args:
        indicators: of Fieldfare's own pack; those that count no entry are left out.
    """
    constants = {one.id: one.typology.parameters for one in own_pack().indicators}
    cases = [
        f"CASE WHEN {_bound(COUNTED[one], constants[one])} THEN '{one}' END"
        for one in sorted(set(indicators) & set(COUNTED))
    ]
    return f"list_filter(CAST([{', '.join(cases)}] AS VARCHAR[]), x -> x IS NOT NULL)"


def _bound(rule: str, constants: Mapping[str, float]) -> str:
    for name, value in constants.items():
        rule = rule.replace(f"${name}", str(value))
    return rule
