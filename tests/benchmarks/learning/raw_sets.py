"""Two sets of records with raw times, amounts or positions, named before anything was measured.

*payments*: invented payments of five sites, 12,000 each, seed 0. Raw columns: when the account
was opened, when its contact data last changed, when the payment was made, amount, balance, the
positions of the device and of the home, and the type of account. What a payment risks follows from
the age of the account, the hours since the change, the distance and the share of the balance, each
in its own way for each type of account; beside these sums an interaction that no single column
says, and labels that chance decides in part.

*accounts*: IBM's AMLSim samples as six banks (published, 40,000 accounts, 4.7 % fraudulent). Raw
columns: when the first and the last credit and debit of an account's own statement were booked,
how many there were, their sums, their largest, and how many different names. Hand-made columns
are those of `derive_amlsim`, of which several (pauses, bursts, quick shares) follow from no raw
column here.

The generator of the first was written for this measurement; of the second, eight raw columns and
five ratios had been looked at before. Derived columns are fixed here too. No setting of training
was chosen on either before this file was written.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldfare.simulations.published.amlsim import SIMULATIONS, derive_amlsim, read_simulation

SITES: Final = ("north", "east", "south", "west", "middle")
PER_SITE: Final = 12_000
SEED: Final = 0
TYPES: Final = ("personal", "business", "charity")
TYPE_SHARES: Final = (0.7, 0.2, 0.1)
START: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
DAY: Final = 86_400.0
KM_PER_DEGREE: Final = 111.195
BASE: Final = -11.0  # log-odds of a payment without any sign
FIRST_DAY: Final = datetime(2017, 1, 1, tzinfo=UTC).timestamp()  # of AMLSim's steps

Numbers = NDArray[np.float64]

_RAW: Final = """
SELECT unit,
    count(*) FILTER (credit) AS in_count, count(*) FILTER (NOT credit) AS out_count,
    coalesce(sum(cents) FILTER (credit), 0) / 100 AS in_sum,
    coalesce(sum(cents) FILTER (NOT credit), 0) / 100 AS out_sum,
    max(cents) FILTER (credit) / 100 AS in_max, max(cents) FILTER (NOT credit) / 100 AS out_max,
    count(DISTINCT counterparty) FILTER (credit) AS in_parties,
    count(DISTINCT counterparty) FILTER (NOT credit) AS out_parties,
    min(step) FILTER (credit) AS first_in_day, max(step) FILTER (credit) AS last_in_day,
    min(step) FILTER (NOT credit) AS first_out_day, max(step) FILTER (NOT credit) AS last_out_day
