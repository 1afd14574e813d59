"""The same as peers do, by Fieldfare: rounds of institutions, and secure sums of long vectors."""

import time
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.harness import FOLDER
from tests.benchmarks.inputs import study_toml, write_records
from tests.benchmarks.peers.environments import Spent

from fieldfare.client.records import holdout_mask, read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import RunAnswer
from fieldfare.shared.protocol.secure_sum import (
    EphemeralKeys,
    RunKeys,
    decapsulate,
    encapsulate,
    pair_key,
    seed_stream,
)
from fieldfare.shared.ring import WordBits, add, centre, decode, encode, subtract, to_ring
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation.federation import LocalFederation
from fieldfare.simulations.federation.in_memory import Experiment, simulated
from fieldfare.simulations.federation.population import RecordsChoice

UNITS: Final = 20  # of each institution: next to no work, as peers' institutions have none
FEATURES, STEPS = 40, 6
REQUEST: Final = "0" * 64
BITS: Final = WordBits.K32


def round_seconds(
    institutions: int, protection: Protection, units: int = UNITS
) -> tuple[list[Spent], int]:
    """Return what each step took, and the entries that each one sent.

    Each institution has so many units.

    Real custodians, real door, real ServerApp, in one process; with exact noise also signatures,
    masks, two messages for each release, and ledgers on disk.
    """
    with TemporaryDirectory(prefix=FOLDER) as folder:
        study = parse_study(study_toml(units=institutions * units, features=FEATURES, steps=STEPS))
        sums = _sums(study, institutions, Path(folder), units)
        marks = [now()]

        def stepped(state: TrainingState, total: DecodedSum) -> None:
            marks.append(now())

        place = Path(folder)
        with LocalFederation(study, sums, protection, seed=0, directory=place) as federation:
            job = federation.job()
            job.on_step = stepped
            federation.run(job)
            entries = federation.plan.training.vectors.entries
    return between(marks)[1:], entries


def one_pass_seconds(institutions: int) -> list[Spent]:
    """Return what each step took where all sums are added up in one pass."""
    marks: list[Spent] = []
    with TemporaryDirectory(prefix=FOLDER) as folder:
        path = Path(folder) / "records.parquet"
        write_records(path, units=institutions * UNITS, features=FEATURES, banks=institutions)
        terms = study_toml(units=institutions * UNITS, features=FEATURES, steps=4 * STEPS)
        task = Experiment(
            study=parse_study(terms),
            choice=RecordsChoice((str(path),), institution_column="bank"),
            baselines=(),
            engine=Engine.SUMS,
        )
        simulated(task, lambda *_: marks.append(now()))
    return between(marks)


def now() -> Spent:
    """Return what a clock and this process's processor time show."""
    return Spent(time.perf_counter(), time.process_time())


def between(marks: Sequence[Spent]) -> list[Spent]:
    """Return what passed from each mark to the next."""
    return [Spent(b.wall - a.wall, b.processor - a.processor) for a, b in pairwise(marks)]


def _sums(study: Study, institutions: int, folder: Path, units: int) -> Mapping[str, StudySums]:
    path = folder / "records.parquet"
    write_records(path, units=units, features=FEATURES, banks=1)
    data = read_records([path], study).data
    held = holdout_mask([str(place) for place in range(len(data))], key=b"bench", share=0.2)
    one = StudySums.prepare(study, data, held)
    return {f"bank-{place:03d}": one for place in range(institutions)}


# -- a secure sum ----------------------------------------------------------------------------------


def secure_sum(vectors: Sequence[NDArray[np.int64]]) -> tuple[Spent, Spent]:
    """Return what keys took, made once a run, and one sum of all vectors.

    All pairs mask each other, each vector is hidden a second time until all are committed to, and
    travels as bytes: what a round of a deployment computes, without its noise and signatures.

    Args:
        vectors: int64 (entries,) of each institution.

    Raises:
        ValueError: another sum came out.
    """
    marks = [now()]
    keys = keys_of([f"bank-{place:03d}" for place in range(len(vectors))])
    marks.append(now())
    total = _summed(keys, vectors)
    marks.append(now())
    if not np.array_equal(total, np.sum(vectors, axis=0)):
        raise ValueError("expected the sum of all vectors, found another")
    made, summed = between(marks)
    return made, summed


def keys_of(names: Sequence[str]) -> dict[str, RunKeys]:
    """Return everybody's keys with everybody: X25519 and ML-KEM-768 for each pair, both sides."""
    own = {name: EphemeralKeys.generate() for name in names}
    answers = {name: _answer(name, keys) for name, keys in own.items()}
    shared: dict[str, dict[str, bytes]] = {name: {} for name in names}
    for lower, upper in combinations(names, 2):
        secret, ciphertext = encapsulate(answers[upper])
        sides = ((lower, upper, secret), (upper, lower, decapsulate(own[upper], ciphertext)))
        for name, peer, kem in sides:
            shared[name][peer] = pair_key(
                own[name], kem, answers[name], answers[peer], opening=REQUEST, ciphertext=ciphertext
            )
    return {name: RunKeys(0, keys) for name, keys in shared.items()}


def _answer(name: str, keys: EphemeralKeys) -> RunAnswer:
    x25519, mlkem768 = keys.public
    return RunAnswer(
        approval=REQUEST, study=REQUEST, roster=REQUEST, run="bench", institution=name,
        nonce=REQUEST, boot=REQUEST, x25519=x25519, mlkem768=mlkem768,
    )  # fmt: skip


def _summed(keys: Mapping[str, RunKeys], vectors: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    everybody, entries = frozenset(keys), len(vectors[0])
    sent, seeds = [], []
    for (name, own), vector in zip(keys.items(), vectors, strict=True):
        mask = own.mask(name, everybody - {name}, REQUEST, entries, BITS)
        seed = name.encode().ljust(32, b"\0")
        hidden = add(to_ring(vector, BITS), add(mask, seed_stream(seed, entries, BITS), BITS), BITS)
        sent.append(encode(hidden, BITS))
        seeds.append(seed)
    total = np.zeros(entries, dtype=np.uint64)
    for content, seed in zip(sent, seeds, strict=True):
        opened = subtract(decode(content, BITS, entries), seed_stream(seed, entries, BITS), BITS)
        total = add(total, opened, BITS)
    return centre(total, BITS)
