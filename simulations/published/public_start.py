"""A public start, made: an invented world, its banks' indicators, and curves fitted to all of them.

The world knows the scenarios that are named and no others. Its prevalence is far above any real
one, as nobody in it has to be protected; what is kept of it are curves, and an offset that a
study's own public prevalence is added to. The same plan gives the same bytes.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_fits import SumFits
from fieldfare.client.own_model.own_grid import Grid, Spreads, own_grid
from fieldfare.client.records import read_records
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.features.basis import Basis, EncodedUnits
from fieldfare.shared.features.features import Dependence, Feature, columns_behind
from fieldfare.shared.features.public_start import (
    CURVE_STEPS,
    LARGEST_CURVE,
    PublicStart,
    StartFacts,
)
from fieldfare.shared.study.study import Study
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.studies import CUSTOMER, LABEL, OnBank, pack_for, write_units
from fieldfare.simulations.world.writing import write_world

SPREAD: Final = 0.5  # log-odds that a slot may move from nothing
PEOPLE: Final = 37_500
MONTHS: Final = 3
PREVALENCE: Final = 0.05
GENERATOR: Final = "fieldfare world start"
WHOLE_CURVE: Final = LARGEST_CURVE * CURVE_STEPS


@dataclass(frozen=True)
class StartPlan:
    """What a start is made from.

    Attributes:
        world: the invented world.
        features: that curves are learned of, own to a customer.
        spread: log-odds that a slot may move from nothing.
    """

    world: WorldPlan
    features: tuple[Feature, ...]
    spread: float = SPREAD

    @property
    def facts(self) -> StartFacts:
        """What the file says of itself: all that it takes to make it again."""
        world = self.world
        return StartFacts(
            generator=f"{GENERATOR} {version('fieldfare')}",
            seed=world.seed,
            settings={
                "world": world.version,
                "people": world.people,
                "months": world.months.count,
                "prevalence": world.prevalence,
                "scenarios": ",".join(world.scenarios),
                "spread": self.spread,
            },
            features=self.features,
        )


def pack_features() -> tuple[Feature, ...]:
    """Return the features of the typology pack, with the pack's bounds and knots."""
    return tuple(
        spec.numeric(Dependence.OWN)
        for one in own_pack().indicators
        for spec in one.typology.features
    )


def make_start(plan: StartPlan, on_bank: OnBank | None = None) -> PublicStart:
    """Make the world, compute its banks' indicators, and learn curves from all of them.

    Raises:
        UsageError: no such world can be, or a feature that is of no indicator of the pack.
    """
    with TemporaryDirectory(prefix="fieldfare-start-") as folder:
        world, units = Path(folder) / "world", Path(folder) / "units.parquet"
        write_world(plan.world, world)
        pack = pack_for(columns_behind(plan.features), own_pack())
        write_units(world, pack, units, on_bank)
        study = study_of(plan.features)
        data = read_records([units], study, whole=True).data
    return start_of(plan.facts, study, data, plan.spread)


def study_of(features: tuple[Feature, ...]) -> Study:
    """Return a study of these features, to read units of a world by; nobody runs it."""
    content: dict[str, Any] = {
        "name": "start",
        "purpose": "curves without privacy, of people who do not exist",
        "records": {"unit": CUSTOMER, "label": LABEL, "units": 1, "prevalence": 0.5},
        "features": features,
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
    }
    return Study.model_validate(content)


def start_of(facts: StartFacts, study: Study, data: EncodedUnits, spread: float) -> PublicStart:
    """Fit curves to units, and keep them on the grid.

    Args:
        facts: of the file.
        study: whose features the units are of.
        data: units of an invented world.
        spread: log-odds that a slot may move from nothing.
    """
    grid: Grid = own_grid().model_copy(
        update={"spreads": Spreads(features=(spread,), rows=(spread,))}
    )
    basis = Basis(study.features)
    fitted = SumFits(study, grid, np.zeros(basis.entries)).own(data)[0].parameters
    curves = centred(basis, fitted, data)
    positive = float(data.labels.mean())
    curves[0] -= np.log(positive / (1.0 - positive))
    steps = np.clip(np.rint(curves * CURVE_STEPS), -WHOLE_CURVE, WHOLE_CURVE)
    return PublicStart(facts, steps.astype(np.int16))


def centred(
    basis: Basis, parameters: NDArray[np.float64], data: EncodedUnits
) -> NDArray[np.float64]:
    """Move what each curve adds on the mean into the bias: most units' vectors are short then."""
    moved = parameters.copy()
    tables = zip(basis.slices(), basis.tables(parameters), data.positions, strict=True)
    for part, table, column in tables:
        mean = float(table[column].mean())
        moved[part] -= mean
        moved[0] += mean
    return moved
