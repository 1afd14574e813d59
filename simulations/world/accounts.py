"""Account features by SQL over each unit's own statement entries."""

from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from fieldfare.simulations.world.payments import World

FEATURES: Final = (
    "p2p_in_count",
    "senders_30d",
    "senders_once_share",
    "p2p_night_share",
    "p2p_even_share",
    "p2p_in_mean",
    "night_share",
    "retention",
    "moved_on_share",
    "senders_moved_on_count",
    "top_payee_share",
    "wages_back_amount",
    "cash_in_amount",
    "cash_out_amount",
    "cash_in_apart_amount",
    "cities",
    "lodging_count",
    "transport_count",
    "ads_small_count",
    "lodging_with_ads_count",
    "prepaid_amount",
    "phone_lines",
    "care_count",
    "regular_income_count",
    "platform_share",
    "living_share",
    "wages_amount",
    "remittance_amount",
)
"""Feature columns of `accounts`, all `own`; float64, null where undefined.

Nationality, gender, age and postcode are not in the world at all (design section 8, rule 4).
"""

# DuckDB must not fetch or open anything (design section 7).
_SEALED: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "enable_external_access": False,
}
_SQL: Final = Path(__file__).with_name("accounts.sql")


def accounts(world: World) -> pa.Table:
    """Return one row per customer: unit, institution, label, persona, features.

    Every feature reads the unit's own entries and public constants only, so a
    unit's row is the same bytes whoever else is in the world. `persona` serves
    the audit of false positives (design section 8, rule 5); it is never a feature.
    """
    with duckdb.connect(":memory:", config=_SEALED) as connection:
        connection.register("customers", world.customers)
        connection.register("entries", world.entries)
        query = connection.execute(_SQL.read_text(encoding="utf-8"), {"days": world.days})
        return query.to_arrow_table()
