"""One model over an institution's units: scores, ranks, probabilities, the choice for the queue."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fieldfare.client.own_model.forest import Forest
from fieldfare.client.records.encoding.holdout import holdout_mask
from fieldfare.client.scoring.calibration import Calibration, Method, calibrate, or_released
from fieldfare.client.scoring.readings import NONE_HOLDS
from fieldfare.client.scoring.reasons import ExactRows, ExactScores, ranks
from fieldfare.client.scoring.selection import AlertBudget, choose
from fieldfare.client.scoring.units import ScorableUnits
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.score_map import Cut, ScoreMap
from fieldfare.shared.features.basis import Basis
from fieldfare.shared.models import model_for, network_for
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study

if TYPE_CHECKING:
    from fieldfare.client.scoring.network_reasons import ExactNetwork

_TIES: Final = b"fieldfare-ties"  # BLAKE2b's personalisation: not the hold-out's use of the key


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class RankedUnits:
    """Everyone who may be ranked.

    Attributes:
        units: without those on the suppression list.
        scores: float64 (units,), log-odds.
        ranks: int64 (units,), 1 for the unit that is reviewed first.
    """

    units: ScorableUnits
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]

    def top(self, most: int) -> list[int]:
        """Return the places of the highest, highest first."""
        return [int(place) for place in np.argsort(self.ranks)[:most]]

    def place_of(self, unit: str) -> int:
        """Return where a unit is.

        Raises:
            UsageError: not among those who may be ranked.
        """
        found: int = pc.index(self.units.units, unit).as_py()
        if found < 0:
            raise UsageError(
                "--unit: expected a unit of the records that may be ranked, found no such unit: "
                "check the id and the suppression list"
            )
        return found


@dataclass(frozen=True, eq=False, repr=False)
class Ranking(RankedUnits):
    """Everyone who may be ranked, with reasons and the choice for the queue.

    Attributes:
        exact: the model on the grid.
        chosen: int8 (units,): 1 alert, 2 below the line, 0 neither.
        probabilities: float64 (units,), NaN where not calibrated.
        calibration: the labels that they rest on.
        suppressed: how many are left out.
        resting: how many were decided on lately and are not alerted again yet.
        known: how many the records already label positive; `known_too` says whether they may be
            alerts all the same.
    """

    study: Study
    exact: "ExactScores | ExactRows | ExactNetwork"
    chosen: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    calibration: Calibration
    suppressed: int
    resting: int
    known: int
    known_too: bool

    def contributions(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return float64 (places, features): each feature's addition to the score, in log-odds.

        Args:
            places: int64, of units; of texts and vectors the one feature is the row.
        """
        return _parts(self.exact, self.units, places)


def rank_units(
    study: Study,
    parameters: NDArray[np.float64],
    units: ScorableUnits,
    *,
    budget: AlertBudget,
    key: bytes,
    random: np.random.Generator,
    suppressed: Collection[str] = (),
    resting: Collection[str] = (),
    calibration: Calibration | None = None,
    known_too: bool = False,
    forest: Forest | None = None,
    released: ScoreMap | None = None,
    cut: Cut | None = None,
) -> Ranking:
    """Score and rank; the software ranks, people decide (harm rule 3).

    Whom a harmless reading fits comes after all others (`readings.tiers_of`), whatever the score.

    Args:
        study: whose features the parameters are about.
        parameters: float64 (entries,), as delivered or tuned here.
        units: everybody.
        budget: how many alerts.
        key: the institution's hold-out key: who calibrates, and who is first among equals.
        random: draws the sample below the line.
        suppressed: units that are never ranked, alerted or shown.
        resting: units that are ranked and not alerted again yet.
        calibration: kept from earlier; None: from the labels of held-out units.
        known_too: whether those whom the records already label positive may be alerts: people
            know of them, and would look at old news. They are ranked like all others.
        forest: of a stack at home; None without trees.
        released: what scores mean by the released calibration; of the model as delivered only.
        cut: alerts are those from its score on, in place of the budget; whom a harmless reading
            fits is none of them.

    Raises:
        UsageError: a cut, and nothing released that says where.
    """
    among = ~_among(units.units, suppressed)
    shown = units.select(among)
    exact, scores = _exact(study, parameters, units, shown, among, forest)
    used = calibration or or_released(_calibrated(study, shown, scores, key), released)
    places = _ranks(shown, scores, key)
    rests, known = _among(shown.units, resting), shown.labels == 1
    eligible = ~rests if known_too else ~(rests | known)
    if cut is not None:
        first = eligible & (shown.tiers == NONE_HOLDS)
        budget = _from_cut(cut, released, scores[first], budget)
    return Ranking(
        study=study, units=shown, exact=exact, scores=scores, ranks=places,
        chosen=choose(places, eligible, budget, random), probabilities=used.apply(scores),
        calibration=used, suppressed=len(units) - len(shown), resting=int(rests.sum()),
        known=int(known.sum()), known_too=known_too,
    )  # fmt: skip


