"""`[training]` of a study: how its model is trained, and where that starts."""

from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.public_start import NAME_PATTERN
from fieldfare.shared.study.start import MOST_START_TEXT, start_in

LOCAL_EXCHANGES: Final = 5
_OF_ADAM: Final = ("learning_rate", "beta1", "beta2")
_OF_LOCAL_MODE: Final = ("local_steps", "local_rate")


class TrainingSection(BaseModel):
    """Full-batch training: Adam at the coordinator on the noisy mean (docs/design.md, "The model").

    In local mode each institution takes several noised steps of gradient descent inside, and the
    coordinator averages how far everybody moved.

    Attributes:
        mode: "together": each step is one sum over all; "local": see above.
        steps: sums that are collected, 5 where a study in local mode does not say; 0: nothing is
            trained, questions are asked.
        learning_rate, beta1, beta2: of Adam; not in local mode. A `beta2` of 1: steps are
            measured in their own noise.
        local_steps: steps inside for each sum; in local mode only.
        local_rate: of these steps, in units of one over the log loss's curvature at the public
            prevalence.
        average_last: share of iterates averaged.
        start: "public:NAME": public curves where training starts; one multiplier a feature is
            learned. Left out: from nothing.
        start_hash: SHA-256 of the start's file, hex; filled in where a study is read from a file.
        start_file: base64 of the start's file; filled in from NAME.safetensors beside the study,
            or from those that come with Fieldfare.
    """

    # Strict: a quoted number or `true` where a number belongs is a mistake, not a number.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    mode: Literal["together", "local"] = "together"
    steps: int = Field(default=60, ge=0, le=10_000)
    learning_rate: float = Field(default=0.15, gt=0, le=10)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, le=1)
    local_steps: int = Field(default=10, ge=1, le=1000)
    local_rate: float = Field(default=0.5, gt=0, le=10)
    average_last: float = Field(default=0.5, gt=0, le=1)
    start: str | None = Field(default=None, pattern=NAME_PATTERN)
    start_hash: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    start_file: str | None = Field(default=None, max_length=MOST_START_TEXT)

    @model_validator(mode="after")
    def _of_one_start(self) -> Self:
        """Hold the file to its hash: whoever has another start has another study."""
        try:
            found = start_in(self.start, self.start_hash, self.start_file)
        except StudyError as error:
            raise ValueError("\n".join(error.problems)) from None
        if found is not None and (self.local or not self.steps):
            raise ValueError("start: expected only where training.mode is together, with steps")
        return self

    @model_validator(mode="after")
    def _of_one_mode(self) -> Self:
        idle, other = self._idle(), "together" if self.local else "local"
        problems = [
            f"training.{name}: expected only where training.mode is {other!r}"
            for name in idle
            if name in self.model_fields_set
        ]
        if self.local and not self.steps:
            problems.append("training.steps: expected 1 or more in local mode, found 0")
        if problems:
            raise ValueError("\n".join(problems))
        if self.local and "steps" not in self.model_fields_set:
            object.__setattr__(self, "steps", LOCAL_EXCHANGES)
        return self

    @model_serializer(mode="wrap")
    def _of_its_mode(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the mode has no use for: the id of a study without it stays as it was."""
        data: dict[str, Any] = handler(self)
        started = () if self.start else ("start", "start_hash", "start_file")
        for name in (*self._idle(), *(() if self.local else ("mode",)), *started):
            data.pop(name, None)
        return data

    def _idle(self) -> tuple[str, ...]:
        return _OF_ADAM if self.local else _OF_LOCAL_MODE

    @property
    def local(self) -> bool:
        """Tell whether institutions take steps of their own."""
        return self.mode == "local"
