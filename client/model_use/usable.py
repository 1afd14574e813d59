"""A kept model, checked again and read: the start of scoring, tuning and evaluation.

Models that were tuned here are kept too, one for each run; they stay in the home (0600).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.alerts.store import scoring_folder
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import KeptModel, ModelProvenance, find_model, model_provenance
from fieldfare.client.home.studies import kept_study
from fieldfare.client.institution.institution import Institution
from fieldfare.client.own_model.forest import MOST_VALUE, Forest, Tree
from fieldfare.client.own_model.tuning import FittingKind, TuningOutcome
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evaluation.score_map import ScoreMap, score_map
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.protocol.messages import parameters_hash, parameters_to_bytes
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import replace_private

MOST_BYTES: Final = 32 * 1024 * 1024
MOST_TREES: Final = 1000
MOST_NODES: Final = 999
_KEPT: Final = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
_Parameter = Annotated[float, Field(ge=-PARAMETER_LIMIT, le=PARAMETER_LIMIT)]


_Whole = Annotated[tuple[int, ...], Field(strict=False, min_length=1, max_length=MOST_NODES)]
_Value = Annotated[float, Field(ge=-MOST_VALUE, le=MOST_VALUE)]


class _KeptTree(BaseModel):
    """A tree of a stack, by node (client/own_model/forest.py)."""

    model_config = _KEPT

    features: _Whole
    thresholds: _Whole
    left: _Whole
    right: _Whole
    values: tuple[_Value, ...] = Field(strict=False)

    @classmethod
    def of(cls, tree: Tree) -> Self:
        """Describe a tree."""
        return cls(
            features=tuple(tree.features.tolist()), thresholds=tuple(tree.thresholds.tolist()),
            left=tuple(tree.left.tolist()), right=tuple(tree.right.tolist()),
            values=tuple(tree.values.tolist()),
        )  # fmt: skip

    def tree(self) -> Tree:
        """Return the tree, unchecked."""
        asked = (self.features, self.thresholds, self.left, self.right)
        features, thresholds, left, right = (np.array(one, dtype=np.int64) for one in asked)
        return Tree(features, thresholds, left, right, np.array(self.values))


class _KeptForest(BaseModel):
    """The trees of a stack."""

    model_config = _KEPT

    base: _Value
    trees: tuple[_KeptTree, ...] = Field(strict=False, max_length=MOST_TREES)


class TunedModel(BaseModel):
    """The stored result of a tuning.

    Attributes:
        model: SHA-256 of the shared parameters that it began with.
        time: when (ISO 8601, UTC).
        units, positives: the counts that it was fitted on; secret like the records.
        weights: of a stack's parts.
        forest: trees of a stack; None without any.
    """

    model_config = _KEPT

    format: Literal[2] = 2
    study: Hex32
    run: str
    model: Hex32
    kind: FittingKind = Field(strict=False)
    bias: float
    scale: float
    parameters: tuple[_Parameter, ...] = Field(strict=False)
    units: int
    positives: int
    time: str
    weights: dict[str, float] = {}
    forest: _KeptForest | None = None

    @classmethod
    def of(
        cls, kept: KeptModel, shared: NDArray[np.float64], tuned: TuningOutcome, now: datetime
    ) -> Self:
        """Describe a tuning of a kept model."""
        return cls(
            study=kept.study, run=kept.run, model=_hash(shared), kind=tuned.kind,
            bias=tuned.bias, scale=tuned.scale, parameters=tuple(tuned.parameters.tolist()),
            units=tuned.units, positives=tuned.positives,
            time=now.isoformat(timespec="seconds"), weights=dict(tuned.weights),
            forest=_kept_forest(tuned.forest),
        )  # fmt: skip

    def trees(self, study: Study) -> Forest | None:
        """Return the trees of a stack.

        Raises:
            UsageError: no trees over this study's features.
        """
        if self.forest is None:
            return None
        trees = tuple(one.tree() for one in self.forest.trees)
        for tree in trees:
            tree.check(len(study.features))
        return Forest(self.forest.base, trees)


def _kept_forest(forest: Forest | None) -> _KeptForest | None:
    if forest is None:
        return None
    return _KeptForest(base=forest.base, trees=tuple(map(_KeptTree.of, forest.trees)))


def keep_tuned(home: Home, tuned: TunedModel) -> Path:
    """Keep a tuning in place of an earlier one of the same run.

    Raises:
        OSError: the disk refuses it.
    """
    scoring_folder(home)
    path = tuned_path(home, tuned.study, tuned.run)
    replace_private(path, tuned.model_dump_json().encode())
    return path


def tuned_model(
    home: Home, kept: KeptModel, study: Study, shared: NDArray[np.float64]
) -> TunedModel | None:
    """Return the tuning of a run, if there is one.

    Args:
        home: where it is kept.
        kept: the shared model's place.
        study: its study.
        shared: float64 (entries,), its parameters as delivered.

    Raises:
        UsageError: another file, or a tuning of another model.
    """
    path = tuned_path(home, kept.study, kept.run)
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            found = TunedModel.model_validate_json(file.read(MOST_BYTES))
    except (OSError, ValidationError):
        found = None
    fits = found is not None and (found.study, found.run, found.model, len(found.parameters)) == (
        study.id, kept.run, _hash(shared), len(shared)
    )  # fmt: skip
    if not fits:
        raise UsageError(
            f"{path}: expected a tuning of this very model, found something else: tune it again, "
            "or move the file away"
        )
    return found


def _hash(parameters: NDArray[np.float64]) -> str:
    return parameters_hash(parameters_to_bytes(parameters))


def tuned_path(home: Home, study: str, run: str) -> Path:
    """Return where a tuning of a run's model is kept.

    Raises:
        UsageError: ids that are none.
    """
    home.model(study, run)  # ids that are none become no path
    return home.scoring / f"tuned-{study[:16]}-{run}.json"


# -- usable model ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class UsableModel:
    """A delivered model, ready to score with.

    Attributes:
        study: whose features the parameters are about.
        parameters: float64 (entries,).
        verified: how far it was verified, in words.
        tuned: whether the parameters were tuned here.
        forest: trees of a stack at home; None without any.
        released: what scores mean, as the card's metrics say; None where tuned, or hidden.
        withheld: the metrics are the coordinator's word, and nobody said that it will do.
    """

    kept: KeptModel
    study: Study
    parameters: NDArray[np.float64]
    verified: str
    tuned: bool = False
    forest: Forest | None = None
    released: ScoreMap | None = None
    withheld: bool = False

    def check_figures(self) -> None:
        """Refuse to use what the card released where that is the coordinator's word.

        Raises:
            UsageError: it is, and nobody said that it will do.
        """
        if self.withheld:
            raise UsageError(
                f"{self.kept.folder}: expected figures that were read off their sum here, found "
                "the coordinator's word: verify the run with `fieldfare institution "
                "verify FILE`, or say --unverified"
            )


def usable_model(
    institution: Institution, text: str, kind: str | None = None, *, unverified: bool = False
) -> UsableModel:
    """Find, check and read the model that a person means.

    Args:
        institution: whose models are searched.
        text: a run, or first digits of its study.
        kind: the one that the caller can rank with; None: any.
        unverified: a person said that the coordinator's word will do.

    Raises:
        UsageError: none or several fit, another kind of model, or nothing but the coordinator's
            word for it.
        ProtocolError: its signature or hashes do not hold: it must not be used.
    """
    kept = find_model(institution.home, text)
    found = model_provenance(kept, institution.signers_ever)
    if found.card is None:
        raise ProtocolError(f"{kept.folder}: {found.words}")
    if found.provenance is ModelProvenance.UNVERIFIED and not unverified:
        raise UsageError(
            f"{kept.folder}: expected a model that was verified here, found the coordinator's word "
            "alone: recompute it with `fieldfare institution verify FILE`, or say "
            "--unverified"
        )
    study = kept_study(institution.home, kept.study, institution.roster).study
    if kind is not None and study.model.kind != kind:
        raise UsageError(
            f"{study.name}: expected a model of kind {kind}, found {study.model.kind}: its alerts "
            "have no words to show"
        )
    parameters = model_from_bytes(kept.read().model, study, kept.run)
    metrics, known = found.card.metrics, found.figures or unverified
    released = score_map(metrics.model_dump()) if metrics and known else None
    withheld = metrics is not None and not known
    return UsableModel(kept, study, parameters, found.words, released=released, withheld=withheld)


def as_tuned(institution: Institution, model: UsableModel) -> UsableModel:
    """Return the same model as it was tuned here.

    Raises:
        UsageError: it was not, or the file is of another model.
    """
    found = tuned_model(institution.home, model.kept, model.study, model.parameters)
    if found is None:
        raise UsageError(
            f"--tuned: expected a tuning of run {model.kept.run}, found none: make one with "
            f"`fieldfare institution tune --model {model.kept.run}`"
        )
    return replace(
        model,
        parameters=np.array(found.parameters),
        tuned=True,
        forest=found.trees(model.study),
        released=None,
        withheld=False,
    )
