"""Scores of a file of records under a finished model, on a researcher's own machine.

An institution scores inside its home (`fieldfare institution score`), with reasons and alerts for
people to decide on; this is the bare model, for measuring.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from fieldfare.client.records import read_records
from fieldfare.client.records.encoding.encoding import UNLABELLED
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.units import read_units
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.models import model_for
from fieldfare.shared.party.csv_cells import cell_of
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.whole_files import new_file
from fieldfare.simulations.metrics import Metrics, measure, probabilities

KINDS: Final = (".parquet", ".csv")


def read_model(path: Path, study: Study) -> NDArray[np.float64]:
    """Return float64 (entries,): the parameters in a `model.safetensors` of a study.

    The run is read off the file: a simulation's, or a deployed one's.

    Raises:
        UsageError: no such file, or no safetensors file.
        ProtocolError: another study's model, or a damaged one.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, "numpy") as opened:
            facts = opened.metadata() or {}
    except OSError as error:
        raise UsageError(f"{path}: expected a model file, found: {error.strerror}") from None
    except SafetensorError:
        raise UsageError(f"{path}: expected model.safetensors, found another file") from None
    return model_from_bytes(content, study, facts.get("run", ""))


def scored_table(study: Study, parameters: NDArray[np.float64], records: Path) -> pa.Table:
    """Score every unit of a file; highest first, ties in the order of the file.

    Args:
        study: the model's.
        parameters: float64 (entries,), of `read_model`.
        records: a file or folder in a form that `simulate` reads; labels may be absent where the
            study names a unit.

    Returns:
        Columns `rank` (int64, from 1), `unit` (text), `score` (float64, log-odds), `probability`
        (float64, as the model says it, not calibrated), `label` (int8, null where there is none).

    Raises:
        RecordsError: the records do not fit the study.
    """
    units, data, labels = _read(study, records)
    chances = probabilities(model_for(study), parameters, data)
    scores = model_for(study).scores(parameters, data)
    order = np.argsort(-scores, kind="stable")
    return pa.table(
        {
            "rank": np.arange(1, len(scores) + 1, dtype=np.int64),
            "unit": units.take(pa.array(order)),
            "score": scores[order],
            "probability": chances[order],
            "label": pa.array(labels[order], pa.int8(), mask=labels[order] == UNLABELLED),
        }
    )


def _read(study: Study, records: Path) -> tuple[Any, EncodedUnits, NDArray[np.int8]]:
    if study.records.unit is None:
        found = read_records([records], study, whole=True)
        return pa.array(found.units), found.data, found.data.labels.astype(np.int8)
    scorable = read_units([table_at(records)], study)
    return scorable.units, scorable.encoded(), scorable.labels


def measured(study: Study, table: pa.Table) -> Metrics | None:
    """Measure a scored table against its labels; None where a unit has none."""
    if table["label"].null_count or not len(table):
        return None
    labels = table["label"].to_numpy().astype(np.uint8)
    return measure(labels, table["probability"].to_numpy(), study.evaluation.alert_budget)


def write_scores(table: pa.Table, out: Path) -> None:
    """Write a scored table as Parquet or CSV, by the file's name: new, whole, and 0600.

    Raises:
        UsageError: another ending, a file that is there, or one that cannot be written.
    """
    if out.suffix not in KINDS:
        raise UsageError(f"--out: expected a file that ends in {' or '.join(KINDS)}, found {out}")
    try:
        with new_file(out) as file:
            if out.suffix == ".csv":
                cells = pa.array(map(cell_of, table["unit"].to_pylist()), pa.string())
                pc.write_csv(table.set_column(1, "unit", cells), file)
            else:
                pq.write_table(table, file)
    except OSError as error:
        raise UsageError(
            f"--out {out}: expected a file to write, found: {error.strerror or error}"
        ) from None
