"""What a release asks of an institution's units, whatever they are and wherever they are summed."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.questions import QuestionGroup


class UnitIds(Protocol):
    """A sketch of ids, as the ledger keeps it."""

    def to_bytes(self) -> bytes:
        """Return what is kept."""
        ...


class ReleaseSums(Protocol):
    """An institution's units, summed; each unit moves a sum by at most the plan's sensitivity."""

    @property
    def split(self) -> str:
        """Names the key and the share by which units were held out."""
        ...

    @property
    def ids(self) -> UnitIds:
        """A sketch of the units' ids."""
        ...

    @abstractmethod
    def vector(
        self, kind: ReleaseKind, parameters: NDArray[np.float64], geometry: Geometry | None = None
    ) -> NDArray[np.int64]:
        """Return int64 (entries,): the raw sum of one release, in units of gamma.

        Args:
            kind: what is released.
            parameters: that its request binds.
            geometry: the coordinates of a training step, where the study has any.

        Raises:
            PolicyRefusal: a kind that sums no records, or coordinates of other vectors.
        """

    @abstractmethod
    def answers(self, questions: QuestionGroup) -> NDArray[np.int64]:
        """Return int64 (entries,): the raw sum of a group of questions over all units.

        Raises:
            PolicyRefusal: the study asks nothing.
        """

    @abstractmethod
    def local_change(
        self, parameters: NDArray[np.float64], noise: Iterable[NDArray[np.int64]], participants: int
    ) -> NDArray[np.int64]:
        """Return int64 (entries,): how far noised steps move the parameters, in units of gamma."""
