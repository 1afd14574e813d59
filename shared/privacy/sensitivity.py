"""How far one privacy unit can move a sum, and in which relation that is meant.

The two travel together as one type: a bare number would not say what it bounds.
"""

import math
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.rounding import positive, round_up, whole


class NeighbouringRelation(Enum):
    """Which two data sets must be hard to tell apart.

    Adding or removing one privacy unit (the customer, the case) is the only
    relation; replacing a unit moves a sum twice as far and is not claimed.
    """

    ADD_OR_REMOVE_ONE_UNIT = "add_or_remove_one_unit"


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How far one unit can move a sum, and in which relation that is meant.

    Attributes:
        clipping_norm: C, the L2 norm to which each unit's vector is clipped; the
            units of the sum; finite, > 0.
        gamma: grid step, in the units of the sum; finite, 0 < gamma <= C. The
            released sum lives on multiples of it.
        rounded_entries: how many entries of a unit's vector can be non-zero and
            are rounded to the *nearest* grid point; 0 when vectors are exact on
            the grid or rounded towards zero, which never lengthens them.
        multiplicity: M, the most institutions (or rows) one person can be a unit
            in, platform-wide; >= 1.
        linked_cap: K, the most other units whose `linked` features can change
            with one unit; 0 when no linked feature leaves.

    Raises:
        AccountingError: at construction, if any of them is out of range or NaN.
    """

    clipping_norm: float
    gamma: float
    rounded_entries: int = 0
    multiplicity: int = 1
    linked_cap: int = 0

    def __post_init__(self) -> None:
        """Refuse terms that no sum can have."""
        positive("clipping_norm", self.clipping_norm)
        positive("gamma", self.gamma)
        if self.gamma > self.clipping_norm:
            raise AccountingError(
                f"expected a grid finer than the clipping norm {self.clipping_norm!r}, "
                f"found gamma = {self.gamma!r}; use C * 2^-20 or finer"
            )
        whole("rounded_entries", self.rounded_entries, at_least=0)
        whole("multiplicity", self.multiplicity, at_least=1)
        whole("linked_cap", self.linked_cap, at_least=0)

    def l2(self, relation: NeighbouringRelation) -> float:
        """Return M (1 + 2K) (C + gamma sqrt(d) / 2), in the units of the sum.

        Args:
            relation: the neighbouring relation that the caller claims.

        Formal Guarantees:
            Adding or removing one unit moves the sum over units by at most this
            much in L2 norm: its own vector has norm <= C before rounding and
            each of d entries moves by at most gamma / 2 (one vector added or
            removed); each of K linked vectors may change to any other (two
            vectors); all that at M institutions. The result is the least double
            that is not below the real value, up to 2^-60 relative.

        Edge cases:
            | input                        | result          |
            |------------------------------|-----------------|
            | rounded_entries = 0          | M (1 + 2K) C    |
            | any other relation, or None  | AccountingError |
            | above the largest double     | AccountingError |

        Raises:
            AccountingError: see the table.

        Source: docs/design.md, "Integers" (integer sums do not depend on order).
        """
        if relation is not NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT:
            raise AccountingError(
                f"expected {NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT}, found {relation!r}; "
                "no other relation is accounted for"
            )
        reach = (
            Fraction(self.clipping_norm) + Fraction(self.gamma) * _sqrt_up(self.rounded_entries) / 2
        )
        return round_up(self.multiplicity * (1 + 2 * self.linked_cap) * reach)


def _sqrt_up(entries: int) -> Fraction:
    """sqrt(entries), exact for squares, else above by less than 2^-64."""
    root = math.isqrt(entries)
    if root * root == entries:
        return Fraction(root)
    return Fraction(math.isqrt(entries << 128) + 1, 1 << 64)
