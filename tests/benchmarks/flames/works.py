"""What flame graphs are drawn of: four works, and what the machine could do each in at best.

    python -m tests.benchmarks.flames.works NAME RECORDS.parquet UNITS SECONDS

repeats one of them for some seconds and prints what a call took, as JSON. `flames` starts it.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from tests.benchmarks.inputs import study_toml
from tests.benchmarks.scale.members import limits, spent

from fieldfare.client.records import holdout_mask
from fieldfare.client.records.load import Load, LoadedRecords
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.secure_sum import mask_stream
from fieldfare.shared.ring import WordBits, add
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

FEATURES: Final = 40
ENTRIES: Final = 401  # 40 features of 8 knots, with their slots, and the bias
PEERS: Final = 99
ENTROPY: Final = 16  # bytes of an entry's noise, at least
REQUEST: Final = "ab" * 32


class Work(NamedTuple):
    """A work that is repeated.

    Attributes:
        call: it.
        limit: what of the machine bounds it from below.
        limit_seconds: that a call would take if that were all.
    """

    call: Callable[[], object]
    limit: str
    limit_seconds: float


def _study(units: int) -> Study:
    return parse_study(study_toml(units=units, features=FEATURES, steps=60))


def _loaded(file: Path, units: int) -> LoadedRecords:
    load = Load(_study(units))
    load.read(table_at(file))
    return load.finish()


def step(file: Path, units: int) -> Work:
    """Return a private step: the sum over all units, and exact noise for it."""
    study, records, noise = _study(units), _loaded(file, units), ExactNoise()
    mask = holdout_mask(records.units, key=b"bench", share=study.evaluation.holdout)
    sums, terms = StudySums.prepare(study, records.data, mask), plan_for(study).training
    share, parameters = terms.share(3, study.privacy.collusion_tolerance), np.zeros(ENTRIES)

    def call() -> None:
        sums.vector(ReleaseKind.TRAINING, parameters)
        noise.sample(ENTRIES, share)

    seconds = records.data.positions.nbytes / 1e6 / limits()["memory"]
    return Work(call, "encoded records read once, memory", seconds)


def noise(_: Path, __: int) -> Work:
    """Return exact noise for a vector."""
    source = ExactNoise()
    seconds = ENTROPY * ENTRIES / 1e6 / limits()["entropy"]
    return Work(lambda: source.sample(ENTRIES, 2.0**20), "16 bytes of entropy an entry", seconds)


def masks(_: Path, __: int) -> Work:
    """Return the masks of a vector among a hundred members."""

    def call() -> None:
        total = np.zeros(ENTRIES, dtype=np.uint64)
        for peer in range(PEERS):
            secret = peer.to_bytes(32, "big")
            total = add(total, mask_stream(secret, REQUEST, ENTRIES, WordBits.K64), WordBits.K64)

    seconds = 8 * ENTRIES * PEERS / 1e6 / limits()["chacha20"]
    return Work(call, "ChaCha20 of all masks", seconds)


def loading(file: Path, units: int) -> Work:
    """Return the reading, checking and encoding of records from Parquet."""
    seconds = spent(lambda: pq.read_table(file, use_threads=False), 3) / 1e6
    return Work(lambda: _loaded(file, units), "Parquet read by Arrow on one core", seconds)


WORKS: Final = {one.__name__: one for one in (step, noise, masks, loading)}


def repeated(work: Work, seconds: float) -> dict[str, float | str]:
    """Repeat a work for some seconds; returns the processor time that a call took."""
    began, calls, until = time.process_time(), 0, time.perf_counter() + seconds
    while time.perf_counter() < until or not calls:  # no system call: it would show in the drawing
        work.call()
        calls += 1
    took = (time.process_time() - began) / calls
    return {
        "milliseconds": 1000 * took,
        "limit": work.limit,
        "limit_milliseconds": 1000 * work.limit_seconds,
        "ratio": took / work.limit_seconds,
    }


if __name__ == "__main__":
    name, file, units, seconds = sys.argv[1:]
    work = WORKS[name](Path(file), int(units))
    sys.stdout.write(json.dumps(repeated(work, float(seconds))) + "\n")
