"""The study: the one plan that everybody agrees to and that never changes after.

Read from TOML, validated as a whole, hashed in canonical form (docs/design.md, "The study").
Every mistake is reported at once: key path, what was expected, what was found.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from fieldfare.shared.canonical import canonical_bytes, content_hash
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import (
    MAX_GROUP_COLUMNS,
    CategoricalFeature,
    Dependence,
    Feature,
    GroupColumn,
    Name,
    NumericFeature,
    Value,
    columns_behind,
    computed_words,
)
from fieldfare.shared.features.knots import asked_features
from fieldfare.shared.features.media_gate import media_in
from fieldfare.shared.features.public_start import PublicStart
from fieldfare.shared.study.geometry_section import (
    CLIPPING_NORMS,
    WHITENED_RATE,
    GeometrySection,
)
from fieldfare.shared.study.model_sections import (
    AdditiveSection,
    MlpSection,
    ModelSection,
    RowSection,
    VectorSection,
    row_section,
)
from fieldfare.shared.study.question_columns import (
    Column,
    Columns,
    InstitutionColumn,
    columns_by_name,
)
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.shared.study.questions import (
    MAX_QUESTIONS,
    Kind,
    Quantiles,
    Question,
    QuestionGroup,
)
from fieldfare.shared.study.start import start_in
from fieldfare.shared.study.training_section import TrainingSection

STUDY_FORMAT: Final = 1
STUDY_TYPE: Final = "fieldfare.study.v1"
MAX_FEATURES: Final = 1000
MOST_SPARE: Final = 2  # training releases, where a study says nothing of them
MAX_SPARE_RELEASES: Final = 10_000
MAX_INSTITUTIONS: Final = 10_000  # each step costs a mask for every pair
UNPAID_ATTEMPTS: Final = 64  # of a step, counted with those that ended before an opening
MAX_STUDY_BYTES: Final = 4 * 1024 * 1024
MAX_COLUMNS: Final = 200  # for questions alone
MAX_MISSING: Final = 1000  # texts that mean no value
MAX_PROHIBITED: Final = 100  # uses; people read each of them
QUERY_SHARE: Final = 0.2  # of mu^2, where a study that trains asks questions too
DEFAULT_MISSING: Final = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
PROHIBITED_BY_DEFAULT: Final = (
    "automated account closure, freeze or report",
    "immigration enforcement",
    "action against consenting adult sex workers",
    "treating a possible victim as a subject",
)


class _Section(BaseModel):
    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


Purpose = Annotated[str, Field(min_length=1, max_length=2000)]
ProhibitedUse = Annotated[str, Field(max_length=500)]
# A canonical key in capitals; of a BIC (ISO 9362) the eight characters that name the bank.
BankCode = Annotated[
    str, Field(max_length=64, pattern=r"^([A-Z0-9_.:@=+/*-]{1,10}|[A-Z0-9_.:@=+/*-]{12,64})$")
]


class RecordsSection(_Section):
    """The records that a study needs, and the two public numbers about them.

    Attributes:
        left_out_banks: bank codes of all participants. Where some are named, every column that is
            read must say that payments with their customers are left out, and the promise covers
            the person; a BIC by its first eight characters, sorted.
    """

    unit: Name | None = None
    label: Name
    positive: Value = Field(default="1", min_length=1)
    missing: tuple[Value, ...] = Field(
        default=DEFAULT_MISSING, max_length=MAX_MISSING, strict=False
    )
    units: int = Field(ge=1, le=2**40)  # public: all institutions, hold-out included
    prevalence: float = Field(gt=0, lt=1)  # public: share of positives
    left_out_banks: tuple[BankCode, ...] = Field(default=(), max_length=1000, strict=False)

    @field_validator("left_out_banks")
    @classmethod
    def _in_order(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if list(codes) != sorted(set(codes)):
            raise ValueError("expected different codes in alphabetical order, found others")
        return codes

    @model_serializer(mode="wrap")
    def _as_before_codes(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a study without such codes did not have: its id stays as it was."""
        data: dict[str, Any] = handler(self)
        if not self.left_out_banks:
            data.pop("left_out_banks", None)
        return data


