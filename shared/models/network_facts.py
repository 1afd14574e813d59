"""What a plan needs of a network over features, by arithmetic: nothing here loads torch.

A console and a review say what a study costs; what trains, scores or explains needs the library.
"""

from typing import Final

from fieldfare.shared.features.basis import Basis
from fieldfare.shared.features.features import Feature
from fieldfare.shared.models.interface import GridVectors
from fieldfare.shared.study.model_sections import MlpSection

CAPACITY: Final = 128  # units of a bucket, which are rounded together (unit_batches.py)
GAMMA_BITS: Final = 34
ARITHMETIC: Final = 2.0**-8  # of C: what floating-point sums may add to a unit's reach
TOUCHED: Final = 3  # buckets that one unit can change, at most


def network_vectors(entries: int, clipping_norm: float) -> GridVectors:
    """Return the bound C with arithmetic's error; rounding of three buckets (3/2 gamma sqrt(d)).

    Args:
        entries: d, parameters of the network.
        clipping_norm: C.
    """
    return GridVectors(
        entries=entries,
        clipping_norm=clipping_norm * (1 + ARITHMETIC),
        gamma_bits=GAMMA_BITS,
        rounded_entries=TOUCHED**2 * entries,
    )


def dense_entries(count: int, hidden: tuple[int, ...]) -> int:
    """Count the parameters of rectified layers: c, w, then W and b of each layer.

    Args:
        count: numbers of a row.
        hidden: widths of the hidden layers.
    """
    befores = (count, *hidden[:-1])
    inner = sum(h * (b + 1) for h, b in zip(hidden, befores, strict=True))
    return 1 + hidden[-1] + inner


def network_entries(features: tuple[Feature, ...], section: MlpSection) -> int:
    """Count the parameters of a network over features; of a named module as the study says."""
    if section.parameters is not None:
        return 1 + section.parameters
    return dense_entries(slot_count(Basis(features)), section.hidden)


def slot_count(basis: Basis) -> int:
    """Count the numbers of a row: every slot of every feature, without the bias."""
    return basis.entries - 1
