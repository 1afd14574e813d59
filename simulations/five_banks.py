"""Five banks of the invented world learn from published red flags, through the exact path."""

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.shared.messages import Assurance
from fieldfare.shared.study import Study, parse_study
from fieldfare.simulations.population import RecordsChoice
from fieldfare.simulations.rarer import rarer
from fieldfare.simulations.simulate import Progress, Simulation, make_folder, simulate
from fieldfare.simulations.world.helplines import growth, write_help_records
from fieldfare.simulations.world.making import Plan
from fieldfare.simulations.world.units import INSTITUTION, PERSONA, banks_of, pack_for, write_units
from fieldfare.simulations.world.writing import MARGINALS, TRUTH, write_world

PEOPLE: Final = 37_500
MONTHS: Final = 3
PREVALENCE: Final = 0.022  # of people's main banks: about 0.02 of all banks' customers
WORLD: Final = "world"
UNITS_FILE: Final = "units.parquet"
HELPLINES: Final = "helplines"
HELP_FILE: Final = "records.parquet"
RARER: Final = 0.1  # a tenth of the cases: what the screen says of lower prevalence


def banks_study() -> Study:
    """Return the banks' study of the invented world, shipped with the package."""
    return parse_study(banks_study_text())


def banks_study_text() -> str:
    """Return the file of `banks_study`."""
    return _shipped("five-banks.toml")


def help_study() -> Study:
    """Return the question that the world's NGOs and hotline answer together."""
    return parse_study(_shipped("helplines.toml"))


def _shipped(name: str) -> str:
    return files("fieldfare.simulations.world").joinpath(name).read_text("utf-8")


def banks_task(
    out: Path, *, seed: int, people: int = PEOPLE, progress: Progress | None = None
) -> Simulation:
    """Make the world, compute its banks' indicators, and return what to simulate.

    Everything about these people is drawn from `seed`; they exist nowhere. The persona
    column serves the false-positive audit only (harm rules 4 and 5).

    Raises:
        UsageError: `out` holds something else where the world goes, or too few people.
    """

    def said(what: str, done: int = 0, total: int = 1) -> None:
        if progress:
            progress(what, done, total)

    study, world, units = banks_study(), out / WORLD, out / UNITS_FILE
    said("making a world")
    _clear(world)
    plan = Plan.of(people=people, months=MONTHS, seed=seed, prevalence=PREVALENCE)
    found = write_world(plan, world)
    pack = pack_for([feature.name for feature in study.features], own_pack())
    write_units(world, pack, units, said)
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION, audit_column=PERSONA)
    said("asking NGOs and the hotline")
    asked = ask_helplines(world, out / HELPLINES, seed=seed)
    said("learning from a tenth of the cases")
    less = rarer(study, choice, share=RARER, seed=seed)
    facts = {
        **world_facts(found), "at_two_banks": at_two_banks(world), "rarer": less, "asked": asked
    }  # fmt: skip
    return Simulation(
        study=study, choice=choice, out=out, seed=seed, assurance=Assurance.EXACT, world=facts
    )


def ask_helplines(world: Path, out: Path, *, seed: int) -> dict[str, Any] | None:
    """Ask where cases and calls are growing, with exact noise; returns `growth`'s answer.

    Writes results.json and report.html of the question, with the true answer beside it.
    """
    make_folder(out)
    write_help_records(world, out / HELP_FILE)
    choice = RecordsChoice((str(out / HELP_FILE),), institution_column=INSTITUTION)
    task = Simulation(
        study=help_study(), choice=choice, out=out, seed=seed, assurance=Assurance.EXACT
    )
    return growth(simulate(task)["answers"][0])


def world_facts(found: dict[str, Any]) -> dict[str, Any]:
    """Return what results say of a world: how large, how many banks, cases and calls."""
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
