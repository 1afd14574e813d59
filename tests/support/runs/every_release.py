"""Every release that a study makes, at drawn parameters: what all engines must agree on."""

from collections.abc import Iterator

import numpy as np

from fieldfare.client.records import LoadedRecords, holdout_mask
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.records.load import BUCKETS_KEY
from fieldfare.client.sums.partitioned_sums import WholeUnits
from fieldfare.client.sums.partitions import AskedSum
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.shared.models import trained_model
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.coordinates import geometry_of
from fieldfare.shared.study.study import Study

KEY = b"key of a test"


def whole_units(study: Study, records: LoadedRecords) -> WholeUnits:
    """The units of one institution as its custodian would cut them."""
    mask = holdout_mask(records.units, key=KEY, share=study.evaluation.holdout)
    asked = records.asked_units("bank-a", key=KEY) if study.asks or study.groups else None
    return WholeUnits(
        records.data, mask, unit_order(records.units, key=BUCKETS_KEY), asked, "split"
    )


def every_release(study: Study, sums: RunSums, seed: int = 0) -> Iterator[AskedSum]:
    """Ask for each kind of release that the study has; `sums` give the moments of a geometry."""
    plan, random = plan_for(study), np.random.default_rng(seed)
    if study.questions is not None:
        yield AskedSum(ReleaseKind.QUERY, study.questions.to_bytes())
    if not study.trains:
        return
    start = trained_model(study).initial(-1.0)
    entries, geometry = plan.training.vectors.entries, None
    if study.geometry is not None:
        yield AskedSum.by(ReleaseKind.MOMENTS, start, None)
        found = sums.vector(ReleaseKind.MOMENTS, start)
        moments = np.ldexp(found.astype(np.float64), -plan.moments.vectors.gamma_bits)
        geometry = geometry_of(plan, moments, 3)
    for scale in (0.0, 0.3, 30.0):
        at = start.copy()
        at[:entries] += random.normal(0.0, 1.0, entries) * scale
        yield AskedSum.by(ReleaseKind.TRAINING, at, geometry)
    if study.public_start is not None:
        yield AskedSum.by(ReleaseKind.GUARD, np.concatenate([at, start]), None)
        return
    yield AskedSum.by(ReleaseKind.EVALUATION, at, None)
    if study.groups:
        yield AskedSum.by(ReleaseKind.FAIRNESS, np.append(at, 0.1), None)
