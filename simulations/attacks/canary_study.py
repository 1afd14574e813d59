"""Canaries and their study: records of their own kind, each in the files or out of them by a coin.

Every kind of release is in some study, and no study has all of them: coordinates, a public start
and local steps exclude each other. So there are several, and an audit of every kind takes each.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldfare.client.records import holdout_mask
from fieldfare.shared.features.public_start import CURVE_STEPS, PublicStart, StartFacts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import holdout_key
from fieldfare.simulations.federation.population import RecordsChoice

BANKS: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
FEATURES: Final = 15  # with the bias a canary's vector has 16 equal entries: its norm is exact
CLIPPING_NORM: Final = 2.0**-8  # so small that nearly every canary is clipped in every step
DELTA: Final = 1e-5
HELD_OUT: Final = 0.3  # where releases of both sides are audited
SCORE_BINS: Final = 512
QUESTION: Final = "canaries by level and label"
SEGMENT: Final = "segment"  # whose levels are groups
SEGMENTS: Final = 32
LABELS: Final = 2
CURVE: Final = CURVE_STEPS // 16  # of a public start: each level adds it or takes it away
LARGEST_RATE: Final = 10.0  # of Adam: one step from a start already moves scores far

Sums = NDArray[np.int64]


class AuditForm(Enum):
    """A form of the canaries' study."""

    TRAINING = "training"  # steps, and nothing else that costs much
    ASKED = "asked"
    MOMENTS = "moments"
    START = "start"
    LOCAL = "local"

    @property
    def kinds(self) -> tuple[ReleaseKind, ...]:
        """The kinds of release that are audited in it, in the order of a run."""
        return _KINDS[self]


_KINDS: Final[Mapping[AuditForm, tuple[ReleaseKind, ...]]] = MappingProxyType(
    {
        AuditForm.TRAINING: (ReleaseKind.TRAINING,),
        AuditForm.ASKED: (
            ReleaseKind.QUERY,
            ReleaseKind.TRAINING,
            ReleaseKind.EVALUATION,
            ReleaseKind.FAIRNESS,
        ),
        AuditForm.MOMENTS: (ReleaseKind.MOMENTS, ReleaseKind.TRAINING),
        AuditForm.START: (ReleaseKind.TRAINING, ReleaseKind.GUARD),
        AuditForm.LOCAL: (ReleaseKind.TRAINING,),
    }
)


