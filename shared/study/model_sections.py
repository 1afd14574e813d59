"""`[model]` of a study: which model family it trains, and the public constants of each."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from fieldfare.shared.features.features import Name
from fieldfare.shared.features.media_gate import name_problem
from fieldfare.shared.features.rows import MAX_COLUMNS
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.study.allowed_packages import (
    MODULE_PATTERN,
    PACKAGE_PATTERN,
    allowed_as,
    is_permitted,
)

MOST_PARAMETERS: Final = 1 << 20

DEFAULT_KIND: Final = "additive"
LEAST_BUCKETS: Final = 64
DEFAULT_BUCKETS: Final = 2048
LEAST_ENTRIES: Final = 64
MOST_HIDDEN: Final = 64
MOST_ENTRIES: Final = 1024  # as far as rows on multiples of 2^-10 resolve a vector of length 1
DEFAULT_HIDDEN: Final = (32,)
MOST_LAYERS: Final = 3
MOST_ROWS: Final = 64  # norms of units cost rows^2

# Whole vector registers: every unit of a batch is then computed by the same instructions.
Width = Annotated[int, Field(ge=8, le=256, multiple_of=8)]


class _Section(BaseModel):
    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class AdditiveSection(_Section):
    """A logistic generalised additive model over the study's features."""

    kind: Literal["additive"] = "additive"


class MlpSection(_Section):
    """A network over the study's features, of one or many rows a unit.

    Attributes:
        hidden: widths of the hidden layers, from the features on.
        rows: R, the most rows of a unit that count.
        module: a torch module instead, as `import.path:Class`; it is built for rows of so many
            numbers.
        package: which distribution holds it, and the version, as `name==version`.
        parameters: how many numbers that module learns for these features.
    """

    kind: Literal["mlp"]
    hidden: tuple[Width, ...] = Field(
        default=DEFAULT_HIDDEN, min_length=1, max_length=MOST_LAYERS, strict=False
    )
    rows: int = Field(default=1, ge=1, le=MOST_ROWS)
    module: str | None = Field(default=None, max_length=200, pattern=MODULE_PATTERN)
    package: str | None = Field(default=None, max_length=200, pattern=PACKAGE_PATTERN)
    parameters: int | None = Field(default=None, ge=1, le=MOST_PARAMETERS)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.module is None) != (self.package is None):
            raise ValueError("expected module and package together, found one of them")
        if (self.module is None) != (self.parameters is None):
            raise ValueError(
                "expected parameters beside a module, and nowhere else: how many numbers it learns "
                "(write any, and `fieldfare --package ... study check` says which)"
            )
        if self.module is not None and "hidden" in self.model_fields_set:
            raise ValueError("expected no hidden beside a module, which has its own layers")
        return self

    @model_serializer(mode="wrap")
    def _as_it_is_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what does not apply: widths of a named module, and no module."""
        data: dict[str, Any] = handler(self)
        unsaid = ("module", "package", "parameters") if self.module is None else ("hidden",)
        return {name: value for name, value in data.items() if name not in unsaid}


class TextSection(_Section):
    """Logistic regression on a text's words and character grams, hashed into public buckets.

    Attributes:
        column: holds each unit's text; it is hashed where it is read, and goes no further.
        buckets: how many.
    """

    kind: Literal["text"]
    column: Name
    buckets: int = Field(default=DEFAULT_BUCKETS, ge=LEAST_BUCKETS, le=MAX_COLUMNS)

    @property
    def columns(self) -> int:
        """Length of a row."""
        return self.buckets

    @field_validator("column")
    @classmethod
    def _no_protected_column(cls, column: str) -> str:
        return _unprotected(column)


class VectorSection(_Section):
    """Vectors of one length that an institution's own tool made, under a linear or wider head.

    Attributes:
        column: holds each unit's vector.
        entries: how many numbers each has.
        hidden: width of one hidden layer; 0 is logistic regression.
    """

    kind: Literal["vector"]
    column: Name
    entries: int = Field(ge=LEAST_ENTRIES, le=MOST_ENTRIES)
    hidden: int = Field(default=0, ge=0, le=MOST_HIDDEN)

    @property
    def columns(self) -> int:
        """Length of a row."""
        return self.entries

    @field_validator("column")
    @classmethod
    def _no_picture(cls, column: str) -> str:
        problem = name_problem(column)
        if problem:
            raise ValueError(
                f"expected a column of vectors, {problem}: name it after the tool (harm rule 6)"
            )
        return _unprotected(column)


def _unprotected(column: str) -> str:
    if is_protected(column):
        raise ValueError(
            f"expected no protected attribute, found {column!r}: it stays in the institution, for "
            "fairness audit only (harm rule 4)"
        )
    return column


def _kind(value: object) -> object:
    if isinstance(value, dict):
        return value.get("kind", DEFAULT_KIND)
    return getattr(value, "kind", None)


ModelSection = Annotated[
    Annotated[AdditiveSection, Tag("additive")]
    | Annotated[MlpSection, Tag("mlp")]
    | Annotated[TextSection, Tag("text")]
    | Annotated[VectorSection, Tag("vector")],
    Discriminator(_kind),
]

RowSection = TextSection | VectorSection
"""Models that read one column as a row of numbers, and no features."""


def named_class(model: AdditiveSection | MlpSection | RowSection) -> str | None:
    """Return the class that a model names, as a policy lists it; None where it names none."""
    if not isinstance(model, MlpSection):
        return None
    module, package = model.module, model.package
    return None if module is None or package is None else allowed_as(module, package)


def permitted(model: AdditiveSection | MlpSection | RowSection) -> bool:
    """Say whether a model names a class, and this process may import it."""
    named = named_class(model) or ""
    return bool(named) and is_permitted(named)


def row_section(model: AdditiveSection | MlpSection | RowSection) -> RowSection | None:
    """Return the section of a model that reads rows; None for one that reads features."""
    return model if isinstance(model, TextSection | VectorSection) else None
