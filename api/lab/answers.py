"""Answers to questions, as somebody in Python looks at them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fieldfare.lab.figure_table import FigureTable, table_of
from fieldfare.lab.studies import LabStudy
from fieldfare.simulations.federation.in_memory import SimulationOutcome
from fieldfare.simulations.report.answers import answers_html

_COLUMNS: Final = ("question", "kind", "cell", "measure", "value", "low", "high", "true")


class Answers(FigureTable):
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
        return table_of(self._rows(), _COLUMNS, texts=4)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
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
                names = (answer["name"], answer["kind"], ", ".join(cell), measure)
                yield *names, listed["value"][place], low, high, listed["true"][place]

    def __repr__(self) -> str:
        """Return the questions in one line each."""
        lines = [
            f"{one['name']}: {one['kind']}, {one['institutions']} institutions" for one in self._all
        ]
        return "\n".join(["<Answers; .to_arrow() and .to_pandas() have every number>", *lines])

    def _repr_html_(self) -> str:
        return str(answers_html(self.results))
