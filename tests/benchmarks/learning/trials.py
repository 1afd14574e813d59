"""Trials: one study over one set of records, learned together under the noise of its plan.

What settings and expectations of `fieldfare study` are calibrated on. Sets: Adult (UCI, dealt to
six institutions), heart disease (UCI, four hospitals), five banks of the invented world, AMLSim's
six banks; each with all of its cases or with a share. A trial keeps hold-outs as they are: fewer
cases in training never make a figure rest on fewer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve
from tests.support.records.frozen_worlds import frozen_study

from fieldfare.client.drafting.draft import draft_study
from fieldfare.client.sums.coordinates import TurnedUnits
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.features.rows import splitmix
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study, parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import MONTHS, PEOPLE, PREVALENCE
from fieldfare.simulations.federation.baselines import Trainer
from fieldfare.simulations.federation.population import RecordsChoice, load_population
from fieldfare.simulations.metrics import chances
from fieldfare.simulations.published.amlsim import derive_amlsim
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.studies import INSTITUTION, pack_for, write_units
from fieldfare.simulations.world.writing import write_world

ROOT: Final = Path(__file__).parents[3]
STUDIES: Final = ROOT / "studies"
ADULT_BANKS: Final = 6
WORLD_SEED: Final = 7  # none of 100 to 109, on which the project is measured
_STREAM: Final = 2**19  # far from those that deal rows and draw noise


@dataclass(frozen=True)
class TrialSet:
    """Encoded units of a study, by institution."""

    name: str
    study: Study
    training: Mapping[str, EncodedUnits]
    held: Mapping[str, EncodedUnits]

    def fewer(self, share: float, *, units: float = 1.0, seed: int = 0) -> "TrialSet":
        """Keep shares of the positive training units, and of all of them."""
        random = np.random.default_rng([seed, _STREAM])
        kept = {}
        for name, data in self.training.items():
            positive = (data.labels == 0) | (random.random(len(data)) < share)
            kept[name] = data.select(positive & (random.random(len(data)) < units))
        return replace(self, training=kept)

    @property
    def ordered(self) -> "TrialSet":
        """The same with an order of units, which a network sums in buckets by."""
        made = {
            name: replace(data, order=splitmix(np.arange(len(data), dtype=np.uint64)))
            for name, data in self.training.items()
        }
        held = {
            name: replace(data, order=splitmix(np.arange(len(data), dtype=np.uint64)))
            for name, data in self.held.items()
        }
        return replace(self, training=made, held=held)

    @property
    def units(self) -> int:
        """Training units of all institutions."""
        return sum(len(data) for data in self.training.values())

    @property
    def positives(self) -> int:
        """Positive ones among them."""
        return sum(int(data.labels.sum()) for data in self.training.values())

    def under(self, **changes: Any) -> Study:
        """Return the study at this set's public numbers, with `section__key` changed.

        Its prevalence and units are those of the training units: a study that has fewer cases says
        so.
        """
        study = self.study.model_dump(mode="json")
        study["evaluation"].pop("groups", None)
        study.pop("geometry", None)
        holdout = study["evaluation"]["holdout"]
        study["records"]["units"] = max(1, round(self.units / (1 - holdout)))
        study["records"]["prevalence"] = max(1e-6, self.positives / max(1, self.units))
        study["privacy"].pop("spare_releases", None)
        for key, value in changes.items():
            section, _, name = key.partition("__")
            if section == "model":
                study["model"] = value
            else:
                study.setdefault(section, {})[name] = value
        return Study.model_validate(study)


def figures(scores: NDArray[np.float64], labels: NDArray[np.uint8]) -> dict[str, float]:
    """Return average precision, the best F1, and F1 where .5 is the cut."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    chosen = chances(scores) >= 0.5
    hit = int(labels[chosen].sum())
    half = 2 * hit / max(1, int(chosen.sum()) + int(labels.sum()))
    return {
        "ap": float(average_precision_score(labels, scores)),
        "f1": float(f1.max()),
        "half": half,
    }


