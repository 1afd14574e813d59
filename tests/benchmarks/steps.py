"""One large institution and one message round, measured in a process of its own.

    python -m tests.benchmarks.steps RECORDS.parquet STUDY.toml --json

A process of its own, because peak memory is the process's.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from tests.benchmarks.harness import Bench, BenchRow, at_most, peak_bytes
from tests.benchmarks.inputs import study_toml
from tests.support.records.whitened_model import WhitenedModel

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.client.node.client_app import client_app
from fieldfare.client.records import holdout_mask, read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.channel import GridChannel
from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.geometry.geometry import fraction_bits_for
from fieldfare.shared.geometry.moments import (
    first_moment_sum,
    first_moment_vectors,
    moment_sum,
    moment_vectors,
)
from fieldfare.shared.geometry.unit_vectors import unit_vectors
from fieldfare.shared.geometry.whitening import centred_from, whitened_from
from fieldfare.shared.models import AdditiveModel, model_for
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.protocol.flower_record import Call, Content
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study, parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import FIRST_NODE
from fieldfare.simulations.federation.grid import InProcessGrid

REPEATS: Final = 7
ROUNDS: Final = 200
BANKS: Final = 6
DENSE_UNITS: Final = 1 << 17  # of the dense basis in memory at a time: 170 MB at 40 features
COLLUDERS: Final = 1
# What the project promises on two cores.
MESSAGE_MILLISECONDS: Final = 10.0
PRIVATE_RATIO: Final = 1.3
PEAK_MEGABYTES: Final = 2000.0
GEOMETRY_SECONDS: Final = 60.0  # moments and norms together, once a run
GEOMETRY_MEGABYTES: Final = 1000.0
LINEAR_SLACK: Final = 1.25  # a million units may cost at most this many times four quarters
SIZES: Final = (0.25, 0.5, 1.0)  # shares of the units, to see whether a step is linear in them

Step = Callable[[], object]


def measure(
    records: Annotated[Path, typer.Argument(help="Parquet.")],
    study_file: Annotated[Path, typer.Argument(help="Study.")],
) -> dict[str, Any]:
    """Load an institution, time its steps, and time a message round.

    Returns:
        Seconds (medians), megabytes (peak resident set), milliseconds a round of six.
    """
    study = load_study(Path(study_file))
    started = time.perf_counter()
    data, holdout = _load(Path(records), study)
    loaded = time.perf_counter() - started
    StudySums.prepare(study, data, holdout)  # what a custodian holds besides: part of the peak
    peak = peak_megabytes()
    noise = ExactNoise()
    steps = [step_seconds(study, first(data, share), noise) for share in SIZES]
    return {
        "units": len(data),
        "features": len(study.features),
        "loading_seconds": loaded,
        "peak_megabytes": peak,
        "steps": steps,
        "dense_torch_seconds": dense_seconds(study, data),
        "message_milliseconds": message_milliseconds(study),
        "peak_megabytes_of_all": peak_megabytes(),
    }


def _load(records: Path, study: Study) -> tuple[EncodedUnits, NDArray[np.bool_]]:
    found = read_records([records], study)
    share = study.evaluation.holdout
    return found.data, holdout_mask(found.units, key=b"bench", share=share)


def peak_megabytes() -> float:
    """Return this process's peak resident set so far."""
    return peak_bytes() / 2**20


def first(data: EncodedUnits, share: float) -> EncodedUnits:
    """Return the first units, as an institution of that size would hold them."""
    mask = np.arange(len(data)) < share * len(data)
    return data if share == 1.0 else data.select(mask)


