"""golden.toml: what the golden set came to, on which machine, and whether it still does."""

import hashlib
import os
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomlkit
from tests.golden.studies import KEPT, SEED, THREADS, Golden, Outcome

FILE: Final = Path(__file__).with_name("golden.toml")
CLOSE: Final = 1e-5  # between machines whose libraries round differently
# Their bytes depend on the machine: torch chooses its kernels by the processor.
OF_A_MACHINE: Final = ("amlsim-mlp",)
# Variables by which somebody chooses kernels for those libraries.
CHOOSERS: Final = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
HEAD: Final = """\
What the golden set came to: python -m tests.golden.record --write.
`sha256` is of model.safetensors, or of the answers as canonical JSON, and has to be the same
anywhere. `sha256_on_machine` has to be the same only where [machine] is; elsewhere the norm and
some parameters have to be within 1e-5 of these.
"""


def machine() -> dict[str, Any]:
    """What decides how a network's sums are rounded."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {name.strip(): text.strip() for name, text in facts.items()}
    instructions = " ".join(sorted(facts.get("flags", "").split()))
    return {
        "cpu": facts.get("model name", "unknown"),
        "instructions": hashlib.sha256(instructions.encode()).hexdigest()[:16],
        "torch": version("torch"),
        "numpy": version("numpy"),
        "blas": str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["version"]),
        "kernels": [f"{name}={os.environ[name]}" for name in CHOOSERS if name in os.environ],
        "threads": int(THREADS["OMP_NUM_THREADS"]),
    }


def entry(golden: Golden, outcome: Outcome) -> dict[str, Any]:
    """What is kept of a study's outcome."""
    digest = "sha256_on_machine" if golden.name in OF_A_MACHINE else "sha256"
    found = {
        "study": outcome.study,
        "file": outcome.file,
        digest: hashlib.sha256(outcome.content).hexdigest(),
    }
    parameters = outcome.parameters
    if not parameters.size:
        return found
    places = np.linspace(0, parameters.size - 1, KEPT).astype(int)
    return found | {
        "parameters": int(parameters.size),
        "norm": float(np.linalg.norm(parameters)),
        "some": parameters[places].tolist(),
    }


def differences(found: dict[str, Any], kept: dict[str, Any], *, here: bool) -> list[str]:
    """What is not as it was.

    Args:
        found: an entry as it is now.
        kept: the entry in golden.toml.
        here: whether this is the machine of golden.toml.
    """
    numbers = {"norm", "some"}
    exact = {*kept, *found} - numbers - (set() if here else {"sha256_on_machine"})
    said = [
        f"{name}: expected {kept.get(name)}, found {found.get(name)}"
        for name in sorted(exact)
        if kept.get(name) != found.get(name)
    ]
    for name in sorted(numbers & {*kept, *found}):
        ours, theirs = (np.atleast_1d(one.get(name, np.nan)) for one in (found, kept))
        if ours.shape != theirs.shape or not (np.abs(ours - theirs) <= CLOSE).all():
            said.append(f"{name}: expected {theirs}, found {ours}: beyond {CLOSE:g}")
    return said


def read() -> dict[str, Any]:
    """Return golden.toml's content."""
    return tomllib.loads(FILE.read_text("utf-8"))


def text_of(entries: dict[str, dict[str, Any]]) -> str:
    """Return the text of golden.toml."""
    document = tomlkit.document()
    for line in HEAD.splitlines():
        document.add(tomlkit.comment(line))
    document["seed"] = SEED
    document["machine"] = machine()
    document["studies"] = entries
    return tomlkit.dumps(document)
