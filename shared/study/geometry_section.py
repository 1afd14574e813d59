"""`[geometry]` of a study: in which coordinates its model is trained, and what they cost."""

from types import MappingProxyType
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Coordinates = Literal["whitened", "centred"]

SHARES: Final = MappingProxyType({"whitened": 0.1, "centred": 0.03})  # of training's mu^2
CLIPPING_NORMS: Final = MappingProxyType({"whitened": 1.0, "centred": 0.0625})
WHITENED_RATE: Final = 0.1  # of Adam
RIDGE: Final = 2.0


class GeometrySection(BaseModel):
    """Coordinates that follow from moments, which are released once, before training.

    Attributes:
        kind: "whitened": centred, and features that go together made even, from second moments;
            "centred": around the released mean alone, from first moments.
        share: of training's mu^2, for the moments and their spare releases.
        ridge: k, how many times the noise of the moments is added to their diagonal; whitened
            alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    kind: Coordinates
    share: float | None = Field(default=None, gt=0, lt=1)
    ridge: float = Field(default=RIDGE, gt=0, le=1024)

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if not self.whitened and "ridge" in self.model_fields_set:
            raise ValueError("ridge: expected only where geometry.kind is 'whitened'")
        if self.share is None:
            object.__setattr__(self, "share", SHARES[self.kind])
        return self

    @model_serializer(mode="wrap")
    def _as_it_is_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the kind has no use for."""
        data: dict[str, Any] = handler(self)
        if not self.whitened:
            data.pop("ridge", None)
        return data

    @property
    def whitened(self) -> bool:
        """Tell whether features that go together are made even, too."""
        return self.kind == "whitened"

    @property
    def of_training(self) -> float:
        """Share of training's mu^2."""
        return SHARES[self.kind] if self.share is None else self.share