def learned(trial: TrialSet, study: Study, seed: int = 0) -> dict[str, float]:
    """Learn together under a study, and measure on all hold-outs."""
    held = concatenate(list(trial.held.values()))
    scores = model_for(study).scores(parameters_of(trial, study, seed), held)
    return figures(scores, held.labels)


def parameters_of(trial: TrialSet, study: Study, seed: int = 0) -> NDArray[np.float64]:
    """Return float64 (entries,): what all institutions learn together under a study."""
    model = model_for(study)
    sums = {name: model.prepare(data) for name, data in trial.training.items()}
    counts = {name: len(data) for name, data in trial.training.items()}
    turned = {
        name: TurnedUnits(model, study.geometry, study.privacy.clipping_norm, data)
        for name, data in trial.training.items()
        if study.geometry is not None
    }
    return Trainer(plan_for(study), sums, counts, seed, turned=turned).federated()


# -- sets -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Records of a set: a study, and where its records are.

    Attributes:
        late: None: labels are what the records say; else whether training takes the labels that
            banks know, and not the truth by which all are measured.
    """

    name: str
    study: Study
    choice: RecordsChoice
    late: bool | None = None

    def split(self, seed: int = 0) -> TrialSet:
        """Read records, and split them as a simulation of a seed does."""
        population = load_population(self.study, self.choice, seed=seed)
        training, held = dict[str, EncodedUnits](), dict[str, EncodedUnits]()
        for bank, records in population.records.items():
            out, known, true = population.holdout[bank], records.data, records.data
            if self.late is not None and records.audit is not None:
                true = replace(known, labels=(records.audit != "").astype(np.uint8))
            training[bank] = (known if self.late else true).select(~out)
            held[bank] = true.select(out)
        return TrialSet(self.name, self.study, training, held)


def adult(data: Path, work: Path) -> Source:
    """Return Adult, drafted and dealt evenly."""
    table = pc.read_csv(data / "adult" / "adult.csv.gz")
    table = table.append_column("unit", [[f"a{row}" for row in range(table.num_rows)]])
    path = work / "adult.parquet"
    pq.write_table(table, path)
    text = draft_study(path, label=table.column_names[-2], unit="unit", name="adult")
    choice = RecordsChoice((str(path),), institutions=ADULT_BANKS, partition="iid")
    return Source("adult", parse_study(text), choice)


def heart(data: Path, work: Path) -> Source:
    """Return the four hospitals."""
    del work
    names = ("cleveland", "hungarian", "switzerland", "va")
    files = tuple(f"{one}={data / 'heart' / f'processed.{one}.data'}" for one in names)
    return Source("heart", load_study(STUDIES / "heart.toml"), RecordsChoice(files))


def world(data: Path, work: Path) -> Source:
    """Return five banks of the invented world."""
    del data
    study = frozen_study()
    plan = WorldPlan.of(
        people=PEOPLE, months=MONTHS, seed=WORLD_SEED, prevalence=PREVALENCE, version=1
    )
    write_world(plan, work / "world")
    pack = pack_for(columns_behind(study.features), own_pack())
    write_units(work / "world", pack, work / "world.parquet")
    choice = RecordsChoice((str(work / "world.parquet"),), institution_column=INSTITUTION)
    return Source("world", study, choice)


def amlsim(data: Path, work: Path) -> Source:
    """Return AMLSim's six banks with their hand-made columns, made where they are not there yet."""
    path = work / "amlsim.parquet"
    if not path.exists():
        derive_amlsim(data / "amlsim", path)
    choice = RecordsChoice((str(path),), institution_column=INSTITUTION)
    return Source("amlsim", load_study(STUDIES / "amlsim.toml"), choice)


SETS: Final = {"adult": adult, "heart": heart, "world": world, "amlsim": amlsim}
