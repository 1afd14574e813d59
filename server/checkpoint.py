"""Checkpoints: where a run stands after each step, written so that a crash cannot tear them."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fieldfare.shared.adam import TrainingState
from fieldfare.shared.errors import RunError

FORMAT: Final = "1"
TENSORS: Final = ("parameters", "first", "second", "tail", "powers", "counts")


@dataclass(frozen=True)
class Checkpoints:
    """One file for one run of one study."""

    path: Path
    study: str
    run: str

    def save(self, state: TrainingState) -> None:
        """Write the state: temporary file, sync, rename (POSIX rename is atomic).

        Raises:
            RunError: the disk is full or not writable; the older checkpoint stands.
        """
        tensors = {
            "parameters": state.parameters,
            "first": state.first,
            "second": state.second,
            "tail": state.tail,
            "powers": np.array([state.beta1_power, state.beta2_power]),
            "counts": np.array([state.step, state.tail_count], dtype=np.int64),
        }
        content = save(tensors, {"format": FORMAT, "study": self.study, "run": self.run})
        temporary = self.path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            with suppress(OSError):  # half a file would only fill the disk further
                temporary.unlink(missing_ok=True)
            raise RunError(
                f"{self.path}: a checkpoint could not be written: {error.strerror}; the one "
                "before it stands: make room and resume this run"
            ) from None

    def load(self) -> TrainingState | None:
        """Return the last state, or None before the first.

        Raises:
            RunError: a file that is no checkpoint of this study and run.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                self._check(file.metadata() or {})
                return _state({name: file.get_tensor(name) for name in TENSORS})
        except (SafetensorError, OSError, ValueError):
            raise RunError(
                f"{self.path}: a readable checkpoint expected: remove it to start over"
            ) from None

    def _check(self, metadata: Mapping[str, str]) -> None:
        expected = {"format": FORMAT, "study": self.study, "run": self.run}
        if dict(metadata) != expected:
            raise RunError(
                f"{self.path}: a checkpoint of this study and run expected, another one found: "
                "name another run or another directory"
            )


def _state(tensors: Mapping[str, np.ndarray]) -> TrainingState:
    step, tail_count = (int(count) for count in tensors["counts"])
    beta1_power, beta2_power = (float(power) for power in tensors["powers"])
    return TrainingState(
        step,
        tensors["parameters"],
        tensors["first"],
        tensors["second"],
        beta1_power,
        beta2_power,
        tensors["tail"],
        tail_count,
    )
