"""Records and studies to measure speed with: seeded, of any size, in bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.study.study import Study

ROW_GROUP: Final = 100_000
SLOPES: Final = 6  # features that the label follows
UPPER: Final = 1000.0
ASKED_FEATURES: Final = 4
QUESTIONS: Final = (
    {"kind": "count"},
    {"kind": "count", "where": '[{ column = "label", levels = ["1"] }]'},
    {"kind": "sum", "column": '"x00"'},
    {"kind": "mean", "column": '"x01"'},
    {"kind": "variance", "column": '"x02"'},
    {"kind": "ratio", "numerator": '"x00"', "denominator": '"x01"'},
    {"kind": "histogram", "column": '"x02"', "bins": "64"},
    {"kind": "quantiles", "column": '"x03"', "at": "[0.1, 0.5, 0.9]"},
    {"kind": "ecdf", "column": '"x01"'},
    {"kind": "group_by", "by": '["label", "x00"]', "column": '"x01"'},
    {"kind": "contingency", "marginals": '[["label", "x02"], ["label", "x03"]]'},
    {"kind": "correlation", "columns": '["x00", "x01", "x02", "x03"]'},
)

Draw = Callable[[np.random.Generator, float, int], NDArray[np.float64]]


@dataclass(frozen=True)
class BenchCustomers:
    """Made-up customers: ids of 14 characters in no order, labels, values with gaps.

    Attributes:
        features: what is known of each.
        draw: makes values of a feature, from its upper bound and their number.
        positive, absent: shares of labels, and of values.
        at_once: rows made and written together.
    """

    features: Sequence[NumericFeature]
    draw: Draw
    positive: float
    absent: float
    seed: int
    at_once: int

    def study(self, units: int) -> Study:
        """Return the study that such customers fit."""
        records = {"unit": "unit", "label": "label", "units": units, "prevalence": self.positive}
        return Study.model_validate(
            {
                "name": "bench",
                "purpose": "measure",
                "records": records,
                "features": [feature.model_dump(mode="json") for feature in self.features],
                "privacy": {"epsilon": 1, "delta": 1e-8},
            }
        )

    def write(self, path: Path, units: int) -> None:
        """Write so many of them as one Parquet file."""
        generator = np.random.default_rng(self.seed)
        ids = generator.permutation(units)
        parts = [ids[start : start + self.at_once] for start in range(0, units, self.at_once)]
        first = self._table(parts[0], generator)
        with pq.ParquetWriter(path, first.schema) as writer:
            writer.write_table(first)
            for part in parts[1:]:
                writer.write_table(self._table(part, generator))

    def _table(self, ids: NDArray[np.int64], generator: np.random.Generator) -> pa.Table:
        digits = pc.utf8_lpad(pa.array(ids).cast(pa.string()), width=10, padding="0")
        columns: dict[str, Any] = {
            "unit": pc.binary_join_element_wise("CUST", digits, ""),
            "label": pa.array((generator.random(len(ids)) < self.positive).astype(np.int8)),
        }
        for feature in self.features:
            values = self.draw(generator, feature.upper, len(ids))
            missing = generator.random(len(ids)) < self.absent
            columns[feature.name] = pa.array(values, mask=missing)
        return pa.table(columns)


def write_records(path: Path, *, units: int, features: int, banks: int, seed: int = 0) -> None:
    """Write a Parquet file: `unit`, `bank`, `label`, and `x00`, `x01`, ... (float64).

    Features are log-normal with zeros, as amounts and counts are; a part of them bears on the
    label. Written in groups of rows, so that a million units need no more memory than one group.
    """
    generator = np.random.default_rng(seed)
    with pq.ParquetWriter(path, _schema(features), compression="snappy") as writer:
        for start in range(0, units, ROW_GROUP):
            writer.write_table(
                _group(generator, start, min(ROW_GROUP, units - start), features, banks)
            )


def _schema(features: int) -> pa.Schema:
    texts = [("unit", pa.string()), ("bank", pa.string()), ("label", pa.int64())]
    return pa.schema([*texts, *((f"x{index:02d}", pa.float64()) for index in range(features))])


def _group(
    generator: np.random.Generator, start: int, rows: int, features: int, banks: int
) -> pa.Table:
    logs = generator.normal(size=(features, rows))
    values = np.where(generator.uniform(size=logs.shape) < 0.1, 0.0, np.exp(logs) * 50)
    score = logs[:SLOPES].sum(axis=0) - 4.0
    columns = {
        "unit": [f"u{row}" for row in range(start, start + rows)],
        "bank": [f"bank-{row % banks}" for row in range(start, start + rows)],
        "label": (generator.uniform(size=rows) < 1 / (1 + np.exp(-score))).astype(np.int64),
        **{f"x{index:02d}": column for index, column in enumerate(values)},
    }
    return pa.table(columns, schema=_schema(features))


def study_toml(*, units: int, features: int, steps: int, tolerance: int = 1) -> str:
    """Return a study of such records: 8 knots and a slot for zero in every feature, epsilon 1."""
    company = f"""\
collusion_tolerance = {tolerance}

[aggregation]
minimum_institutions = {tolerance + 2}
"""
    head = f"""\
name = "bench"
purpose = "measure speed"

[records]
unit = "unit"
label = "label"
units = {units}
prevalence = 0.07

[training]
steps = {steps}

[privacy]
epsilon = 1.0
delta = 1e-6
{company}"""
    scales = ("linear", "log1p")
    tables = [
        f"""
[[features]]
kind = "numeric"
name = "x{index:02d}"
lower = 0
upper = {UPPER}
scale = "{scales[index % 2]}"
special = [0]
"""
        for index in range(features)
    ]
    return head + "".join(tables)


def questions_toml(*, units: int) -> str:
    """Return a study that asks twelve questions of such records, and trains nothing."""
    asked = [
        f'\n[[queries]]\nname = "question {number}"\nkind = "{keys["kind"]}"\n'
        + "".join(f"{key} = {value}\n" for key, value in keys.items() if key != "kind")
        for number, keys in enumerate(QUESTIONS)
    ]
    return study_toml(units=units, features=ASKED_FEATURES, steps=0) + "".join(asked)