FROM statement GROUP BY unit
"""
_STEPS: Final = ("first_in_day", "last_in_day", "first_out_day", "last_out_day")


def payments(per_site: int = PER_SITE, seed: int = SEED) -> pa.Table:
    """Return the invented payments: raw columns, and the hand-made ones under `made_`."""
    random = np.random.default_rng([seed, 15])
    rows = per_site * len(SITES)
    kinds = random.choice(len(TYPES), rows, p=TYPE_SHARES)
    paid = START + random.uniform(0, 90, rows) * DAY
    age = np.floor(random.exponential(900, rows) + 1)
    since = random.exponential(400, rows) ** 1.3 / 4  # hours
    far = random.lognormal(np.where(kinds == 1, 4.0, 1.5), 1.6, rows)
    balance = random.lognormal(np.where(kinds == 1, 9.0, 7.0), 1.2, rows).round(2)
    share = np.clip(random.beta(0.8, 4.0, rows), 1e-4, 1.0)
    amount = np.maximum((balance * share).round(2), 0.01)
    home = random.uniform(40, 55, rows), random.uniform(-5, 25, rows)
    turn, reach = random.uniform(0, 2 * np.pi, rows), np.minimum(far, 3000) / KM_PER_DEGREE
    device = (
        home[0] + reach * np.cos(turn),
        home[1] + reach * np.sin(turn) / np.cos(np.radians(home[0])),
    )
    made = {"age": age, "hours": since, "far": np.minimum(far, 3000), "share": amount / balance}
    labels = random.random(rows) < 1 / (1 + np.exp(-_risk(kinds, **made)))
    opened = np.floor((paid - age * DAY) / DAY) * DAY
    return pa.table(
        {
            "unit": [f"p{row:06d}" for row in range(rows)],
            "institution": [SITES[row % len(SITES)] for row in range(rows)],
            "opened": _times(opened),
            "changed": _times(paid - since * 3600),
            "paid": _times(paid),
            "opened_day": np.floor(opened / DAY),
            "changed_day": (paid - since * 3600) / DAY,
            "paid_day": paid / DAY,
            "amount": amount,
            "balance": balance,
            "latitude": device[0],
            "longitude": device[1],
            "home_latitude": home[0],
            "home_longitude": home[1],
            "account_type": [TYPES[kind] for kind in kinds],
            **{f"made_{name}": values for name, values in made.items()},
            "label": labels.astype(np.int8),
        }
    )


def _risk(
    kinds: NDArray[np.int64], *, age: Numbers, hours: Numbers, far: Numbers, share: Numbers
) -> Numbers:
    """Return float64 (rows,): log-odds that a payment is one of theft."""
    young, fresh = np.exp(-age / 120), np.exp(-hours / 36)
    away, much = np.log1p(far) / 5, share
    personal = 5.0 * young + 8.0 * fresh + 5.0 * away + 7.0 * much
    business = 8.0 * young + 3.0 * fresh - 2.0 * away + 8.0 * (1 - much) ** 4
    charity = 2.0 * young + 10.0 * fresh + 2.0 * away - 3.0 * much + 3.0
    return BASE + np.choose(kinds, [personal, business, charity]) + 3.0 * fresh * much


def _times(seconds: Numbers) -> pa.Array:
    return pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC"))


def accounts(folder: Path, work: Path) -> pa.Table:
    """Return AMLSim's accounts: raw columns, and the hand-made ones under `made_`.

    Args:
        folder: with both of AMLSim's samples.
        work: a folder for files on the way.
    """
    parts = []
    for name in SIMULATIONS:
        _, statement = read_simulation(folder, name)
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            connection.register("statement", statement)
            parts.append(connection.execute(_RAW).to_arrow_table())
    raw = pa.concat_tables(parts)
    for name in _STEPS:
        days = raw[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        times = pa.array(FIRST_DAY + days * DAY, from_pandas=True)
        micro = pa.array((np.nan_to_num(FIRST_DAY + days * DAY) * 1e6).astype(np.int64))
        stamped = pa.array(
            micro.to_pylist(), pa.timestamp("us", tz="UTC"), mask=np.asarray(times.is_null())
        )
        raw = raw.append_column(name.removesuffix("_day"), stamped)
    derive_amlsim(folder, work / "made.parquet")
    made = pq.read_table(work / "made.parquet")
    beside = ("unit", "institution", "label", "in_months")
    columns = [name if name in beside else f"made_{name}" for name in made.column_names]
    joined = made.rename_columns(columns).drop_columns(["in_months"]).join(raw, "unit")
    return joined.sort_by([("institution", "ascending"), ("unit", "ascending")])


def hand_made(table: pa.Table) -> list[str]:
    """Return the names of the hand-made columns."""
    return [name for name in table.column_names if name.startswith("made_")]


# -- columns that a study may read ----------------------------------------------------------------

PAYMENT_COLUMNS: Final = (
    *("opened_day", "changed_day", "paid_day", "amount", "balance"),
    *("latitude", "longitude", "home_latitude", "home_longitude"),
)
PAYMENT_FORMULAS: Final[dict[str, dict[str, str]]] = {
    "account_age_days": {"formula": "age", "since": "opened", "on": "paid"},
    "hours_since_change": {
        "formula": "elapsed",
        "start": "changed",
        "end": "paid",
        "unit": "hours",
    },
    "distance_km": {
        "formula": "distance",
        "latitude": "latitude",
        "longitude": "longitude",
        "other_latitude": "home_latitude",
        "other_longitude": "home_longitude",
    },
    "share_of_balance": {"formula": "ratio", "of": "amount", "to": "balance"},
}
ACCOUNT_COLUMNS: Final = (
    *("in_count", "out_count", "in_sum", "out_sum", "in_max", "out_max"),
    *("in_parties", "out_parties", *_STEPS),
)
ACCOUNT_FORMULAS: Final[dict[str, dict[str, str]]] = {
    "in_mean": {"formula": "ratio", "of": "in_sum", "to": "in_count"},
    "out_mean": {"formula": "ratio", "of": "out_sum", "to": "out_count"},
    "in_new_names": {"formula": "ratio", "of": "in_parties", "to": "in_count"},
    "out_new_names": {"formula": "ratio", "of": "out_parties", "to": "out_count"},
    "passed_on": {"formula": "ratio", "of": "out_sum", "to": "in_sum"},
    "in_largest_share": {"formula": "ratio", "of": "in_max", "to": "in_sum"},
    "out_largest_share": {"formula": "ratio", "of": "out_max", "to": "out_sum"},
    "largest_passed_on": {"formula": "ratio", "of": "out_max", "to": "in_max"},
    "in_days": {"formula": "elapsed", "start": "first_in", "end": "last_in"},
    "out_days": {"formula": "elapsed", "start": "first_out", "end": "last_out"},
    "wait_days": {"formula": "elapsed", "start": "first_in", "end": "first_out"},
    "after_days": {"formula": "elapsed", "start": "last_in", "end": "last_out"},
}


def by_type(features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return features of payments with a curve for each type of account."""
    return [{**one, "by": "account_type", "levels": list(TYPES)} for one in features]
