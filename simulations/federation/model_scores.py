"""Scores of a file of records under a finished model, on a researcher's own machine.

An institution scores inside its home (`fieldfare institution score`), with reasons and alerts for
people to decide on; this is the bare model, for measuring.
"""

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.records.encoding.encoding import UNLABELLED
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import contributions_of
from fieldfare.client.scoring.units import ScorableUnits, read_unnamed
from fieldfare.shared.errors import UsageError
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.models import model_for
from fieldfare.shared.party.csv_cells import cell_of
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.whole_files import new_file
from fieldfare.simulations.metrics import Metrics, chances, measure

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
        records: a file or folder in a form that `simulate` reads; labels may be absent.

    Returns:
        Columns `rank` (int64, from 1), `unit` (text; a row's number where the study names
        none), `score` (float64, log-odds), `probability` (float64, as the model says it, not
        calibrated), `label` (int8, null where there is none).

    Raises:
        RecordsError: the records do not fit the study.
    """
    found = read_unnamed([table_at(records)], study)
    scores = model_for(study).scores(parameters, found.encoded())
    order, labels = np.argsort(-scores, kind="stable"), found.labels
    return pa.table(
        {
            "rank": np.arange(1, len(scores) + 1, dtype=np.int64),
            "unit": found.units.take(pa.array(order)),
            "score": scores[order],
            "probability": chances(scores[order]),
            "label": pa.array(labels[order], pa.int8(), mask=labels[order] == UNLABELLED),
        }
    )


def explain_scores(study: Study, model: SumModel, units: ScorableUnits) -> pa.Table:
    """Take every unit's score apart; the strongest part of a unit first.

    Args:
        study: whose features there are, or whose text or vector.
        model: of that study.
        units: whose mean parts are measured from.

    Returns:
        Columns `row` (int64, from 0, in the order of the units), `feature` (text), `value`
        (float32, null where missing or no number), `contribution` (float64, log-odds: above 0 it
        raises the score). A unit's score is the sum of its own and of a number that all share.

    Raises:
        RunError: a network that cannot be explained.
    """
    parts = contributions_of(study, model.parameters, units, model.forest)
    names = [one.name for one in study.features] or [study.rows.column if study.rows else ""]
    order = np.argsort(-np.abs(parts), axis=1, kind="stable")
    values = np.take_along_axis(units.values.T, order, axis=1).ravel()
    return pa.table(
        {
            "row": np.repeat(np.arange(len(units), dtype=np.int64), len(names)),
            "feature": pa.array(np.array(names, np.object_)[order.ravel()], pa.string()),
            "value": pa.array(values, pa.float32(), from_pandas=True),
            "contribution": np.take_along_axis(parts, order, axis=1).ravel(),
        }
    )


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