def medians(steps: Mapping[str, Step], repeats: int = REPEATS) -> dict[str, float]:
    """Time steps in turn, so that what else the machine does meets all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # the first touch of memory is no step
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def step_seconds(study: Study, data: EncodedUnits, noise: NoiseSource) -> dict[str, float]:
    """Time a private step and the same step without clipping and noise, in the same encoding."""
    plan = plan_for(study)
    entries = plan.training.vectors.entries
    scale = plan.training.share(BANKS, COLLUDERS)
    sums = model_for(study).prepare(data)
    parameters = np.random.default_rng(0).normal(0.0, 0.3, entries)
    timed = medians(
        {
            "private_seconds": lambda: sums.gradient_sum(parameters) + noise.sample(entries, scale),
            "plain_seconds": lambda: sums.plain_gradient(parameters),
        }
    )
    return {"units": len(data), **timed}


def dense_seconds(study: Study, data: EncodedUnits) -> float:
    """Time the same plain step as torch does it on the dense hat basis, float32, full batch.

    A million units are larger than memory should be, so the basis is built for a part of them
    and the time is scaled up; building it is not counted.
    """
    some = first(data, min(1.0, DENSE_UNITS / max(1, len(data))))
    basis = AdditiveModel(study.features, study.privacy.clipping_norm).basis
    dense = torch.ones((len(some), basis.entries), dtype=torch.float32)
    for fold, column, part in zip(basis.folds, some.positions, basis.slices(), strict=True):
        weights = (fold / 2.0**8).astype(np.float32)
        dense[:, part] = torch.from_numpy(weights[column])
    labels = torch.from_numpy(some.labels.astype(np.float32))
    parameters = torch.zeros(basis.entries, dtype=torch.float32)

    def step() -> torch.Tensor:
        return dense.T @ (torch.sigmoid(dense @ parameters) - labels)

    seconds = medians({"dense": step})["dense"]
    return seconds * len(data) / max(1, len(some))


def geometry(units: int, features: int) -> dict[str, float]:
    """Time what other coordinates cost: moments, the matrix, norms; and a private step in them.

    Units whose positions are as likely as any other: none is cheaper than another.
    """
    study = parse_study(study_toml(units=units, features=features, steps=1))
    random = np.random.default_rng(0)
    columns = [random.integers(0, table_size(f), units, dtype=np.uint16) for f in study.features]
    data = EncodedUnits(np.stack(columns), (random.random(units) < 0.07).astype(np.uint8))
    model = AdditiveModel(study.features, 1.0)
    vectors = unit_vectors(model)
    sigma = moment_vectors(vectors).clipping_norm * 10
    started = time.perf_counter()
    moments = np.ldexp(
        moment_sum(vectors, data).astype(np.float64), -moment_vectors(vectors).gamma_bits
    )
    summed = time.perf_counter()
    fraction_bits = fraction_bits_for(vectors, units, model.clipping_norm)
    found = whitened_from(vectors, moments, sigma=sigma, units=units, fraction_bits=fraction_bits)
    made = time.perf_counter()
    sums = WhitenedModel(model, vectors, found).prepare(data)
    prepared = time.perf_counter()
    peak = peak_megabytes()
    bits = first_moment_vectors(vectors).gamma_bits
    first = np.ldexp(first_moment_sum(vectors, data).astype(np.float64), -bits)
    centred_from(vectors, first, units=units)
    centred = time.perf_counter()
    noise, plain, at = ExactNoise(), model.prepare(data), random.normal(0.0, 0.3, vectors.entries)
    scale = 2.0**vectors.bits * sigma
    timed = medians(
        {
            "private_seconds": lambda: sums.gradient_sum(at) + noise.sample(len(at), scale),
            "plain_seconds": lambda: plain.plain_gradient(at),
        }
    )
    return {
        "units": units,
        "features": features,
        "entries": vectors.entries,
        "moments_seconds": summed - started,
        "matrix_seconds": made - summed,
        "norms_seconds": prepared - made,
        "centre_seconds": centred - prepared,
        "peak_megabytes": peak,
        **timed,
    }


class NullCustodian:
    """Answers every release with bytes of the right size, made before: only messages are left."""

    def __init__(self, entries: int) -> None:
        """Make the answer."""
        self._committed = CommitmentReply(bytes(600), bytes(8 * entries))

    def release(
        self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> CommitmentReply:
        """Answer with the bytes that are at hand."""
        del request, parameters, last
        return self._committed


def message_milliseconds(study: Study, rounds: int = ROUNDS) -> float:
    """Return what one round of six costs besides the custodians: Grid, messages, both apps."""
    entries = plan_for(study).training.vectors.entries
    custodian = NullCustodian(entries)
    nodes = {f"bank-{index}": FIRST_NODE + index for index in range(BANKS)}
    channel = GridChannel(
        InProcessGrid(client_app(lambda _: partial(answer, cast("Custodian", custodian))), nodes)
    )
    request = bytes(2000)  # about what a signed request of six participants measures
    last = custodian.release(b"", b"")
    content: Content = {
        "request": request,
        "parameters": parameters_to_bytes(np.zeros(entries)),
        "last_request": request,
        "last_replies": [last.commitment] * BANKS,
        "last_vectors": [last.vector] * BANKS,
    }
    seconds = medians(
        {"round": lambda: channel.ask(Call.RELEASE, dict.fromkeys(nodes.values(), content), 60.0)},
        rounds,
    )
    return 1000 * seconds["round"]


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of an institution's step."""
    whole, quarter = found["steps"][-1], found["steps"][0]
    ratio = whole["private_seconds"] / whole["plain_seconds"]
    growth = whole["private_seconds"] / quarter["private_seconds"]
    more = whole["units"] / quarter["units"]
    peak, milliseconds = found["peak_megabytes"], found["message_milliseconds"]
    one_process = "messages of a round of 6, in one process"
    return [
        at_most(one_process, milliseconds, MESSAGE_MILLISECONDS, "ms"),
        at_most(
            "private step / the same without clipping and noise",
            ratio,
            PRIVATE_RATIO,
            "x",
            digits=2,
        ),
        at_most(
            "dense torch: private step / the plain step in float32",
            whole["private_seconds"] / found["dense_torch_seconds"],
            PRIVATE_RATIO,
            "x",
            digits=2,
        ),
        at_most("memory, loading included", peak, PEAK_MEGABYTES, "MB", digits=0),
        at_most(
            f"{more:.0f} x the units, private step", growth, more * LINEAR_SLACK, "x", digits=2
        ),
    ]


