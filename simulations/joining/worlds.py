"""Units of an invented world with what a page on joining asks of them besides.

Role and scenario of each case, the day on which its account began to serve a ring, and the day on
which its bank learned of it (`labels.parquet`); none of it is an input of a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import MONTHS
from fieldfare.simulations.world.institutions import Institutions
from fieldfare.simulations.world.making import DEFAULT_VERSION, WorldPlan
from fieldfare.simulations.world.studies import (
    CUSTOMER,
    INSTITUTION,
    banks_of,
    day_of_training,
    pack_for,
    write_units,
)
from fieldfare.simulations.world.tables import as_date
from fieldfare.simulations.world.writing import TRUTH, write_world

ROLE, SCENARIO, BEGUN, KNOWN = "role", "scenario", "begun", "known"
COLUMNS: Final = {"rare": ROLE, "left out": SCENARIO, BEGUN: BEGUN, KNOWN: KNOWN}
"""Column of the kinds that each question asks for; days are numbers, 0 at the window's begin."""


@dataclass(frozen=True)
class WorldTerms:
    """What a world is made by, but for its seed.

    Attributes:
        version: of the world's rules.
    """

    people: int
    prevalence: float
    institutions: Institutions | None = None
    version: int = DEFAULT_VERSION

    def write_world(self, seed: int, out: Path) -> int:
        """Make and write the world of a seed; returns the window's days.

        Raises:
            UsageError: no such world can be.
        """
        plan = WorldPlan.of(
            people=self.people, months=MONTHS, seed=seed, prevalence=self.prevalence,
            institutions=self.institutions, version=self.version,
        )  # fmt: skip
        write_world(plan, out)
        return int(plan.months.days)

    def write_units(self, study: Study, seed: int, out: Path) -> int:
        """Make a world and write its banks' units; returns the window's days.

        Raises:
            UsageError: no such world can be, or a feature is of no indicator of the pack.
        """
        pack = pack_for(columns_behind(study.features), own_pack())
        with TemporaryDirectory(dir=out.parent, prefix=".world-") as folder:
            world = Path(folder) / "world"
            days = self.write_world(seed, world)
            write_units(world, pack, out, known_by=day_of_training(world))
            facts = case_facts(world)
        units = pq.read_table(out)
        place = pc.index_in(_key(units, CUSTOMER), _key(facts, "customer_id"))
        for name in (ROLE, SCENARIO, BEGUN, KNOWN):
            units = units.append_column(name, facts[name].take(place))
        pq.write_table(units, out, compression="zstd")
        return days


def case_facts(world: Path) -> Any:
    """Return a row for each customer of a written world's banks, as Arrow.

    Columns: institution, customer_id, role, scenario; begun, known: days as texts. All null where
    the account serves no ring; `known` also where the bank never learns of it.
    """
    truth = pq.read_table(world / TRUTH / "customers.parquet")
    truth = truth.filter(pc.is_in(truth[INSTITUTION], pa.array(banks_of(world))))
    rings = pq.read_table(world / TRUTH / "rings.parquet")
    begun = rings["first_day"].take(pc.index_in(truth["ring"], rings["ring"].combine_chunks()))
    known = dict[tuple[str, str], date]()
    for bank in banks_of(world):
        for row in pq.read_table(world / bank / "labels.parquet").to_pylist():
            if row["value"] == 1:
                known.setdefault((bank, row["subject_id"]), row["observed_at"])
    pairs = zip(
        truth[INSTITUTION].to_pylist(), truth["customer_id"].to_pylist(), begun.to_pylist(),
        strict=True,
    )  # fmt: skip
    learned = [known.get((bank, who)) if day else None for bank, who, day in pairs]
    return truth.select([INSTITUTION, "customer_id", ROLE, SCENARIO]).append_column(
        BEGUN, _days(begun.to_pylist())
    ).append_column(KNOWN, _days(learned))  # fmt: skip


def _days(dates: Sequence[date | None]) -> Any:
    start = as_date(0)
    return pa.array([None if d is None else str((d - start).days) for d in dates], pa.string())


def _key(table: Any, unit: str) -> Any:
    joined = pc.binary_join_element_wise(table[INSTITUTION], table[unit], "\x1f")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
