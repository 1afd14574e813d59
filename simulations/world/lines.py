"""Every sort of statement line in the world: channel, merchant category, counterparty.

Channels and counterparty types are those of the canonical records; merchant category codes
are ISO 18245.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from fieldfare.simulations.world.habits import Kind

PartyType = Literal["person", "business", "platform", "gov", "unknown"]
Rhythm = Literal["flat", "weekend", "shopping", "travel", "term"]


@dataclass(frozen=True, slots=True)
class Line(Kind):
    """A kind of line with what a canonical transaction says of it besides.

    Attributes:
        mccs: merchant category codes; a merchant keeps one of them. Empty: none.
        party: what the counterparty is; None for cash.
        rhythm: when in the week and the year it is frequent (`months.Months`).
        online: carries the key of the device that ordered it.
        abroad: goes to another country.
        drift: growth of its frequency in a month, as a share.
    """

    mccs: tuple[str, ...] = ()
    party: PartyType | None = "business"
    rhythm: Rhythm = "flat"
    online: bool = False
    abroad: bool = False
    drift: float = 0.0


LINES: Final[Mapping[str, Line]] = MappingProxyType(
    {
        "payroll": Line("in", "PAYROLL", 0, steady=True),
        "benefit": Line("in", "ACH", 1, steady=True, party="gov"),
        "platform": Line("in", "ACH", 2, party="platform", drift=0.01),
        "invoice": Line("in", "ACH", 3),
        "takings": Line("in", "POS", 4, rhythm="weekend"),
        "p2p_in": Line("in", "P2P", 5, party="person", online=True, drift=0.015),
        "p2p_out": Line("out", "P2P", 5, party="person", online=True, drift=0.015),
        "cash_in": Line("in", "CASH_DEP", 6, placed=True, party=None, drift=-0.015),
        "cash_large": Line("in", "CASH_DEP", 6, placed=True, party=None, drift=-0.015),
        "cash_out": Line("out", "ATM_WD", 6, placed=True, party=None, mccs=("6011",), drift=-0.015),
        "wages": Line("out", "PAYROLL", 7, steady=True, party="person"),
        "rent": Line("out", "ACH", 8, steady=True, mccs=("6513",)),
        "utilities": Line("out", "ACH", 9, steady=True, mccs=("4900",)),
        "phone": Line("out", "ACH", 10, steady=True, mccs=("4814",)),
        "subscription": Line("out", "ECOM", 11, steady=True, mccs=("5968",), online=True),
        "savings": Line("out", "ACH", 12, steady=True, party="unknown"),
        "tax": Line("out", "ACH", 13, steady=True, party="gov", mccs=("9311",)),
        "tuition": Line("out", "ACH", 14, mccs=("8220",), rhythm="term"),
        "groceries": Line("out", "POS", 15, placed=True, mccs=("5411",)),
        "eating": Line("out", "POS", 16, placed=True, mccs=("5814", "5499"), rhythm="weekend"),
        "fuel": Line("out", "POS", 17, placed=True, mccs=("5541",)),
        "supplies": Line("out", "POS", 18, placed=True, mccs=("5199", "5039")),
        "care": Line("out", "POS", 19, placed=True, mccs=("5912", "5977", "7230")),
        "clothing": Line(
            "out", "ECOM", 20, mccs=("5651", "5621"), rhythm="shopping", online=True, drift=0.01
        ),
        "lodging": Line("out", "POS", 21, placed=True, mccs=("7011",), rhythm="travel"),
        "rides": Line(
            "out", "ECOM", 22, placed=True, mccs=("4121",), rhythm="weekend", online=True
        ),
        "travel": Line(
            "out", "ECOM", 23, mccs=("4112", "4131", "4511"), rhythm="travel", online=True
        ),
        "ads": Line("out", "ECOM", 24, mccs=("7311", "5816", "7273"), online=True),
        "prepaid": Line("out", "PREPAID_LOAD", 25, mccs=("6540",), rhythm="shopping"),
        "coins": Line("out", "VASP_OUT", 26, mccs=("6051",), online=True, drift=0.02),
        "remittance": Line("out", "MSB", 27, mccs=("4829",), party="person", abroad=True),
        "wire": Line("out", "WIRE", 28, party="person", abroad=True),
        "agency": Line("out", "ACH", 29, mccs=("7361",)),
        "luxury": Line("out", "POS", 30, placed=True, mccs=("5944",), rhythm="shopping"),
    }
)
"""Care is pharmacy, cosmetics, beauty; agency is fees to employment agencies."""

NUMBER: Final[Mapping[str, int]] = MappingProxyType({name: i for i, name in enumerate(LINES)})
"""A line's index in `LINES`."""

OTHER_SIDE: Final[Mapping[str, str]] = MappingProxyType(
    {"p2p_out": "p2p_in", "p2p_in": "p2p_out", "payroll": "wages", "wages": "payroll"}
)
"""What the counterparty's own statement calls the same payment."""