class EvaluationSection(_Section):
    """The federation's own measurement through the door, on the hold-out.

    With `groups`, also how alerts fall on groups of people: one more release of counts, priced
    like the table of scores.
    """

    holdout: float = Field(default=0.2, gt=0, lt=1)
    score_bins: int = Field(default=20, ge=4, le=512)
    alert_budget: float = Field(default=0.01, gt=0, lt=1)  # share of units reviewed
    spare_releases: int = Field(default=1, ge=0, le=10)
    groups: tuple[GroupColumn, ...] = Field(default=(), max_length=MAX_GROUP_COLUMNS, strict=False)

    @model_serializer(mode="wrap")
    def _as_before_groups(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a study without groups did not have: its id stays as it was."""
        data: dict[str, Any] = handler(self)
        if not self.groups:
            data.pop("groups", None)
        return data


class PrivacySection(_Section):
    """The promise: add or remove one unit, at (epsilon, delta), over the whole study."""

    epsilon: float = Field(gt=0, le=100)
    delta: float = Field(ge=1e-30, lt=0.1)
    clipping_norm: float = Field(default=0.25, gt=0, le=8)  # C, a multiple of 2^-10
    collusion_tolerance: int = Field(default=1, ge=1)  # t, an absolute number
    multiplicity: int = Field(default=1, ge=1, le=64)  # M: the roster's constant
    spare_releases: int | None = Field(default=None, ge=0, le=MAX_SPARE_RELEASES)  # of training
    query_share: float | None = Field(default=None, ge=0, le=1)  # of mu^2, for questions

    @field_validator("clipping_norm")
    @classmethod
    def _on_grid(cls, clipping_norm: float) -> float:
        if (clipping_norm * 1024) % 1 != 0:
            raise ValueError(f"expected a multiple of 2^-10, found {clipping_norm}")
        return clipping_norm


class AggregationSection(_Section):
    """How many must take part, how long a step may take, how often it is tried.

    Attributes:
        minimum_institutions: in every sum.
        deadline_seconds: to wait for an answer.
        attempts: of a step that may be paid for.
        opening: vectors are committed to before any of them can be read, and paid for when they
            are opened; the one protocol there is.
        participants: "fixed": all sums of the study are of the same institutions; "any": those
            that are there.
    """

    minimum_institutions: int = Field(default=3, ge=3, le=MAX_INSTITUTIONS)
    deadline_seconds: float = Field(default=60.0, gt=0, le=86_400)
    attempts: int = Field(default=3, ge=1, le=100)
    opening: Literal["on"] = "on"
    participants: Literal["fixed", "any"] = "fixed"

    @property
    def fixed(self) -> bool:
        """Tell whether all sums are of the same institutions."""
        return self.participants == "fixed"

    @property
    def most_tries(self) -> int:
        """How many attempts of a step there may be, with those that nobody paid for."""
        return max(UNPAID_ATTEMPTS, self.attempts)


class AllowanceSection(_Section):
    """Questions that may be asked later, without another approval.

    Attributes:
        kinds: that may be asked.
        columns: that they may read, conditions included.
        groups: of questions, each answered in one release, in one run.
        share: of the mu^2 for questions; the rest is for those that are declared.
        spare_releases: further releases reserved for attempts that fail.
    """

    kinds: tuple[Kind, ...] = Field(min_length=1, strict=False)
    columns: tuple[Name, ...] = Field(min_length=1, strict=False)
    groups: int = Field(default=10, ge=1, le=1000)
    share: float = Field(default=0.5, gt=0, le=1)
    spare_releases: int = Field(default=1, ge=0, le=100)


class Study(_Section):
    """One study: purpose, records, features, model, training, evaluation, privacy, aggregation."""

    format: Literal[1] = STUDY_FORMAT
    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    purpose: Purpose
    prohibited_uses: tuple[ProhibitedUse, ...] = Field(
        default=PROHIBITED_BY_DEFAULT, max_length=MAX_PROHIBITED, strict=False
    )
    records: RecordsSection
    features: tuple[Feature, ...] = Field(default=(), strict=False)
    columns: tuple[Column, ...] = Field(default=(), max_length=MAX_COLUMNS, strict=False)
    queries: tuple[Question, ...] = Field(default=(), max_length=MAX_QUESTIONS, strict=False)
    allowance: AllowanceSection | None = None
    model: ModelSection = Field(default=AdditiveSection(), validate_default=True)
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    privacy: PrivacySection
    aggregation: AggregationSection = Field(default=AggregationSection(), validate_default=True)
    geometry: GeometrySection | None = None

    # Each rule stands on the field that it can see first, so that it is said even where
    # another section is wrong; only a rule about a broken section has to wait.
    @field_validator("features")
    @classmethod
    def _distinct_features(
        cls, features: tuple[Feature, ...], info: ValidationInfo
    ) -> tuple[Feature, ...]:
        problems = []
        if len(features) > MAX_FEATURES:
            problems.append(f"expected 1 to {MAX_FEATURES}, found {len(features)}")
        records = info.data.get("records")
        taken = {records.label, records.unit} if records else set()
        seen: set[str] = set()
        for index, feature in enumerate(features):
            path = f"features.{index}.name"
            if feature.name in seen:
                problems.append(f"{path}: expected a new name, found {feature.name!r} again")
            if feature.name in taken:
                problems.append(f"{path}: expected neither label nor unit, found {feature.name!r}")
            seen.add(feature.name)
        _refuse(problems)
        return features

    @field_validator("model")
    @classmethod
    def _reads_something(cls, model: ModelSection, info: ValidationInfo) -> ModelSection:
        features, records = info.data.get("features"), info.data.get("records")
        rows = row_section(model)
        if rows is None:
            if features is not None and not features:
                raise ValueError(f"features: expected 1 to {MAX_FEATURES}, found 0")
            if isinstance(model, MlpSection):
                _check_network(model, info)
            return model
        problems = []
        if features:
            problems.append(f"features: expected none beside a {rows.kind} model, found some")
        if records is not None and rows.column in {records.label, records.unit}:
            problems.append(f"model.column: expected neither label nor unit, found {rows.column!r}")
        _refuse(problems)
        return model

    @field_validator("aggregation")
    @classmethod
    def _two_honest(cls, value: AggregationSection, info: ValidationInfo) -> AggregationSection:
        privacy = info.data.get("privacy")
        # docs/design.md, "Noise": n - t >= 2
        least = privacy.collusion_tolerance + 2 if privacy else 0
        if value.minimum_institutions < least:
            raise ValueError(
                "aggregation.minimum_institutions: expected at least collusion_tolerance + 2 = "
                f"{least}, found {value.minimum_institutions}"
            )
        return value

    @field_validator("columns")
    @classmethod
    def _distinct_columns(
        cls, columns: tuple[Column, ...], info: ValidationInfo
    ) -> tuple[Column, ...]:
        records = info.data.get("records")
        taken = {feature.name for feature in info.data.get("features") or ()}
        taken |= {records.label, records.unit} if records else set()
        problems = []
        for index, column in enumerate(columns):
            if column.name in taken:
                problems.append(f"columns.{index}.name: expected a new name, found {column.name!r}")
            taken.add(column.name)
        if sum(isinstance(column, InstitutionColumn) for column in columns) > 1:
            problems.append(
                "columns: expected one column of kind institution, found more: groups that overlap "
                "would single institutions out; keep one"
            )
        _refuse(problems)
        return columns

    @field_validator("queries")
    @classmethod
    def _answerable(
        cls, queries: tuple[Question, ...], info: ValidationInfo
    ) -> tuple[Question, ...]:
        columns = _named_in(info)
        if not queries or columns is None:
            return queries
        try:
            layout_for(QuestionGroup(questions=queries), columns)
        except ValidationError as error:
            raise ValueError("\n".join(f"queries: {e['msg']}" for e in error.errors())) from None
        except StudyError as error:
            raise ValueError("\n".join(f"queries: {line}" for line in error.problems)) from None
        return queries

    @field_validator("allowance")
    @classmethod
    def _of_declared_columns(
        cls, allowance: AllowanceSection | None, info: ValidationInfo
    ) -> AllowanceSection | None:
        columns, queries = _named_in(info), info.data.get("queries")
        if allowance is None or columns is None or queries is None:
            return allowance
        problems = [
            f"allowance.columns: expected a declared column, found {name!r}"
            for name in allowance.columns
            if name not in columns
        ]
        if queries and allowance.share == 1:
            problems.append("allowance.share: expected less than 1 where queries are declared")
        _refuse(problems)
        # With nothing declared, all of it: what nobody can ask for must not be planned for.
        return allowance if queries else allowance.model_copy(update={"share": 1.0})

    @field_validator("training")
    @classmethod
    def _trains_or_asks(cls, training: TrainingSection, info: ValidationInfo) -> TrainingSection:
        asks = info.data.get("queries", True) or info.data.get("allowance", True)
        if training.steps == 0 and not asks:
            raise ValueError("training.steps: expected greater than or equal to 1, found 0")
        return training

    @field_validator("evaluation")
    @classmethod
    def _groups_apart(cls, section: EvaluationSection, info: ValidationInfo) -> EvaluationSection:
        """Keep what groups are made by out of everything else that a study reads (harm rule 4)."""
        training, names = info.data.get("training"), [one.column for one in section.groups]
        problems = []
        if names and training is not None and training.steps == 0:
            problems.append("evaluation.groups: expected none where no model is trained")
        model = info.data.get("model")
        if names and isinstance(model, MlpSection) and model.rows > 1:
            problems.append("evaluation.groups: expected none where model.rows > 1: they read one")
        taken = _taken_names(info)
        for index, name in enumerate(names):
            if name.casefold() in taken | {one.casefold() for one in names[:index]}:
                problems.append(
                    f"evaluation.groups.{index}.column: expected a column that is read for nothing "
                    f"else, found {name!r}: a group is for fairness alone, never an input"
                )
        _refuse(problems)
        return section

    @field_validator("geometry")
    @classmethod
    def _fits(cls, geometry: GeometrySection | None, info: ValidationInfo) -> object:
        training, model = info.data.get("training"), info.data.get("model")
        if geometry is None:
            return None
        problems = []
        hidden = isinstance(model, VectorSection) and model.hidden
        if isinstance(model, MlpSection) or hidden:
            problems.append(
                f"geometry: expected none beside a network, found {geometry.kind!r}: its scores "
                "are sums of nothing that is known before training"
            )
        if training is not None and training.local:
            problems.append("geometry: expected none where training.mode is 'local', found some")
        if training is not None and not training.steps:
            problems.append("geometry: expected none where no model is trained, found some")
        if training is not None and training.start:
            problems.append("geometry: expected none beside a public start: its curves are few")
        _refuse(problems)
        return geometry

    @model_validator(mode="after")
    def _directed_by_slot(self) -> Self:
        """Refuse directions where what steps move is no curve's value at a knot."""
        whitened = self.geometry is not None and self.geometry.whitened
        barred = whitened or isinstance(self.model, MlpSection) or self.training.start
        for index, one in enumerate(self.features if barred else ()):
            if isinstance(one, NumericFeature) and one.direction is not None:
                raise ValueError(
                    f"features.{index}.direction: expected none beside a network, whitened "
                    f"coordinates or a public start, found {one.direction!r}: remove it, or train "
                    "the additive model in its features' own or in centred coordinates"
                )
        return self

    @model_validator(mode="after")
    def _as_coordinates_ask(self) -> Self:
        """Fill in C and the rate where coordinates have a scale of their own."""
        given = self.geometry
        if given is None:
            return self
        if "clipping_norm" not in self.privacy.model_fields_set:
            self._fill("privacy", clipping_norm=CLIPPING_NORMS[given.kind])
        if given.whitened and "learning_rate" not in self.training.model_fields_set:
            self._fill("training", learning_rate=WHITENED_RATE)
        return self

    def _fill(self, section: str, **values: object) -> None:
        changed = getattr(self, section).model_copy(update=values)
        object.__setattr__(self, section, changed)

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        problems, share = [], self.privacy.query_share
        if self.trains and share == 1:
            problems.append("privacy.query_share: expected less than 1 where a model is trained")
        if not self.asks and share:
            problems.append("privacy.query_share: expected 0 where no question is asked")
        if self.asks and share == 0:
            problems.append("privacy.query_share: expected more than 0 where questions are asked")
        if not self.trains and share not in {None, 1}:
            problems.append("privacy.query_share: expected 1 where nothing is trained")
        _refuse(problems)
        return self

    @model_validator(mode="after")
    def _start_is_of_its_features(self) -> Self:
        start = self.public_start
        if start is None:
            return self
        if self.asks_for_knots or self.model.kind != "additive":
            raise ValueError(
                "training.start: expected only beside a model of kind additive, and no knots_from"
            )
        try:
            start.curves_for(self.features)
        except StudyError as error:
            raise ValueError("\n".join(f"features: {line}" for line in error.problems)) from None
        return self

    @model_validator(mode="after")
    def _no_media(self) -> Self:
        whole = self.model_dump()
        whole["training"].pop("start_file", None)  # bounded numbers, and words that it checked
        found = list(media_in(whole))
        if found:
            rule = "leave it out (harm rule 6)"
            raise ValueError("\n".join(f"{p}: expected plain words, {w}: {rule}" for p, w in found))
        return self

    @model_validator(mode="after")
    def _derived_from_records(self) -> Self:
        problems = [
            f"{path}.{problem}"
            for path, column in _derived(self)
            for problem in _source_problems(self, column)
        ]
        _refuse(problems)
        return self

    @model_validator(mode="after")
    def _knots_asked_for(self) -> Self:
        asked = asked_features(self.features)
        queries = {query.name: query for query in self.queries}
        problems = []
        for feature in asked:
            query = queries.get(str(feature.knots_from))
            if not isinstance(query, Quantiles) or query.column != feature.name:
                problems.append(
                    f"features.{self.features.index(feature)}.knots_from: expected the name of a "
                    f"query of kind quantiles over {feature.name!r}, found {feature.knots_from!r}"
                )
        if asked and not self.trains:
            problems.append("features: expected knots_from only where a model is trained")
        _refuse(problems)
        return self

    @model_validator(mode="after")
    def _filled_in(self) -> Self:
        if self.privacy.query_share is None and self.asks:
            self._fill("privacy", query_share=QUERY_SHARE if self.trains else 1.0)
        if self.privacy.query_share == 0:  # nothing is asked: the same as not saying so
            self._fill("privacy", query_share=None)
        if self.privacy.spare_releases is None:
            # docs/design.md, "Attempts": what fails before it is opened costs nothing.
            spare = min(math.ceil(self.training.steps / 10), MOST_SPARE)
            self._fill("privacy", spare_releases=spare)
        return self

    @model_serializer(mode="wrap")
    def _as_before_questions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a study without these did not have: its id stays as it was."""
        data: dict[str, Any] = handler(self)
        for name in ("columns", "geometry"):
            if not getattr(self, name):
                data.pop(name, None)
        if not self.query_share and isinstance(data.get("privacy"), dict):
            data["privacy"].pop("query_share", None)
        return data

    @property
    def id(self) -> str:
        """SHA-256 of the canonical bytes under the study's type string, hex."""
        return content_hash(STUDY_TYPE, self)

    @property
    def rows(self) -> RowSection | None:
        """The model's section where it reads rows of one column, None where it reads features."""
        return row_section(self.model)

    @property
    def asks(self) -> bool:
        """Tell whether the study asks questions, now or later."""
        return bool(self.queries) or self.allowance is not None

    @property
    def trains(self) -> bool:
        """Tell whether the study trains a model."""
        return self.training.steps > 0

    @property
    def public_start(self) -> PublicStart | None:
        """The public curves where training starts; None: it starts from nothing."""
        training = self.training
        return start_in(training.start, training.start_hash, training.start_file)

    @property
    def stepwise(self) -> "Study":
        """The same study with a sum at every step, to compare local mode with.

        It has as many steps as an institution takes in local mode, spare ones too, and therefore
        the same budget for each; Adam's own defaults. Another study is its own counterpart.
        """
        if not self.training.local:
            return self
        inside = self.training.local_steps
        training = TrainingSection(
            steps=self.training.steps * inside, average_last=self.training.average_last
        )
        privacy = self.privacy.model_copy(update={"spare_releases": self.spare_releases * inside})
        return self.model_copy(update={"training": training, "privacy": privacy})

    @property
    def groups(self) -> tuple[GroupColumn, ...]:
        """The columns by which the study counts alerts in groups; empty where it does not."""
        return self.evaluation.groups

    @property
    def computed(self) -> tuple[tuple[str, str], ...]:
        """The columns that it computes, by name, each with its formula in plain words."""
        found = ((one.name, computed_words(one)) for one in (*self.features, *self.columns))
        return tuple((name, words) for name, words in found if words)

    @property
    def asks_for_knots(self) -> bool:
        """Tell whether knots follow from the answers: questions then come before training."""
        return bool(asked_features(self.features))

    @property
    def questions(self) -> QuestionGroup | None:
        """The declared questions, all answered in one release."""
        return QuestionGroup(questions=self.queries) if self.queries else None

    @property
    def asked_columns(self) -> Columns:
        """Everything that a question may name, by name."""
        return columns_by_name(self.features, self.columns, self.records.label)

    @property
    def query_share(self) -> float:
        """Share of mu^2 for questions."""
        return self.privacy.query_share or 0.0

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


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("\n".join(problems))


def _check_network(model: MlpSection, info: ValidationInfo) -> None:
    """Refuse what a network of features cannot carry."""
    problems = []
    records, features = info.data.get("records"), info.data.get("features") or ()
    if records is not None and records.unit is None:
        problems.append("records.unit: expected a column of ids beside a model of kind mlp")
    if asked_features(features):
        problems.append("features: expected no knots_from beside a model of kind mlp, found some")
    asks = info.data.get("queries") or info.data.get("allowance")
    if model.rows > 1 and asks:
        problems.append("model.rows: expected 1 where questions are asked: they read one row")
    _refuse(problems)


def _derived(study: Study) -> Iterator[tuple[str, NumericFeature]]:
    """Yield features and columns that read others than their own, with their places."""
    for section, declared in (("features", study.features), ("columns", study.columns)):
        for index, one in enumerate(declared):
            if isinstance(one, NumericFeature) and (one.derived or one.by):
                yield f"{section}.{index}", one


def _source_problems(study: Study, column: NumericFeature) -> Iterator[str]:
    """Say what a column may not be computed from."""
    computed = {one.name.casefold() for _, one in _derived(study) if one.derived}
    rows = None if study.rows is None else study.rows.column
    kept = {n.casefold() for n in (study.records.unit, study.records.label, rows) if n is not None}
    tagged = [one for one in study.columns if isinstance(one, NumericFeature | CategoricalFeature)]
    peers = {
        one.name.casefold() for one in (*study.features, *tagged) if one.tag is Dependence.PEER
    }
    if column.by and (column in study.columns or isinstance(study.model, MlpSection)):
        yield "by: expected only in features, and of a model of kind additive"
    for name in (one for one in columns_behind([column]) if column.derived or one == column.by):
        key = "by" if name == column.by else "derived"
        if name.casefold() in kept:
            yield (
                f"{key}: expected columns of numbers or times, found {name!r}, which is the "
                "unit, the label or what the model reads"
            )
        if name.casefold() in computed:
            yield (
                f"{key}: expected columns of the records, found {name!r}, which is computed "
                "itself: write the formula over what it is computed from"
            )
        if name.casefold() in peers and column.tag is not Dependence.PEER:
            yield f'tag: expected "peer" as that of its source {name!r}, found "{column.tag.value}"'


def _named_in(info: ValidationInfo) -> Columns | None:
    """Return what questions may name, or None where a section that says it is wrong."""
    records, features = info.data.get("records"), info.data.get("features")
    columns = info.data.get("columns")
    if records is None or features is None or columns is None:
        return None
    return columns_by_name(features, columns, records.label)


def _taken_names(info: ValidationInfo) -> set[str]:
    """Return every column that a study reads for something else than groups, in one case."""
    records, model = info.data.get("records"), info.data.get("model")
    rows = None if model is None else row_section(model)
    declared = (*(info.data.get("features") or ()), *(info.data.get("columns") or ()))
    taken: set[str | None] = {one.name for one in declared} | set(columns_behind(declared))
    taken |= {records.label, records.unit, rows.column if rows else None} if records else set()
    return {name.casefold() for name in taken if name}


def check_deployable(study: Study) -> None:
    """Check that institutions may run a study, and not a simulation alone.

    Its unit decides the side of the hold-out: by an id it stays there for good, whatever other
    rows come or go (docs/design.md, "The unit").

    Raises:
        StudyError: it names no unit.
    """
    if study.records.unit is None:
        raise StudyError(
            "records.unit: expected a column of ids, found none: a study that institutions run "
            "names its unit, so that each one stays on its side of the hold-out; add an id to the "
            "records and name its column (only `fieldfare simulate` takes none)"
        )
