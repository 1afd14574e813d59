"""Which entries of a statement does an indicator count?

An indicator is one number of many entries; a person who reads a statement wants to see which. Each
rule here is the indicator's own, as SQL over the tables of ledger.sql, so it changes with the
indicator's query (a test takes the marked entries away and sees that it fires no longer). R25
counts wages that are absent: no entry is marked for it.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from fieldfare.client.typologies.pack import own_pack

_STRANGER: Final = (
    "e.p2p_in AND e.age < 90 AND EXISTS "
    "(SELECT 1 FROM sender AS s WHERE s.unit = e.unit AND s.party = e.party)"
)
_MOST_PAID: Final = """
    e.direction = 'out' AND e.channel IN ('P2P', 'WIRE') AND e.age < 90 AND e.party = (
        SELECT arg_max(p.party, p.paid) FROM (
            SELECT o.party, sum(o.amount) AS paid FROM entry AS o
            WHERE o.unit = e.unit AND o.direction = 'out' AND o.channel IN ('P2P', 'WIRE')
                AND o.party IS NOT NULL AND o.age < 90
            GROUP BY o.party HAVING count(*) >= 3
        ) AS p
    )
"""
_LIVING: Final = (
    "'grocery', 'rent', 'utilities', 'health', 'phone', 'tuition', 'tax', 'insurance', "
    "'subscription'"
)
COUNTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "R01": _STRANGER,
        "R02": "e.p2p_in AND e.night AND e.age < 90",
        "R03": "e.night AND (e.cash_in OR e.cash_out) AND e.age < 90",
        "R04": "(e.arrives OR e.leaves) AND e.age < 90",
        "R05": "e.cash_in AND e.terminal_city IS NOT NULL AND e.age < 90 AND NOT EXISTS "
        "(SELECT 1 FROM entry AS o WHERE o.unit = e.unit AND o.cash_out AND o.age < 90 "
        "AND o.terminal_city = e.terminal_city)",
        "R06": "e.cash_in AND NOT e.holder AND e.age < 90",
        "R07": "e.spend = 'lodging' AND e.age < 84",
        "R08": "e.spend = 'lodging' AND e.at_home AND e.age < 90",
        "R09": "e.spend = 'distance' AND e.tickets >= 2 AND e.age < 90",
        "R10": "e.spend = 'ride' AND e.age < 91",
        "R11": "e.spend = 'quick_food' AND e.amount < $small AND e.age < 91",
        "R12": "e.spend IN ('care', 'lodging') AND e.age < 90",
        "R13": "e.spend = 'ads' AND e.amount <= $small AND e.age < 90",
        "R14": "e.direction = 'out' AND e.channel = 'VASP_OUT' AND e.amount <= $small "
        "AND e.age < 90",
        "R15": "e.spend = 'prepaid' AND e.age < 90",
        "R16": "e.spend = 'phone' AND e.age < 90",
        "R17": f"e.direction = 'out' AND coalesce(e.spend, '') NOT IN ({_LIVING}) AND e.age < 90",
        "R18": "e.direction = 'in' AND NOT e.regular_income "
        "AND coalesce(e.memo, '') NOT IN ('refund', 'loan') AND e.age < 90",
        "R19": "e.cash_in AND e.age < 90",
        "R20": "e.device IS NOT NULL AND e.age < 90",
        "R21": _MOST_PAID,
        "R22": "e.cash_in AND e.amount >= $low AND e.amount < $threshold AND e.age < 91",
        "R23": "e.p2p_in AND e.amount % $even = 0 AND e.age < 90",
        "R24": "e.night AND e.direction = 'in' AND (e.cash_in OR e.channel IN ('POS', 'P2P')) "
        "AND e.age < 90",
        "R26": "e.channel <> 'PAYROLL' AND e.age < 97 AND EXISTS (SELECT 1 FROM entry AS w "
        "WHERE w.unit = e.unit AND w.party = e.party AND w.channel = 'PAYROLL' "
        "AND w.direction <> e.direction "
        "AND date_diff('minute', w.moment, e.moment) BETWEEN 0 AND $minutes)",
        "R27": "e.channel = 'PAYROLL' AND e.age < 90 "
        "AND (e.direction = 'in' OR e.party IS NOT NULL)",
        "R28": "e.agency AND e.age < 90",
        "R29": "e.direction = 'out' AND e.channel IN ('WIRE', 'MSB') AND e.abroad AND e.age < 90",
        "R30": "e.direction = 'in' AND e.party_type = 'platform' AND e.party IS NULL "
        "AND e.age < 90",
        "R31": "e.place IS NOT NULL AND e.age < 90 AND NOT EXISTS (SELECT 1 FROM entry AS f "
        "WHERE f.unit = e.unit AND f.spend = 'fuel' AND f.place = e.place AND f.age < 90)",
        "R32": "e.branch_items > 0 AND e.age < 90",
        "R33": f"{_STRANGER} AND EXISTS (SELECT 1 FROM account AS a "
        "WHERE a.account = e.account AND a.opened_age BETWEEN 0 AND 90)",
        "R34": "e.spend = 'luxury' AND e.age < 90",
        "R35": "e.direction = 'out' AND e.channel IN ('P2P', 'WIRE') AND e.amount > 0",
        "R36": "e.channel IN ('P2P', 'WIRE') AND EXISTS (SELECT 1 FROM entry AS o "
        "WHERE o.unit = e.unit AND o.party = e.party AND o.direction <> e.direction "
        "AND o.channel IN ('P2P', 'WIRE'))",
        "R37": _MOST_PAID,
        "R38": "e.p2p_in AND e.age < 90 AND e.party IN (SELECT p.party FROM (SELECT o.party, "
        "count(*) FILTER (o.p2p_in) - count(*) FILTER (o.direction = 'out') AS payments "
        "FROM entry AS o WHERE o.unit = e.unit AND o.channel = 'P2P' AND o.party IS NOT NULL "
        "AND o.age < 90 GROUP BY o.party ORDER BY payments DESC, o.party LIMIT 2) AS p)",
        "R39": "e.direction = 'in' AND e.age < 90 AND (e.party_type = 'gov' "
        "OR coalesce(e.memo, '') IN ('benefit', 'pension'))",
    }
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
