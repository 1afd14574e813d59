"""Banks of the invented world learn from published red flags, through the exact path."""

import shutil
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.shared.errors import UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.beside import ALONE, SideProcess
from fieldfare.simulations.demo.bank_home import DemoBank
from fieldfare.simulations.federation.in_memory import Progress
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import Simulation, make_folder, simulate
from fieldfare.simulations.metrics import UNKNOWN
from fieldfare.simulations.world.institutions import WorldFederation, load_institutions
from fieldfare.simulations.world.making import DEFAULT_VERSION, WorldPlan
from fieldfare.simulations.world.personas import PERSONAS
from fieldfare.simulations.world.studies import (
    INSTITUTION,
    LABEL,
    PERSONA,
    banks_of,
    day_of_training,
    growth,
    pack_of,
    write_help_records,
    write_units,
)
from fieldfare.simulations.world.writing import MARGINALS, TRUTH, write_world

PEOPLE: Final = 37_500
MONTHS: Final = 3
PREVALENCE: Final = 0.022  # of people's main banks: about 0.02 of all banks' customers
SIZES: Final = {
    WorldFederation.FIVE: (PEOPLE, PREVALENCE),
    WorldFederation.TWELVE: (50_000, 0.024),  # more people bank at two: 0.02 of customers again
    WorldFederation.TWENTY: (70_000, 0.02),  # nobody banks at two
}
"""People and prevalence of each federation's world."""

WORLD: Final = "world"
UNITS_FILE: Final = "units.parquet"
HELPLINES: Final = "helplines"
HELP_FILE: Final = "records.parquet"
HOME_BANK: Final = "bank-a"


def banks_study(federation: WorldFederation = WorldFederation.FIVE) -> Study:
    """Return the banks' study of the invented world, shipped with the package."""
    return parse_study(banks_study_text(federation))


def banks_study_text(federation: WorldFederation = WorldFederation.FIVE) -> str:
    """Return the file of `banks_study`."""
    return _shipped(f"{federation}.toml")


def banks_plan(
    federation: WorldFederation = WorldFederation.FIVE,
    *,
    seed: int,
    people: int | None = None,
    version: int = DEFAULT_VERSION,
) -> WorldPlan:
    """Return the plan of a federation's world; `people` instead of its own number.

    Raises:
        UsageError: too few people or too many.
    """
    usual, prevalence = SIZES[federation]
    return WorldPlan.of(
        people=people or usual,
        months=MONTHS,
        seed=seed,
        prevalence=prevalence,
        institutions=load_institutions(federation=federation),
        version=version,
    )


def help_study() -> Study:
    """Return the question that the world's NGOs and hotline answer together."""
    return parse_study(_shipped("helplines.toml"))


def _shipped(name: str) -> str:
    return files("fieldfare.simulations.world").joinpath(name).read_text("utf-8")


def banks_task(
    out: Path,
    *,
    seed: int,
    people: int | None = None,
    federation: WorldFederation = WorldFederation.FIVE,
    version: int = DEFAULT_VERSION,
    progress: Progress | None = None,
    both: SideProcess = ALONE,
    home: str = "",
) -> Simulation:
    """Make the world, compute its banks' indicators, and return the simulation's task.

    Everything about these people is drawn from `seed`; they exist nowhere. The persona
    column serves the false-positive audit only (harm rules 4 and 5). The bank `home` takes part
    from a home of its own in `out`; empty: none does.

    Raises:
        UsageError: `out` holds something else where world or home go, or too few people.
    """

    def said(what: str, done: int = 0, total: int = 1) -> None:
        if progress:
            progress(what, done, total)

    study, world, units = banks_study(federation), out / WORLD, out / UNITS_FILE
    said("making a world")
    _clear(world)
    bank = DemoBank(home, out, world=world, units=units, seed=seed) if home else None
    plan = banks_plan(federation, seed=seed, people=people, version=version)
    found = write_world(plan, world)
    known_by = day_of_training(world)
    write_units(world, pack_of(study), units, said, known_by=known_by, both=both)
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION, audit_column=PERSONA)
    said("asking NGOs and the hotline")
    asked = ask_helplines(world, out / HELPLINES, seed=seed)
    facts = {**world_facts(found), "at_two_banks": at_two_banks(world), "asked": asked}
    facts["lives"] = {life.name: life.said for life in PERSONAS}
    if known_by is not None:
        facts["known"] = known_facts(units, facts["positives"], known_by)
    return Simulation(
        study=study,
        choice=choice,
        out=out,
        seed=seed,
        protection=Protection.EXACT,
        world=facts,
        home=bank,
    )


def ask_helplines(world: Path, out: Path, *, seed: int) -> dict[str, Any] | None:
    """Ask where cases and calls are growing, with exact noise; returns `growth`'s answer.

    Writes results.json and report.html of the question, with the true answer beside it.
    """
    make_folder(out)
    write_help_records(world, out / HELP_FILE)
    choice = RecordsChoice((str(out / HELP_FILE),), institution_column=INSTITUTION)
    task = Simulation(
        study=help_study(), choice=choice, out=out, seed=seed, protection=Protection.EXACT
    )
    return growth(simulate(task)["answers"][0])


def world_facts(found: dict[str, Any]) -> dict[str, Any]:
    """Return a world's facts for results: size, banks, cases and calls."""
    banks = [one for one in found["institutions"] if one["kind"] == "bank"]
    totals, asked = found["totals"], found["asked"]
    return {
        "people": asked["people"],
        "months": asked["months"],
        "banks": len(banks),
        "customers": sum(one["customers"] for one in banks),
        "positives": sum(one["serve_a_ring"] for one in banks),
        "transactions": totals["transactions"],
        "rings": totals["rings"],
        "cases": totals["cases"],
        "signals": totals["signals"],
    }


def known_facts(units: Path, cases: int, day: date) -> dict[str, Any]:
    """Return what banks knew by the day of training, of their units: a day, counts, and mistakes.

    Args:
        units: as written, with labels known by the day.
        cases: customers who serve a ring.
        day: of training.
    """
    table = pq.read_table(units, columns=[LABEL, PERSONA])
    known = cases - pc.sum(pc.equal(table[PERSONA], UNKNOWN)).as_py()
    labelled = pc.sum(table[LABEL]).as_py()
    return {"day": day.isoformat(), "cases": known, "mistaken": labelled - known}


def at_two_banks(world: Path) -> float:
    """Return the share of a written world's bank customers who are customers of two banks."""
    truth = pq.read_table(world / TRUTH / "customers.parquet", columns=[INSTITUTION, "person"])
    banks = truth.filter(pc.is_in(truth[INSTITUTION], pa.array(banks_of(world))))
    per_person = banks.group_by("person").aggregate([(INSTITUTION, "count_distinct")])
    counts = per_person[f"{INSTITUTION}_count_distinct"].to_numpy()
    return float(counts[counts > 1].sum() / max(1, counts.sum()))


def _clear(world: Path) -> None:
    """Remove an earlier run's world, and nothing else."""
    if (world / MARGINALS).is_file():
        shutil.rmtree(world)
    elif world.exists():
        raise UsageError(f"{world}: expected nothing or an earlier world, found something else")
