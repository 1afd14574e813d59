"""Five banks of the invented world learn from published red flags, through the exact path.

The same study's results at a lower prevalence: noise stays, and cases shrink.
"""

import shutil
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import concatenate
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study, parse_study
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.population import RecordsChoice, load_population
from fieldfare.simulations.federation.simulate import Progress, Simulation, make_folder, simulate
from fieldfare.simulations.metrics import measure, probabilities
from fieldfare.simulations.world.making import WorldPlan
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

_STREAM: Final = 2**18  # far from those that deal rows and draw noise


@dataclass(frozen=True)
class Rarer:
    """A study with fewer labelled units to learn from.

    Attributes:
        share: of the labelled training units that were kept.
        prevalence: labelled share of what was learned from.
        positives: labelled units that were learned from.
        together: recall at the alert budget, learned by all at the study's epsilon; as much
            noise as Fieldfare adds (all n shares of it), from the fast seeded source.
        alone: the same, of institutions alone without privacy, on average.
    """

    share: float
    prevalence: float
    positives: int
    together: float | None
    alone: float | None


def rarer(study: Study, choice: RecordsChoice, *, share: float, seed: int) -> dict[str, Any]:
    """Learn from all training units but a share of the labelled ones; returns `Rarer` as data.

    The hold-out keeps all that it has, so that recall rests on as many cases as in the run
    that this stands beside.
    """
    ungrouped = study.evaluation.model_copy(update={"groups": ()})
    study = study.model_copy(update={"evaluation": ungrouped})  # nothing is released here
    population = load_population(study, choice, seed=seed)
    generator = np.random.default_rng([seed, _STREAM])
    sums, counts, positives, test = {}, {}, 0, []
    for name, records in population.records.items():
        held = population.holdout[name]
        test.append(records.select(held).data)
        kept = records.select(~held & _kept(records.data.labels, share, generator))
        part = StudySums.prepare(study, kept.data, np.zeros(len(kept), bool))
        sums[name], counts[name] = part.training, part.training_count
        positives += int(kept.data.labels.sum())
    trainer = Trainer(plan_for(study), sums, counts, seed)
    held_out, model = concatenate(test), model_for(study)
    models = {
        "together": [trainer.federated()],
        "alone": list(trainer.train(Baseline.ALONE).values()),
    }
    found: dict[str, float | None] = {}
    for key, learned in models.items():
        rows = [
            measure(
                held_out.labels,
                probabilities(model, parameters, held_out),
                study.evaluation.alert_budget,
            )["recall_at_budget"]
            for parameters in learned
        ]
        known = [value for value in rows if value is not None]
        found[key] = float(np.mean(known)) if known else None
    prevalence = positives / max(1, sum(counts.values()))
    return asdict(Rarer(share, prevalence, positives, found["together"], found["alone"]))


def _kept(
    labels: NDArray[np.uint8], share: float, generator: np.random.Generator
) -> NDArray[np.bool_]:
    return np.asarray((labels == 0) | (generator.random(len(labels)) < share))


# -- five banks -----------------------------------------------------------------------------------

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
    """Make the world, compute its banks' indicators, and return the simulation's task.

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
    plan = WorldPlan.of(people=people, months=MONTHS, seed=seed, prevalence=PREVALENCE)
    found = write_world(plan, world)
    pack = pack_for(columns_behind(study.features), own_pack())
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
        study=study, choice=choice, out=out, seed=seed, protection=Protection.EXACT, world=facts
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
