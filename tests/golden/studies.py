"""The golden set: eight studies whose models and answers stay the same, bit for bit.

Each runs as people run it, by `fieldfare simulate` in a process of its own with one numeric
thread, a fixed seed and simulated noise, over published data (`../shared/data`) or an invented
world.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rfc8785
from safetensors.numpy import load
from tests.support.records.published_texts import write_comments, write_messages

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.world.studies import pack_for, write_units

ROOT: Final = Path(__file__).parents[2]
STUDIES: Final = ROOT / "studies"
SEED: Final = 13
PEOPLE: Final = 8_000  # of the invented world: enough for all of its five banks
HOSPITALS: Final = ("cleveland", "hungarian", "switzerland", "va")
THREADS: Final = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
MODEL: Final = "model.safetensors"
ANSWERS: Final = "answers.json"
KEPT: Final = 8  # parameters of a model that stand in golden.toml


@dataclass(frozen=True)
class Golden:
    """One study of the set.

    Attributes:
        name: of its file in studies/, without the ending.
        data: the folder of the data that it needs; none if its world is invented.
        records: makes its records in a folder, and says how they are named to `simulate`.
    """

    name: str
    data: str | None
    records: Callable[[Path], list[str]]


@dataclass(frozen=True)
class Outcome:
    """What a study came to: a model's file, or answers in canonical form."""

    study: str
    file: str
    content: bytes

    @property
    def parameters(self) -> Any:
        """A model's parameters, float64; none of answers."""
        if self.file == ANSWERS:
            return np.empty(0)
        (tensor,) = load(self.content).values()
        return tensor


def data_folder() -> Path:
    """Where published data is."""
    return Path(os.environ.get("FIELDFARE_DATA") or ROOT / ".." / "shared" / "data")


def fieldfare(*command: str | Path) -> None:
    """Run a command of the product."""
    whole = [sys.executable, "-m", "fieldfare", *map(str, command)]
    subprocess.run(whole, check=True, env=os.environ | THREADS, stdout=subprocess.DEVNULL, cwd=ROOT)


def run(golden: Golden, folder: Path) -> Outcome:
    """Run a study; its records and results go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    records, out = golden.records(folder), folder / golden.name
    simulated = ("--noise", "simulated", "--seed", str(SEED), "--baselines", "", "--no-report")
    study = STUDIES / f"{golden.name}.toml"
    fieldfare("simulate", study, *records, "--out", out, *simulated, "--quiet")
    results = json.loads((out / "results.json").read_text("utf-8"))
    identity = results["study"]["id"]
    if "answers" in results:
        return Outcome(identity, ANSWERS, rfc8785.dumps(results["answers"]))
    return Outcome(identity, MODEL, (out / MODEL).read_bytes())


def _hospitals(folder: Path) -> list[str]:
    del folder  # as they were published
    files = {name: data_folder() / "heart" / f"processed.{name}.data" for name in HOSPITALS}
    return [word for name, file in files.items() for word in ("--records", f"{name}={file}")]


def _accounts(folder: Path) -> list[str]:
    accounts = folder / "accounts.parquet"
    if not accounts.is_file():
        fieldfare("records", "derive", "amlsim", data_folder() / "amlsim", "--out", accounts)
    return ["--records", str(accounts), "--institution-column", "institution"]


def _messages(folder: Path) -> list[str]:
    path = folder / "sms.parquet"
    write_messages(data_folder(), path)
    return ["--records", str(path), "--institutions", "5"]


def _comments(folder: Path) -> list[str]:
    path = folder / "youtube.parquet"
    write_comments(data_folder(), path)
    return ["--records", str(path), "--institution-column", "video"]


def _customers(folder: Path) -> list[str]:
    world, units = folder / "world", folder / "units.parquet"
    size = ("--people", str(PEOPLE), "--months", "3", "--prevalence", "0.022", "--version", "1")
    fieldfare("world", "make", *size, "--seed", str(SEED), "--out", world, "--quiet")
    study = load_study(STUDIES / "five-banks.toml")
    write_units(world, pack_for([one.name for one in study.features], own_pack()), units)
    return ["--records", str(units), "--institution-column", "institution"]


QUICK: Final = (
    Golden("heart", "heart", _hospitals),
    Golden("heart-local", "heart", _hospitals),
    Golden("sms", "sms", _messages),
    Golden("youtube", "youtube", _comments),
    Golden("amlsim", "amlsim", _accounts),
    Golden("amlsim-queries", "amlsim", _accounts),
)
SLOW: Final = (
    Golden("five-banks", None, _customers),
    Golden("amlsim-mlp", "amlsim", _accounts),
)
EVERY: Final = (*QUICK, *SLOW)
