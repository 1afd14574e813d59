"""A part's units as an Arrow file that has no name: mapped, read by no other user, gone at close.

The file is one record batch of one row: each array is one value, a list of numbers, that lies in
the file as it lies in memory. Processes that sum are handed its descriptor; nobody can open it by
a path, and where all that hold it are gone, killed too, so are the bytes.
"""

import json
import mmap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits, AskedValues, ListColumn
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits, UnitTables
from fieldfare.shared.features.rows import DenseRows, SparseRows, UnitRows
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import unnamed_file

Arrays = dict[str, NDArray[Any]]
_FACTS: Final = b"fieldfare.part"


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class PartUnits:
    """The units of one part.

    Attributes:
        training, held: of the two sides.
        groups: by column, the codes of the held-out units.
        asked: units of both sides as questions see them; None where the study asks none.
    """

    training: EncodedUnits
    held: EncodedUnits
    groups: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    asked: AskedUnits | None = None

    def sums(self, study: Study, split: str) -> StudySums:
        """Return them prepared for every release of a study."""
        given = (self.training, self.held, self.asked, self.groups)
        return StudySums.of_sides(study, *given, split=split)


def spill(part: PartUnits, folder: Path) -> BinaryIO:
    """Write a part to an unnamed file on the disk of a folder.

    Raises:
        UsageError: the disk has no room.
    """
    arrays, facts = _arrays_of(part)
    shapes = {name: array.shape for name, array in arrays.items()}
    said = {_FACTS: json.dumps({"shapes": shapes, **facts}).encode()}
    columns = [_as_one_value(array) for array in arrays.values()]
    schema = pa.schema(
        [(name, one.type) for name, one in zip(arrays, columns, strict=True)], metadata=said
    )
    file = unnamed_file(folder, sum(array.nbytes for array in arrays.values()))
    try:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        file.flush()
    except OSError as error:  # a part's names and shapes have no room of their own
        with suppress(OSError):  # what is left in its buffer
            file.close()
        raise UsageError(
            f"{folder}: expected room for records on its disk, found: {error.strerror or error}"
        ) from None
    return file


def mapped(descriptor: int) -> PartUnits:
    """Return a part as its file lies: arrays are the mapped bytes, and cannot be written to."""
    buffer = pa.py_buffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
    with pa.ipc.open_file(pa.BufferReader(buffer)) as reader:
        batch, facts = reader.get_batch(0), json.loads(reader.schema.metadata[_FACTS])
    arrays = {
        name: column.values.to_numpy(zero_copy_only=True).reshape(facts["shapes"][name])
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return _part_of(arrays, facts)


def _as_one_value(array: NDArray[Any]) -> Any:
    flat = pa.array(np.ascontiguousarray(array).reshape(-1))
    return pa.LargeListArray.from_arrays(pa.array([0, len(flat)], pa.int64()), flat)


# -- arrays ---------------------------------------------------------------------------------------


def _arrays_of(part: PartUnits) -> tuple[Arrays, Mapping[str, Any]]:
    """Return a part's arrays by names, and the facts that are none."""
    arrays = _of_units("training", part.training) | _of_units("held", part.held)
    arrays |= {f"groups.{name}": codes for name, codes in part.groups.items()}
    facts: dict[str, Any] = {"columns": _columns(part.training), "institution": None}
    if part.asked is not None:
        facts["institution"] = part.asked.institution
        arrays |= {"asked.labels": part.asked.labels, "asked.order": part.asked.order}
        values = part.asked.values
        for kind, named in (("n", values.numbers), ("c", values.codes), ("t", values.texts)):
            arrays |= {f"asked.{kind}.{name}": one for name, one in named.items()}
        for name, listed in values.lists.items():
            arrays |= {f"asked.o.{name}": listed.owners, f"asked.l.{name}": listed.codes}
    return arrays, facts


def _part_of(arrays: Arrays, facts: Mapping[str, Any]) -> PartUnits:
    training = _units_in(arrays, "training", facts["columns"])
    held = _units_in(arrays, "held", facts["columns"])
    asked = None
    if facts["institution"] is not None:
        owners, codes = _below(arrays, "asked.o."), _below(arrays, "asked.l.")
        values = AskedValues(
            _below(arrays, "asked.n."),
            _below(arrays, "asked.c."),
            {name: ListColumn(owners[name], codes[name]) for name in owners},
            _below(arrays, "asked.t."),
        )
        given = (arrays["asked.labels"], values, arrays["asked.order"])
        asked = AskedUnits(facts["institution"], *given)
    return PartUnits(training, held, _below(arrays, "groups."), asked)


def _of_units(side: str, units: EncodedUnits) -> Arrays:
    arrays: Arrays = {"positions": units.positions, "labels": units.labels}
    if units.order is not None:
        arrays["order"] = units.order
    if units.tables is not None:
        arrays |= {"tables": units.tables.starts, "cells": units.tables.positions}
    if isinstance(units.rows, SparseRows):
        arrays |= {"starts": units.rows.starts, "places": units.rows.places}
    if isinstance(units.rows, SparseRows | DenseRows):
        arrays["values"] = units.rows.values
    return {f"{side}.{name}": array for name, array in arrays.items()}


def _units_in(arrays: Arrays, side: str, columns: int) -> EncodedUnits:
    own = _below(arrays, f"{side}.")
    tables = UnitTables(own["tables"], own["cells"]) if "tables" in own else None
    rows = _rows_in(own, columns)
    return EncodedUnits(own["positions"], own["labels"], rows, own.get("order"), tables)


def _rows_in(own: Arrays, columns: int) -> UnitRows | None:
    if "starts" in own:
        return SparseRows(own["starts"], own["places"], own["values"], columns)
    return DenseRows(own["values"]) if "values" in own else None


def _columns(units: EncodedUnits) -> int:
    return 0 if units.rows is None else units.rows.columns


def _below(arrays: Arrays, start: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(start): one for name, one in arrays.items() if name.startswith(start)}
