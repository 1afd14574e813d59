"""Five banks of the invented world learn from published red flags, through the exact path.

The same study's results at a lower prevalence: noise stays, and cases shrink.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.scoring.readings import COLUMNS
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.joining.rows import PairedRow
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.study import Study, parse_study
from fieldfare.simulations.federation.homes import Together, customers_of
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import Progress, Simulation, make_folder, simulate
from fieldfare.simulations.world.institutions import WorldFederation, load_institutions
from fieldfare.simulations.world.making import VERSIONS, WorldPlan
from fieldfare.simulations.world.studies import (
    INSTITUTION,
    PERSONA,
    banks_of,
    growth,
    pack_for,
    write_help_records,
    write_units,
)
from fieldfare.simulations.world.writing import MARGINALS, TRUTH, write_world


@dataclass(frozen=True)
class Rarer:
    """A study with fewer labelled units to learn from.

    Attributes:
        share: of the labelled training units that were kept.
        prevalence: labelled share of what was learned from.
        positives: labelled units that were learned from.
        together: recall at the alert budget on institutions' own customers, on average, of the
            model learned by all at the study's epsilon; as much noise as Fieldfare adds (all n
            shares of it), from the fast seeded source.
        at_home: the same, of that model used at home.
        alone: the same, of each institution's own best model.
    """

    share: float
    prevalence: float
    positives: int
    together: float | None
    at_home: float | None
    alone: float | None


def rarer(
    study: Study, choice: RecordsChoice, *, share: float, seed: int
) -> tuple[dict[str, Any], list[PairedRow]]:
    """Learn from all training units but a share of the labelled ones.

    The hold-out keeps all that it has, so that recall rests on as many cases as in the run
    that this stands beside.

    Returns:
        `Rarer` as data, and each institution's row.
    """
    kept = [own.with_share(share) for own in customers_of(study, choice, seed=seed)]
    rows = [row for _, _, row in Together.of(study, seed).rows(kept, share)]
    positives = sum(row.learned for row in rows)
    prevalence = positives / max(1, sum(len(own.training) for own in kept))
    means = [_mean_found(rows, model) for model in ("shared", "at_home", "alone")]
    return asdict(Rarer(share, prevalence, positives, *means)), rows


def _mean_found(rows: Sequence[PairedRow], model: str) -> float | None:
    """Return the share of own cases found within the budget, mean over institutions with cases."""
    found = [(row.cases, getattr(row, model)) for row in rows if row.draws]
    shares = [one.found / cases for cases, one in found if one]
    return float(np.mean(shares)) if shares else None


# -- five banks -----------------------------------------------------------------------------------

PEOPLE: Final = 37_500
MONTHS: Final = 3
PREVALENCE: Final = 0.022  # of people's main banks: about 0.02 of all banks' customers
_TWELVE_PEOPLE: Final = 50_000
_TWELVE_PREVALENCE: Final = 0.024  # more people bank at two: about 0.02 of customers again
WORLD: Final = "world"
UNITS_FILE: Final = "units.parquet"
HELPLINES: Final = "helplines"
HELP_FILE: Final = "records.parquet"
RARER: Final = 0.1  # a tenth of the cases: what the screen says of lower prevalence


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
    version: int = VERSIONS[0],
) -> WorldPlan:
    """Return the plan of a federation's world; `people` instead of its own number.

    Raises:
        UsageError: too few people or too many.
    """
    whole = federation is WorldFederation.TWELVE
    return WorldPlan.of(
        people=people or (_TWELVE_PEOPLE if whole else PEOPLE),
        months=MONTHS,
        seed=seed,
        prevalence=_TWELVE_PREVALENCE if whole else PREVALENCE,
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
    version: int = VERSIONS[0],
    progress: Progress | None = None,
) -> Simulation:
    """Make the world, compute its banks' indicators, and return the simulation's task.

    Everything about these people is drawn from `seed`; they exist nowhere. The persona
    column serves the false-positive audit only (harm rules 4 and 5).

    Raises:
        UsageError: `out` holds something else where the world goes, or too few people.
    """

    def said(what: str, done: int = 0, total: int = 1) -> None:
        if progress:
            progress(what, done, total)

    study, world, units = banks_study(federation), out / WORLD, out / UNITS_FILE
    said("making a world")
    _clear(world)
    plan = banks_plan(federation, seed=seed, people=people, version=version)
    found = write_world(plan, world)
    pack = pack_for((*columns_behind(study.features), *COLUMNS), own_pack())
    write_units(world, pack, units, said)
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION, audit_column=PERSONA)
    said("asking NGOs and the hotline")
    asked = ask_helplines(world, out / HELPLINES, seed=seed)
    said("learning from a tenth of the cases")
    less, fewer = rarer(study, choice, share=RARER, seed=seed)
    facts = {
        **world_facts(found), "at_two_banks": at_two_banks(world), "rarer": less, "asked": asked
    }  # fmt: skip
    return Simulation(
        study=study,
        choice=choice,
        out=out,
        seed=seed,
        protection=Protection.EXACT,
        world=facts,
        fewer_labels=tuple(fewer),
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
