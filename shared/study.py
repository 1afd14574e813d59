"""The study: the one plan that everybody agrees to and that never changes after.

Read from TOML, validated as a whole, hashed in canonical form (design section 5).
Every mistake is reported at once: key path, what was expected, what was found.
"""

import math
import tomllib
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fieldfare.shared.canonical import bytes_hash, canonical_bytes, content_hash
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features import Feature, Name

STUDY_FORMAT: Final = 1
STUDY_TYPE: Final = "fieldfare.study.v1"
MAX_FEATURES: Final = 1000
MAX_STUDY_BYTES: Final = 4 * 1024 * 1024
DEFAULT_MISSING: Final = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
PROHIBITED_BY_DEFAULT: Final = (
    "automated account closure, freeze or report",
    "immigration enforcement",
    "action against consenting adult sex workers",
    "treating a possible victim as a subject",
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RecordsSection(_Section):
    """The records that a study needs, and the two public numbers about them."""

    unit: Name | None = None
    label: Name
    positive: str = Field(default="1", min_length=1)
    missing: tuple[str, ...] = DEFAULT_MISSING
    units: int = Field(ge=1, le=2**40)  # public: all institutions, hold-out included
    prevalence: float = Field(gt=0, lt=1)  # public: share of positives


class ModelSection(_Section):
    """The model family; each is parameters in, one bounded sum out."""

    kind: Literal["additive"] = "additive"


class TrainingSection(_Section):
    """Full-batch training: Adam at the coordinator on the noisy mean (design section 3)."""

    steps: int = Field(default=50, ge=1, le=10_000)
    learning_rate: float = Field(default=0.1, gt=0, le=10)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    average_last: float = Field(default=0.5, gt=0, le=1)  # share of iterates averaged


class EvaluationSection(_Section):
    """What the federation measures of itself through the door, on the hold-out."""

    holdout: float = Field(default=0.2, gt=0, lt=1)
    score_bins: int = Field(default=24, ge=4, le=512)
    alert_budget: float = Field(default=0.01, gt=0, lt=1)  # share of units reviewed
    spare_releases: int = Field(default=1, ge=0, le=10)


class PrivacySection(_Section):
    """The promise: add or remove one unit, at (epsilon, delta), over the whole study."""

    epsilon: float = Field(gt=0, le=100)
    delta: float = Field(gt=0, lt=0.1)
    clipping_norm: float = Field(default=1.0, gt=0, le=8)  # C, a multiple of 2^-10
    collusion_tolerance: int = Field(default=1, ge=1)  # t, an absolute number
    multiplicity: int = Field(default=1, ge=1, le=64)  # M: the roster's constant
    spare_releases: int | None = Field(default=None, ge=0)  # for training attempts that fail
    training_share: float = Field(default=0.8, gt=0, lt=1)  # of mu^2

    @model_validator(mode="after")
    def _on_grid(self) -> Self:
        if (self.clipping_norm * 1024) % 1 != 0:
            raise ValueError(
                f"clipping_norm: a multiple of 2^-10 expected, {self.clipping_norm} found"
            )
        return self


class AggregationSection(_Section):
    """How many must take part, how long a step may take, how often it is tried."""

    minimum_institutions: int = Field(default=3, ge=3)
    deadline_seconds: float = Field(default=60.0, gt=0, le=86_400)
    attempts: int = Field(default=3, ge=1, le=100)


class Study(_Section):
    """One study: purpose, records, features, model, training, evaluation, privacy, aggregation."""

    format: Literal[1] = STUDY_FORMAT
    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    purpose: str = Field(min_length=1, max_length=2000)
    prohibited_uses: tuple[str, ...] = PROHIBITED_BY_DEFAULT
    records: RecordsSection
    features: tuple[Feature, ...]
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    privacy: PrivacySection
    aggregation: AggregationSection = AggregationSection()
    # Reserved: questions and allowances. Present in the hash, empty in this format.
    queries: tuple[dict[str, Any], ...] = ()
    allowance: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [*self._name_problems(), *self._size_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        if self.privacy.spare_releases is None:
            spare = math.ceil(self.training.steps / 10)  # design section 2: a tenth of the steps
            filled = self.privacy.model_copy(update={"spare_releases": spare})
            object.__setattr__(self, "privacy", filled)
        return self

    def _name_problems(self) -> list[str]:
        seen: set[str] = set()
        problems = []
        for index, feature in enumerate(self.features):
            if feature.name in seen:
                problems.append(f"features.{index}.name: a new name expected, {feature.name} twice")
            if feature.name in {self.records.label, self.records.unit}:
                problems.append(
                    f"features.{index}.name: neither label nor unit expected, {feature.name} found"
                )
            seen.add(feature.name)
        return problems

    def _size_problems(self) -> list[str]:
        problems = []
        minimum = self.aggregation.minimum_institutions
        tolerance = self.privacy.collusion_tolerance
        if minimum - tolerance < 2:  # noqa: PLR2004 -- design section 2: n - t >= 2
            problems.append(
                "aggregation.minimum_institutions: at least collusion_tolerance + 2 = "
                f"{tolerance + 2} expected, {minimum} found"
            )
        if not 1 <= len(self.features) <= MAX_FEATURES:
            problems.append(f"features: 1 to {MAX_FEATURES} expected, {len(self.features)} found")
        if self.queries or self.allowance is not None:
            problems.append("queries, allowance: reserved, nothing expected in format 1; remove")
        return problems

    @property
    def id(self) -> str:
        """SHA-256 of the canonical bytes under the study's type string, hex."""
        return content_hash(STUDY_TYPE, self)

    @property
    def spare_releases(self) -> int:
        """Training releases reserved for attempts that fail."""
        return self.privacy.spare_releases or 0

    @property
    def training_units(self) -> float:
        """Public count of units that training sums over: the divisor of every mean."""
        return self.records.units * (1 - self.evaluation.holdout)

    @property
    def holdout_units(self) -> float:
        """Public count of units that evaluation sums over."""
        return self.records.units * self.evaluation.holdout

    def canonical(self) -> bytes:
        """RFC 8785 bytes with defaults filled in."""
        return canonical_bytes(self)


def _one_line(error: dict[str, Any]) -> list[str]:
    """Turn one pydantic error into `path: expected, found` lines."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        path = _path(error["loc"])
        return [f"{path}: {line}" if path else line for line in message.split("\n")]
    expected = message.replace("Input should be ", "").replace("Input should have ", "")
    if error["type"] == "missing":
        return [f"{_path(error['loc'])}: a value expected, none found"]
    if error["type"] == "extra_forbidden":
        return [f"{_path(error['loc'])}: no such key expected; remove it or correct its spelling"]
    found = repr(error.get("input"))
    found = found if len(found) <= 60 else found[:57] + "..."  # noqa: PLR2004 -- one line
    return [f"{_path(error['loc'])}: {expected} expected, {found} found"]


def _path(location: tuple[Any, ...]) -> str:
    kinds = {"numeric", "categorical"}  # pydantic's union tags are no keys of the file
    return ".".join(str(part) for part in location if part not in kinds)


def problem_lines(error: ValidationError) -> list[str]:
    """Return one line per mistake: key path, what was expected, what was found."""
    return [line for item in error.errors() for line in _one_line(dict(item))]


def parse_study(text: str) -> Study:
    """Parse TOML text into a validated study.

    Raises:
        StudyError: the text is no TOML, or lists every mistake, one line each.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"TOML expected: {error}") from None
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        raise StudyError(problem_lines(error)) from None


def load_study(path: Path) -> Study:
    """Read and validate a study file (UTF-8 TOML, at most 4 MiB).

    Raises:
        StudyError: unreadable file, too large, or any mistake inside.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StudyError(f"{path}: a readable study file expected, {error.strerror}") from None
    if len(content) > MAX_STUDY_BYTES:
        raise StudyError(f"{path}: at most {MAX_STUDY_BYTES} bytes expected, {len(content)} found")
    try:
        return parse_study(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise StudyError(f"{path}: UTF-8 text expected") from None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a study file's bytes, to name a file apart from its meaning."""
    return bytes_hash(path.read_bytes())
