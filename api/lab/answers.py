"""Answers to questions, as somebody in Python looks at them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fieldfare.lab.plots import pandas_of
from fieldfare.lab.studies import LabStudy
from fieldfare.simulations.federation.in_memory import SimulationOutcome
from fieldfare.simulations.report.answers import answers_html

_KINDS = {
    "question": pa.string(), "kind": pa.string(), "cell": pa.string(), "measure": pa.string(),
    "value": pa.float64(), "low": pa.float64(), "high": pa.float64(), "true": pa.float64(),
}  # fmt: skip


class Answers:
    """The outcome of `fieldfare.ask`: every answer with its interval, beside the true one.

    Attributes:
        study: whose questions were asked.
        results: content of `results.json` (docs/results.md) without `files` and `timing`.
    """

    def __init__(self, study: LabStudy, found: SimulationOutcome) -> None:
        """Take what a run came to."""
        self.study, self.results = study, found.results

    def __getitem__(self, question: str) -> Mapping[str, Any]:
        """Return one answer as results.json has it, by the question's name."""
        return {one["name"]: one for one in self._all}[question]

    @property
    def _all(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.results["answers"]
        return found

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table` with a row for each number of each answer.

        Columns: `question`, `kind`, `cell` (labels along the answer's keys, joined by ", "),
        `measure`, `value` (float64; null where it was held back), `low`, `high` (95 % interval),
        `true` (the answer without privacy, which only a simulation can know).
        """
        rows = list(self._rows())
        columns = {name: pa.array([r[name] for r in rows], kind) for name, kind in _KINDS.items()}
        return pa.table(columns)

    def to_pandas(self) -> Any:
        """Return `to_arrow` as a `pandas.DataFrame`.

        Raises:
            UsageError: pandas is not installed.
        """
        return pandas_of(self.to_arrow())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for answer in self._all:
            single = not isinstance(answer["value"], list)
            listed = {
                key: [answer[key]] if single else answer[key]
                for key in ("value", "true", "interval")
            }
            cells = [[]] if single else answer["cells"]
            measures = [answer["kind"]] if single else answer["measures"]
            for place, (cell, measure) in enumerate(zip(cells, measures, strict=True)):
                low, high = listed["interval"][place] or (None, None)
                yield {
                    "question": answer["name"], "kind": answer["kind"], "cell": ", ".join(cell),
                    "measure": measure, "value": listed["value"][place], "low": low, "high": high,
                    "true": listed["true"][place],
                }  # fmt: skip

    def __repr__(self) -> str:
        """Return the questions in one line each."""
        lines = [
            f"{one['name']}: {one['kind']}, {one['institutions']} institutions" for one in self._all
        ]
        return "\n".join(["<Answers; .to_arrow() and .to_pandas() have every number>", *lines])

    def _repr_html_(self) -> str:
        return str(answers_html(self.results))
