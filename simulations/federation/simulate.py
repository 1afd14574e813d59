"""`fieldfare simulate`: a simulation and its files: results, the model, the report.

The model as files: parameters, and the meaning of each.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.scoring.evidence import titles
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Basis
from fieldfare.shared.finished_model.file import MODEL_FORMAT, model_to_bytes
from fieldfare.shared.models import slot_values
from fieldfare.shared.pages.charts import Shape, shapes_of
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study
from fieldfare.simulations.beside import ALONE, SideProcess
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation.in_memory import (
    Experiment,
    Progress,
    SimulationOutcome,
    simulated,
)

SIMULATED_RUN: Final = "simulation"  # the run that a simulated model names


def write_model(folder: Path, study: Study, parameters: NDArray[np.float64]) -> None:
    """Write `model.safetensors` and `model.json` (documented in docs/results.md)."""
    (folder / "model.safetensors").write_bytes(model_to_bytes(study, SIMULATED_RUN, parameters))
    basis = Basis(study.features)
    values = slot_values(study, parameters)
    features: list[dict[str, Any]] = [
        {
            **feature.model_dump(mode="json"),
            "contributions": dict(zip(feature.slot_names, values[part].tolist(), strict=True)),
        }
        for feature, part in zip(basis.shown_features(parameters), basis.slices(), strict=True)
    ]
    model: dict[str, Any] = {
        "format": MODEL_FORMAT,
        "study": study.id,
        "name": study.name,
        "kind": study.model.kind,
        "bias": float(parameters[0]),
        "features": features,
    }
    if isinstance(study.model, MlpSection):
        model["network"] = {
            **study.model.model_dump(mode="json"),
            "parameters": parameters.tolist(),
        }
    if study.rows is not None:
        model["rows"] = {**study.rows.model_dump(mode="json"), "weights": parameters[1:].tolist()}
    write_json(folder / "model.json", model)


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs: indented, finite numbers only; whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


# -- simulate -------------------------------------------------------------------------------------

RESULTS: Final = "results.json"
REPORT: Final = "report.html"


@dataclass(frozen=True, kw_only=True)
class Simulation(Experiment):
    """The inputs of a simulation whose files are wanted.

    Attributes:
        out: folder for results.
        report: whether report.html is written; it takes some seconds.
    """

    out: Path
    report: bool = True

    @property
    def ledgers(self) -> Path:
        """The folder for results."""
        return self.out


def simulate(
    task: Simulation, progress: Progress | None = None, both: SideProcess = ALONE
) -> dict[str, Any]:
    """Run a simulation and write its files; returns the content of `results.json`.

    Args:
        task: its inputs.
        progress: told what is done.
        both: where work may be done beside the federation.

    Raises:
        FieldfareError: by whose fault it is; see `fieldfare.shared.errors`.
    """
    with folder_for(task.out):
        return write_files(simulated(task, progress, both), task.out, report=task.report)


def make_folder(out: Path) -> None:
    """Make the folder for results, if it is not there.

    Raises:
        UsageError: something else is in its place, or it may not be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: expected a folder, found: {error.strerror}") from None


@contextmanager
def folder_for(out: Path) -> Iterator[None]:
    """Make the folder for results; what was made of it is gone again where nothing came into it.

    Raises:
        UsageError: as of `make_folder`.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]  # the deepest first
    try:
        make_folder(out)
        yield
    finally:
        with suppress(OSError):  # the first that holds something, or was not made
            for folder in made:
                folder.rmdir()


def write_files(found: SimulationOutcome, out: Path, *, report: bool = True) -> dict[str, Any]:
    """Write model, report and results; returns the content of `results.json`.

    Results come last, so that their presence means that all is there.

    Args:
        found: what a simulation came to.
        out: a folder that is there.
        report: whether report.html is written.

    Raises:
        OSError: a file cannot be written.
    """
    for earlier in (RESULTS, REPORT):
        (out / earlier).unlink(missing_ok=True)  # of an earlier run: no longer whole
    files = [RESULTS, *([REPORT] if report else [])]
    if found.models:
        write_model(out, found.task.study, found.parameters)
        files += ["model.json", "model.safetensors"]
    results = {**found.results, "files": {name: name for name in files}}
    if found.task.engine is not Engine.CUSTODIANS:
        results["engine"] = found.task.engine.value
    results["timing"] = found.clock.timing()
    if report:
        since = time.perf_counter()
        write_page(found, out / REPORT, results)
        if found.models:
            results["timing"]["report_seconds"] = round(time.perf_counter() - since, 4)
    if found.used is not None and found.task.home is not None:
        # Loads templates, which a run without a home does not need.
        from fieldfare.simulations.report.words import FIRST, sentences  # noqa: PLC0415

        results["home"] = found.used()
        found.task.home.say(" ".join(sentences(results, *FIRST)))
    results["timing"]["total_seconds"] = found.clock.so_far
    write_json(out / RESULTS, results)
    return results


def write_page(found: SimulationOutcome, path: Path, results: Mapping[str, Any]) -> None:
    """Write the report of a simulation, or of questions, as one HTML file.

    Args:
        found: what the simulation came to.
        path: of the file.
        results: as in results.json; `files` and `timing` may be missing.

    Raises:
        OSError: `path` cannot be written.
    """
    # Both load matplotlib, half a second of processor that a run without a page does not need.
    if not found.models:
        from fieldfare.simulations.report.answers import write_answers_report  # noqa: PLC0415

        write_answers_report(path, results)
        return
    from fieldfare.simulations.report.page import write_report  # noqa: PLC0415

    write_report(path, results=results, scores=found.scores(), shapes=shapes(found))


def shapes(found: SimulationOutcome) -> list[Shape]:
    """Return each feature's curve in the shared model, in log-odds."""
    study = found.task.study
    return shapes_of(study, found.parameters, titles([one.name for one in study.features]))
