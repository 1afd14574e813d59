"""The model card: a model's purpose, its limits, its cost and how to check it.

JSON for programs and archives; `model_card_page` makes it a page for people. It holds what
every member may know and nothing more: how many took part, never whose units they are.
"""

import json
from typing import Annotated, Any, Final, Literal

import rfc8785
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evaluation.groups import Verdict
from fieldfare.shared.features.features import Name, Scale, Value
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.protocol.delivery import LARGEST_CARD
from fieldfare.shared.protocol.messages import Count, RunId
from fieldfare.shared.protocol.plan import PICOMU2
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.study.study import MAX_PROHIBITED, ProhibitedUse, Purpose

CARD_TYPE: Final = "fieldfare.model-card.v1"

Sentence = Annotated[str, Field(min_length=1, max_length=2000)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Participation(_Part):
    """The number of participants, and their roster. Names are in the transcript, not here."""

    institutions: Count
    minimum: Count
    roster: Hex32


class DataCard(_Part):
    """The training data, as the study states it: public numbers, no count of any institution.

    Attributes:
        unit: the column that names a person or case; empty where each row is one.
        label: the column that was learned.
        positive: its value for a case.
        units: planned for all institutions together, hold-outs included.
        prevalence: planned share of cases.
        holdout: share of the units that trained nothing.
    """

    unit: Value
    label: Name
    positive: Value
    units: Count
    prevalence: Share
    holdout: Share


class FeatureCard(_Part):
    """One input, its public bounds, and how far it moves a score.

    Attributes:
        name: the column.
        computed: how it is computed from others of a row, in words; empty: it is read.
        kind: numeric, categorical, or what a model without features reads.
        lower, upper: bounds of a numeric feature; values beyond count as the bound.
        scale: on which its knots are interpolated between.
        shapes: knots of a numeric feature, levels of a categorical one, numbers of a row.
        lowest, highest: smallest and largest contribution of any slot, in log-odds.
    """

    name: str
    kind: Literal["numeric", "categorical", "text", "vector"]
    lower: float | None = None
    upper: float | None = None
    scale: Scale | None = Field(default=None, strict=False)
    shapes: Count
    lowest: float
    highest: float
    computed: str = Field(default="", max_length=1000)

    @model_serializer(mode="wrap")
    def _as_it_was(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the card of a study that computes nothing did not have."""
        data: dict[str, Any] = handler(self)
        if not self.computed:
            data.pop("computed", None)
        return data


class ModelFacts(_Part):
    """The model itself.

    Attributes:
        parameters: SHA-256 of the parameters as little-endian float64.
        layout: hash of the features that give them their meaning.
    """

    kind: str
    entries: Count
    steps: Count
    bias: float
    parameters: Hex32
    layout: Hex32


class PrivacyCard(_Part):
    """The promise and its price.

    Attributes:
        unit: the protected unit.
        relation: how neighbouring databases differ.
        epsilon, delta: promised for everything that the study releases.
        epsilon_spent: of this run's spending.
        planned, spent: mu^2 in units of 1e-12; spent is that of the institution that
            answered most in this run.
        collusion_tolerance: institutions that may collude with the coordinator.
        multiplicity: institutions that may know one unit.
        clipping_norm: largest norm of a unit's contribution to a training sum.
        training_sigma, evaluation_sigma: noise on an honest sum, in the sum's unit; in local
            mode training's is that on each institution's own sums.
        epsilon_if_masks_fail: epsilon of the plan without masks; None: nothing.
    """

    unit: str
    relation: str
    epsilon: float
    delta: float
    epsilon_spent: float
    planned: Count
    spent: Count
    collusion_tolerance: Count
    multiplicity: Count
    clipping_norm: float
    training_sigma: float
    evaluation_sigma: float
    epsilon_if_masks_fail: float | None
    noise: Sentence
    masks: Sentence

    def epsilon_beyond(self) -> float:
        """Return epsilon of the plan to a unit that one more institution knows than it counts on.

        Its vectors move every sum (M + 1) / M times as far, so mu grows by that factor.
        """
        times = (self.multiplicity + 1) / max(self.multiplicity, 1)
        mu2 = self.planned / PICOMU2 * times**2
        return epsilon_for(delta=self.delta, mu2=mu2) if mu2 else 0.0


class CardInterval(_Part):
    """A value and its 95 % interval, which includes the noise."""

    value: float
    low: float
    high: float


class CalibrationPoint(_Part):
    """Of units with about this predicted probability, how many are labelled."""

    predicted: float
    observed: float
    low: float
    high: float
    units: float


class ReleasedMetrics(_Part):
    """The federation's measurements on its hold-outs, released through the door."""

    auroc: CardInterval
    average_precision: CardInterval
    precision: CardInterval
    recall: CardInterval
    alert_budget: Share
    units: CardInterval
    positives: CardInterval
    sigma: float
    calibration: tuple[CalibrationPoint, ...] = Field(strict=False)


class GroupRow(_Part):
    """How alerts fall on one group; rates are None where noise or few units hide them.

    Attributes:
        units: of the hold-outs.
        alert_rate: share of them that would be reviewed.
        false_positive_rate: share of the unlabelled that would be.
        times: ratio of that to the rate of all others of its grouping.
        verdict: whether it is more than twice theirs, as far as the interval shows.
    """

    name: str
    units: CardInterval
    alert_rate: CardInterval | None
    false_positive_rate: CardInterval | None
    times: float | None
    verdict: Verdict = Field(strict=False)


class GroupingCard(_Part):
    """One grouping of the study: its public levels, then the rest."""

    column: str
    rows: tuple[GroupRow, ...] = Field(strict=False)


class ReleasedGroups(_Part):
    """How alerts fall on groups of the hold-outs, as counted through the door.

    Attributes:
        threshold: log-odds from which a unit was an alert; it follows from the table of scores.
        sigma: noise on each count, in units.
    """

    alert_budget: Share
    threshold: float
    sigma: float
    everybody: GroupRow
    columns: tuple[GroupingCard, ...] = Field(strict=False)


class StartCard(_Part):
    """The public start that the model was trained from, and what its guard found.

    Attributes:
        name, hash: of the start, as the study says them.
        generator, seed: what made it.
        taken: whether the model is what was trained, or the start itself.
        gain: log loss of the start less that of what was trained, on training units, with noise.
        sigma: of that noise.
    """

    name: str
    hash: Hex32
    generator: str
    seed: Count
    taken: Literal["trained", "start"]
    gain: float
    sigma: float


class Verification(_Part):
    """The values that a copy of the transcript is compared with.

    Attributes:
        size, root: of the transcript when the card was written (RFC 6962, section 2.1).
        failed_attempts: sums that had to be asked for again.
        how: instructions, in sentences.
    """

    size: Count
    root: Hex32
    failed_attempts: Count
    how: tuple[Sentence, ...] = Field(strict=False)


class ModelCard(_Part):
    """One finished model's card; the same facts give the same bytes."""

    format: Literal[1] = 1
    type: Literal["fieldfare.model-card.v1"] = CARD_TYPE
    study: Hex32
    name: str
    run: RunId
    finished: Time
    purpose: Purpose
    prohibited_uses: tuple[ProhibitedUse, ...] = Field(max_length=MAX_PROHIBITED, strict=False)
    conditions: tuple[Sentence, ...] = Field(strict=False)
    participation: Participation
    data: DataCard
    model: ModelFacts
    features: tuple[FeatureCard, ...] = Field(strict=False)
    features_from: Sentence
    privacy: PrivacyCard
    metrics: ReleasedMetrics | None  # None: hidden by noise
    groups: ReleasedGroups | None = None  # None: the study has no groups
    start: StartCard | None = None  # None: trained from nothing
    limits: tuple[Sentence, ...] = Field(strict=False)
    fairness: tuple[Sentence, ...] = Field(strict=False)
    verification: Verification

    @model_serializer(mode="wrap")
    def _as_before_groups(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the card of a study without groups or start did not have."""
        data: dict[str, Any] = handler(self)
        for name in ("groups", "start"):
            if getattr(self, name) is None:
                data.pop(name, None)
        return data

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 bytes."""
        return canonical_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> "ModelCard":
        """Parse a card; only the bytes that `to_bytes` writes are accepted.

        Raises:
            ProtocolError: too large, no card of this format, or not canonical.
        """
        if len(content) > LARGEST_CARD:
            raise ProtocolError(f"expected a card of at most {LARGEST_CARD} bytes, found more")
        try:
            card = cls.model_validate(json.loads(content))
            if card.to_bytes() == content:
                return card
        except (ValidationError, ValueError, RecursionError):
            pass  # nothing of it is repeated: it may be hostile
        raise ProtocolError("expected a model card of format 1 in its canonical form: ask again")


def metrics_of(content: bytes) -> str:
    """Return the RFC 8785 form of a card's metrics; empty where it has none.

    Raises:
        ProtocolError: as `ModelCard.from_bytes`.
    """
    metrics = ModelCard.from_bytes(content).metrics
    return canonical_json(metrics) if metrics else ""


def canonical_json(value: Any) -> str:
    """Return the RFC 8785 form of a part of a card."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return rfc8785.dumps(plain_json(value)).decode()


def plain_json(value: Any) -> Any:
    """Return lists for tuples and texts for enumerations."""
    return json.loads(json.dumps(value))
