"""From the answered sum of a study's questions to the knots that its model is trained on."""

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.knot_places import asked_features, chosen_places
from fieldfare.shared.query_blocks import WEIGHT_BITS, layout_for
from fieldfare.shared.study import Study


def asked_knots(study: Study, total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the knots of all features that ask for theirs, as a model's parameters hold them.

    Args:
        study: whose declared questions were answered.
        total: float64 (entries,), the decoded sum, in the vector's own unit.

    Returns:
        float64 (knots,), whole places on each feature's grid, features in the study's order.

    Formal Guarantees:
        Post-processing of the released sum: no further record is read and nothing more is spent.
        Integers only, so that every party gets the same knots from the same sum.
    """
    group = study.questions
    if group is None:
        return np.zeros(0)
    layout = layout_for(group, study.asked_columns)
    names = [question.name for question in group.questions]
    steps = np.ldexp(total, WEIGHT_BITS)  # exact: whole grid steps
    found: list[int] = []
    for feature in asked_features(study.features):
        block = layout.blocks[layout.reads[names.index(str(feature.knots_from))][0]]
        cells = [int(step) for step in steps[block.part]]
        bins = cells[:-1]  # the last cell counts the units without a value
        found += chosen_places(bins, quantiles=feature.quantile_knots, even=feature.even_knots)
    return np.array(found, dtype=np.float64)