@dataclass(frozen=True)
class Design:
    """The design of an audit.

    Attributes:
        epsilon: of the study.
        canaries: records that a coin puts in or leaves out.
        steps: of training; all of its releases are in the attacker's hands.
        levels: of each feature; the canaries span 15 * levels + 1 entries.
        factor: of the noise that each institution draws: 1, or a defect.
        seed: of canaries and coins; noise is the operating system's.
        form: of the study.
        runs: whose findings are taken together; each has a budget of its own.
    """

    epsilon: float = 1.0
    canaries: int = 60_000
    steps: int = 40
    levels: int = 256
    factor: float = 1.0
    seed: int = 0
    form: AuditForm = AuditForm.TRAINING
    runs: int = 1

    @cached_property
    def study(self) -> Study:
        """The canaries' study: all but a hundredth of a side's promise is for what is audited."""
        content: dict[str, Any] = {
            "name": "canaries",
            "purpose": "an audit of the noise",
            "records": {
                "unit": "unit",
                "label": "label",
                "units": max(1000, self.canaries // 2),
                "prevalence": 0.5,
            },
            "features": self._features,
            # Slow, so that no canary is learned so well that it is not clipped any more.
            "training": {"steps": self.steps, "learning_rate": 0.01},
            "evaluation": {"holdout": 0.01, "score_bins": 4, "spare_releases": 0},
            "privacy": {
                "epsilon": self.epsilon,
                "delta": DELTA,
                "clipping_norm": CLIPPING_NORM,
                "spare_releases": 0,
            },
        }
        if self.form is not AuditForm.TRAINING:
            content["evaluation"]["holdout"] = HELD_OUT
        self._reform(content)
        return Study.model_validate(content)

    @property
    def _features(self) -> list[dict[str, Any]]:
        levels = [f"l{index}" for index in range(self.levels)]
        return [
            {"name": f"f{index}", "kind": "categorical", "levels": levels}
            for index in range(FEATURES)
        ]

    def _reform(self, content: dict[str, Any]) -> None:
        """Put in what the form has and others have not."""
        match self.form:
            case AuditForm.ASKED:
                content["queries"] = [{"name": QUESTION, "kind": "group_by", "by": ["f0", "label"]}]
                content["privacy"]["query_share"] = 0.1
                levels = [f"s{index}" for index in range(SEGMENTS)]
                content["evaluation"] |= {
                    "score_bins": SCORE_BINS,
                    "groups": [{"column": SEGMENT, "levels": levels}],
                }
            case AuditForm.MOMENTS:
                content["geometry"] = {"kind": "centred", "share": 0.3}
            case AuditForm.START:
                content["training"] |= {"learning_rate": LARGEST_RATE} | self._start
            case AuditForm.LOCAL:
                content["training"] = {"mode": "local", "steps": self.steps, "local_steps": 1}
            case AuditForm.TRAINING:
                pass

    @property
    def _start(self) -> dict[str, Any]:
        """The public start: curves of one height, up or down, so that all vectors are as long."""
        generator = np.random.default_rng([self.seed, self.levels])
        facts = {"generator": "canaries", "seed": self.seed, "settings": {}}
        made = StartFacts.model_validate({"features": self._features, **facts})
        slots = sum(one.slots for one in made.features)
        curves = CURVE * (2 * generator.integers(0, 2, slots) - 1)
        start = PublicStart(made, np.array([0, *curves], dtype=np.int16))
        text = base64.b64encode(start.to_bytes()).decode()
        return {"start": "public:canaries", "start_hash": start.hash, "start_file": text}


@dataclass(frozen=True, eq=False)
class Canaries:
    """Records with coins.

    Attributes:
        units: their ids.
        levels: int64 (canaries, features).
        labels: int64 (canaries,), 0 or 1.
        coins: bool (canaries,): which are in the files.
        width: entries of a feature: its levels, "other" and "missing".
        held: bool (canaries,): which are held out.
    """

    units: list[str]
    levels: Sums
    labels: Sums
    coins: NDArray[np.bool_]
    width: int
    held: NDArray[np.bool_]

    @classmethod
    def draw(cls, design: Design) -> "Canaries":
        """Draw canaries and coins; where training alone is audited, none would be held out."""
        generator = np.random.default_rng([design.seed, design.canaries])
        units = [f"canary-{index}" for index in range(design.canaries)]
        share = design.study.evaluation.holdout
        held = holdout_mask(units, key=holdout_key(design.seed), share=share)
        shape = (design.canaries, FEATURES)
        levels = generator.integers(0, design.levels, shape)
        labels, coins = generator.integers(0, 2, (2, design.canaries))
        kept = ~held if design.form is AuditForm.TRAINING else np.ones(design.canaries, np.bool_)
        named = [unit for unit, stays in zip(units, kept, strict=True) if stays]
        coins, width = coins[kept].astype(bool), design.levels + 2
        return cls(named, levels[kept], labels[kept], coins, width, held[kept])

    def write(self, folder: Path) -> RecordsChoice:
        """Write those that are in to one file for each institution."""
        found = []
        for index, bank in enumerate(BANKS):
            rows = np.flatnonzero(self.coins & (self.banks == index))
            columns: dict[str, Any] = {
                "unit": [self.units[row] for row in rows],
                "label": self.labels[rows],
                SEGMENT: [f"s{segment}" for segment in self.segments[rows]],
            }
            for feature in range(FEATURES):
                columns[f"f{feature}"] = [f"l{level}" for level in self.levels[rows, feature]]
            pq.write_table(pa.table(columns), folder / f"{bank}.parquet")
            found.append(f"{bank}={folder / f'{bank}.parquet'}")
        return RecordsChoice(tuple(found))

    @property
    def banks(self) -> Sums:
        """int64 (canaries,): whose each is, an index of BANKS."""
        return np.arange(len(self.units)) % len(BANKS)

    @property
    def segments(self) -> Sums:
        """int64 (canaries,): the group that each is in."""
        return np.asarray(self.levels[:, 0] % SEGMENTS)

    @cached_property
    def slots(self) -> Sums:
        """int64 (canaries, 16): the entries of each canary's vector; the bias comes first."""
        offsets = 1 + self.width * np.arange(FEATURES)
        bias = np.zeros((len(self.units), 1), dtype=np.int64)
        return np.concatenate([bias, self.levels + offsets], axis=1)
