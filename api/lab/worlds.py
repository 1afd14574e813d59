"""An invented world of banks, to learn in without anybody's records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

import pyarrow.parquet as pq

from fieldfare.lab.progress import shown
from fieldfare.lab.running import checked_seed, is_whole
from fieldfare.lab.studies import LabStudy
from fieldfare.shared.errors import UsageError
from fieldfare.simulations.demo.five_banks import banks_plan, banks_study_text, world_facts
from fieldfare.simulations.world.studies import day_of_training, pack_of, write_units
from fieldfare.simulations.world.writing import write_world

LEARNING_PEOPLE: Final = 6000  # enough to see something; the demo has 37,500


@dataclass(frozen=True, repr=False)
class World:
    """Five banks' customers who exist nowhere, with what is true of them.

    Attributes:
        units: a `pyarrow.Table` with a row for each customer: `institution`, `customer`, `label`
            (as the bank knew it), features of the shipped typologies (float64, null where missing),
            and `persona` and `age_band` for fairness audits, never an input.
        study: the banks' study, as `make demo` runs it.
        facts: counts of the world: people, customers, transactions, rings, cases.
    """

    units: Any
    study: LabStudy
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __repr__(self) -> str:
        """Say what it is in one line."""
        customers, rings = len(self.units), self.facts.get("rings", 0)
        return f"<World of {customers:,} customers at five banks, {rings} rings; all invented>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(str(name))}</th><td>{escape(f'{value:,}')}</td></tr>"
            for name, value in self.facts.items()
        )
        return f"<p>{escape(repr(self)[1:-1])}</p><table>{rows}</table>"


def world(
    people: int = LEARNING_PEOPLE,
    *,
    seed: int = 0,
    save: str | Path | None = None,
    progress: bool | None = None,
) -> World:
    """Make an invented world of five banks and compute their indicators.

    The same people and seed give the same world, bit by bit (docs/world.md). Nothing is written
    unless `save` names a folder.

    Args:
        people: persons, 1,500 or more; `make demo` has 37,500. The banks' study says as many units
            as that world has: with fewer people its noise weighs more.
        seed: the only chance, 0 to 2**63 - 1.
        save: an empty or new folder for the world's own files, as `fieldfare world make` writes.
        progress: None shows a bar on a terminal and in a notebook, False none.

    Raises:
        UsageError: too few people or too many, or a folder that holds something.

    Example:
        >>> import fieldfare
        >>> made = fieldfare.world(1500, progress=False)
        >>> sorted(set(made.units["institution"].to_pylist()))[:2]
        ['bank-a', 'bank-b']
    """
    if not is_whole(people):
        raise UsageError(f"people: expected a whole number, found {people!r}")
    text = banks_study_text()
    study = LabStudy.from_toml(text)
    plan = banks_plan(seed=checked_seed(seed), people=people)
    with TemporaryDirectory(prefix="fieldfare-world-") as scratch, shown(progress) as said:
        folder, units = Path(save or Path(scratch) / "world"), Path(scratch) / "units.parquet"
        said("making a world", 0, 1)
        facts = world_facts(write_world(plan, folder))
        pack = pack_of(study.agreed)
        write_units(folder, pack, units, said, known_by=day_of_training(folder))
        return World(pq.read_table(units, memory_map=False), study, facts)