def contributions_of(
    study: Study,
    parameters: NDArray[np.float64],
    units: ScorableUnits,
    forest: Forest | None = None,
) -> NDArray[np.float64]:
    """Return float64 (units, features): as `Ranking.contributions`, of everybody, unranked."""
    everybody = np.ones(len(units), np.bool_)
    exact, _ = _exact(study, parameters, units, units, everybody, forest)
    return _parts(exact, units, np.arange(len(units)))


def _parts(
    exact: "ExactScores | ExactRows | ExactNetwork", units: ScorableUnits, places: NDArray[np.int64]
) -> NDArray[np.float64]:
    if isinstance(exact, ExactScores):
        return exact.contributions(units.positions[:, places])
    return exact.contributions(places)


def _from_cut(
    cut: Cut, released: ScoreMap | None, scores: NDArray[np.float64], budget: AlertBudget
) -> AlertBudget:
    if released is None:
        raise UsageError(
            "--cut: expected a model as it was delivered, with a released calibration, found none: "
            "leave --cut out, and --tuned where it is said"
        )
    return replace(budget, units=int((scores >= released.cuts[cut]).sum()), share=None)


def rank_rows(
    study: Study,
    parameters: NDArray[np.float64],
    units: ScorableUnits,
    *,
    key: bytes,
    suppressed: Collection[str] = (),
) -> RankedUnits:
    """Score texts or vectors as the model does, and rank; no reasons, and nobody is chosen.

    Args:
        study: whose model it is.
        parameters: float64 (entries,).
        units: everybody.
        key: the institution's hold-out key: who is first among equals.
        suppressed: units that are never ranked or shown.
    """
    shown = units.select(~_among(units.units, suppressed))
    scores = model_for(study).scores(parameters, shown.encoded())
    return RankedUnits(shown, scores, _ranks(shown, scores, key))


def _ranks(units: ScorableUnits, scores: NDArray[np.float64], key: bytes) -> NDArray[np.int64]:
    return ranks(scores, tie_breaks(units.units.to_pylist(), key), units.tiers)


def _exact(
    study: Study,
    parameters: NDArray[np.float64],
    units: ScorableUnits,
    shown: ScorableUnits,
    among: NDArray[np.bool_],
    forest: Forest | None,
) -> tuple["ExactScores | ExactRows | ExactNetwork", NDArray[np.float64]]:
    if isinstance(study.model, MlpSection):
        from fieldfare.client.scoring.network_reasons import (  # noqa: PLC0415 -- torch, captum
            ExactNetwork,
        )

        model = network_for(study, study.model)
        network = ExactNetwork.of(model, parameters, units.encoded(), among)
        return network, network.scores()
    if units.rows is not None:
        rows = ExactRows.of(model_for(study).scores(parameters, units.encoded()), among)
        return rows, rows.scores()
    exact = ExactScores.of(Basis(study.features), parameters, units.positions, forest)
    return exact, exact.scores(shown.positions)


def _among(units: Any, some: Collection[str]) -> NDArray[np.bool_]:
    found = pc.is_in(units, value_set=pa.array(sorted(some), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)


def tie_breaks(ids: Iterable[str], key: bytes) -> NDArray[np.uint64]:
    """Return uint64 (units,): order among equal scores, known to the key's holder alone."""
    keyed = hashlib.blake2b(key=key, digest_size=8, person=_TIES)
    digests = bytearray()
    for unit in ids:
        state = keyed.copy()
        state.update(unit.encode())
        digests += state.digest()
    return np.frombuffer(bytes(digests), dtype="<u8")


def _calibrated(
    study: Study, units: ScorableUnits, scores: NDArray[np.float64], key: bytes
) -> Calibration:
    labelled = units.labelled
    if not labelled.any():
        return Calibration(method=Method.NONE, reason="the records have no labels")
    held = holdout_mask(units.units.to_pylist(), key=key, share=study.evaluation.holdout)
    used = held & labelled
    return calibrate(scores[used], units.labels[used].astype(np.uint8))