def geometry_promises(found: dict[str, float]) -> list[BenchRow]:
    """Return what is promised of other coordinates."""
    once = found["moments_seconds"] + found["norms_seconds"]
    ratio = found["private_seconds"] / found["plain_seconds"]
    peak, size = found["peak_megabytes"], f"{found['units']:,} x {found['features']}"
    return [
        at_most(f"moments and norms, {size}, once a run", once, GEOMETRY_SECONDS, "s"),
        at_most("memory, moments and norms", peak, GEOMETRY_MEGABYTES, "MB", digits=0),
        at_most("whitened private step / plain step", ratio, PRIVATE_RATIO, "x", digits=2),
    ]


def words(found: dict[str, Any]) -> list[str]:
    """Return the medians in seconds, for people."""
    lines = [
        f"One institution, {found['features']} features, medians in seconds",
        "      units  private step  without clipping and noise  dense torch",
    ]
    for row in found["steps"]:
        dense = found["dense_torch_seconds"] * row["units"] / found["units"]
        lines.append(
            f"{row['units']:11,}  {row['private_seconds']:12.3f}"
            f"  {row['plain_seconds']:26.3f}  {dense:11.3f}"
        )
    loading = f"{found['units']:,} units from Parquet takes {found['loading_seconds']:.1f} s"
    lines.append(f"Loading {loading}.")
    lines.append(
        "Dense torch: float32, the whole basis in memory, scaled from a part of the units."
    )
    return lines


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()
