"""One large institution and one message round, measured in a process of its own.

    python -m fieldfare.simulations.bench.steps RECORDS.parquet STUDY.toml

prints one JSON object. A process of its own, because peak memory is the process's.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fieldfare.client.node.client_app import client_app
from fieldfare.client.records import holdout_mask, read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.wire.frames import Released
from fieldfare.server.run.channel import Channel
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import AdditiveModel, model_for
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.protocol.flower_record import Call, Content
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study, load_study
from fieldfare.simulations.federation.federation import FIRST_NODE
from fieldfare.simulations.federation.grid import InProcessGrid

REPEATS: Final = 7
ROUNDS: Final = 200
BANKS: Final = 6
DENSE_UNITS: Final = 1 << 17  # of the dense basis in memory at a time: 170 MB at 40 features
KILOBYTE: Final = 1024
COLLUDERS: Final = 1
SIZES: Final = (0.25, 0.5, 1.0)  # shares of the units, to see whether a step is linear in them

Step = Callable[[], object]


def measure(records: Path, study_file: Path) -> dict[str, Any]:
    """Load an institution, time its steps, and time a message round.

    Returns:
        Seconds (medians), megabytes (peak resident set), milliseconds a round of six.
    """
    study = load_study(study_file)
    started = time.perf_counter()
    data, holdout = _load(records, study)
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
    """Return this process's peak resident set so far (Linux counts it in kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTE


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


class NullCustodian:
    """Answers every release with bytes of the right size, made before: only messages are left."""

    def __init__(self, entries: int) -> None:
        """Make the answer."""
        self._released = Released(bytes(600), bytes(8 * entries))

    def describe(self, study: str, last_reply: bytes = b"", offer: bytes = b"") -> bytes:
        """Answer with no approval."""
        del study, last_reply, offer
        return b""

    def open_run(self, opening: bytes, approvals: object) -> bytes:
        """Answer with no offer."""
        del opening, approvals
        return b""

    def agree(self, study: str, run: str, offers: object) -> bytes:
        """Agree on nothing."""
        del study, run, offers
        return b""

    def release(self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM) -> Released:
        """Answer with the bytes that are at hand."""
        del request, parameters, last
        return self._released

    def cosign(self, study: str, run: str, head: bytes, path: object) -> bytes:
        """Answer with no signature."""
        del study, run, head, path
        return b""

    def deliver(self, delivery: bytes, model: bytes, card: bytes) -> bytes:
        """Take nothing."""
        del delivery, model, card
        return b""


def message_milliseconds(study: Study, rounds: int = ROUNDS) -> float:
    """Return what one round of six costs besides the custodians: Grid, messages, both apps."""
    entries = plan_for(study).training.vectors.entries
    custodian = NullCustodian(entries)
    nodes = {f"bank-{index}": FIRST_NODE + index for index in range(BANKS)}
    channel = Channel(InProcessGrid(client_app(lambda _: custodian), nodes))
    request = bytes(2000)  # about what a signed request of six participants measures
    last = custodian.release(b"", b"")
    content: Content = {
        "request": request,
        "parameters": parameters_to_bytes(np.zeros(entries)),
        "last_request": request,
        "last_replies": [last.reply] * BANKS,
        "last_vectors": [last.vector] * BANKS,
    }
    seconds = medians(
        {"round": lambda: channel.ask(Call.RELEASE, dict.fromkeys(nodes.values(), content), 60.0)},
        rounds,
    )
    return 1000 * seconds["round"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]))))
