"""What a simulation came to, as somebody in Python looks at it."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.scoring.units import ScorableUnits, read_unnamed
from fieldfare.lab.figure_table import FigureTable, table_of
from fieldfare.lab.frames import ALL, tables_of
from fieldfare.lab.plots import Plot, plot_of
from fieldfare.lab.studies import LabStudy
from fieldfare.lab.wording import python_words
from fieldfare.shared.errors import UsageError
from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.simulations.federation.in_memory import SimulationOutcome
from fieldfare.simulations.federation.model_scores import explain_scores
from fieldfare.simulations.federation.simulate import make_folder, write_files, write_page
from fieldfare.simulations.metrics import chances
from fieldfare.simulations.report import pictures
from fieldfare.simulations.report.curves import both_classes
from fieldfare.simulations.report.page import result_html
from fieldfare.simulations.report.screen import details
from fieldfare.simulations.report.tidy import TidyRow, tidy_rows

Metric = Literal[
    "auroc", "average_precision", "brier", "precision_at_budget", "recall_at_budget"
]  # what `plot_comparison` draws
_ONE_CLASS = "expected labelled and unlabelled units in the hold-out, found one kind alone"
_WIDTH = 100
_TITLES = {
    "auroc": ("AUROC", 0.5),
    "average_precision": ("Average precision", None),
    "brier": ("Brier score (lower is better)", None),
    "precision_at_budget": ("Precision at the alert budget", None),
    "recall_at_budget": ("Recall at the alert budget", None),
}


class Result(FigureTable):
    """The outcome of `fieldfare.simulate`: figures with intervals, pictures, the model.

    Figures but for `released` ones come from the held-out records themselves, which only a
    simulation can see. Printed, it is one screen; in a notebook, a table and a picture.

    Attributes:
        study: that was run.
        results: content of `results.json` (docs/results.md) without `files` and `timing`; the same
            records, study and seed give the same, to the last bit, with simulated noise.
        timing: seconds by part of the run.
        parameters: float64 (entries,), the shared model's; docs/results.md says what each means.
    """

    def __init__(self, study: LabStudy, found: SimulationOutcome) -> None:
        """Take what a simulation came to."""
        self.study, self._found = study, found
        self.results: Mapping[str, Any] = found.results
        self.timing: Mapping[str, Any] = found.clock.timing()
        self.parameters: NDArray[np.float64] = found.parameters

    def to_arrow(self) -> Any:
        """Return every figure as a `pyarrow.Table`, one row each.

        Columns: `model` (`federated`, `at_home`, or a baseline), `institution` ("" for all),
        `held_out` (`pooled`, `own`, or `released`: through the door, with noise), `metric`, and
        `value`, `low`, `high` (float64; null where it cannot be said): the 95 % interval over the
        choice of held-out units, and over noise too where `held_out` is `released`.
        Source: DeLong 1988 (AUROC; near 0 and 1 at least Newcombe 2006), Boyd 2013 (average
        precision), Wilson 1927 (shares).
        """
        return table_of(self._rows(), TidyRow._fields, texts=4)

    def figure(
        self,
        metric: str = "average_precision",
        *,
        model: str = "federated",
        institution: str = "",
        held_out: str = "pooled",
    ) -> TidyRow:
        """Return one figure of `to_arrow`, with `value`, `low` and `high`.

        Raises:
            UsageError: there is no such figure.
        """
        where = (model, institution, held_out, metric)
        for row in self._rows():
            if row[:4] == where:
                return row
        models = ", ".join(self.results["models"])
        raise UsageError(
            f"expected a model of {models} and a metric of to_arrow(), found {', '.join(where)}"
        )

    @python_words()
    def predict(
        self, data: Any, *, model: str = "federated", institution: str = ""
    ) -> NDArray[np.float64]:
        """Return float64 (units,): each unit's chance of the label, in the frame's order.

        As the model says it, not calibrated to any institution's own share of cases.

        Args:
            data: one frame with the study's columns, in the forms of `fieldfare.simulate`; its
                label may be absent.
            model: `federated`, `at_home` or a baseline.
            institution: whose, where each has one; "" for one of all.

        Raises:
            UsageError: no such model, or frames by institution.
            RecordsError: records that do not fit the study.
        """
        return chances(self._model(model, institution).scores(self._parse(data).encoded()))

    @python_words()
    def explain(self, data: Any, *, model: str = "federated", institution: str = "") -> Any:
        """Return what moves each unit's score, as a `pyarrow.Table`; the strongest first.

        Columns: `row` (int64, from 0, the frame's), `feature`, `value` (float32, null where
        missing or no number) and `contribution` (float64, log-odds beyond the mean of this frame):
        a row's log-odds are the sum of its contributions and of one number that all rows share.

        Args:
            data: as for `predict`.
            model: as for `predict`.
            institution: as for `predict`.

        Raises:
            UsageError: as for `predict`.
            RecordsError: as for `predict`.
        """
        one = self._model(model, institution)
        return explain_scores(self.study.agreed, one, self._parse(data))

    def _parse(self, data: Any) -> ScorableUnits:
        tables = tables_of(data)
        if [*tables] != [ALL]:
            raise UsageError("data: expected one frame, found frames by institution; give each")
        return read_unnamed([tables[ALL]], self.study.agreed)

    def _model(self, model: str, institution: str) -> SumModel:
        found = self._found.models.get(model, {}).get(institution)
        if found is None:
            raise UsageError(
                f"model: expected one of {', '.join(self._found.models)}, with institution= where "
                f"each has its own, found {model} of {institution or 'all'}"
            )
        return found

    def plot_comparison(self, metric: Metric = "average_precision") -> Plot:
        """Return bars of one metric: the shared model beside its baselines.

        Raises:
            UsageError: no such metric, or a hold-out of one class.
        """
        if metric not in _TITLES:
            raise UsageError(f"metric: expected one of {', '.join(_TITLES)}, found {metric!r}")
        title, guess = _TITLES[metric]
        if metric == "average_precision":
            labels = self._found.measured.data.labels
            guess = float(labels.mean()) if len(labels) else None
        return plot_of(pictures.bars(self.results, metric, title, guess), _ONE_CLASS)

    def plot_roc(self) -> Plot:
        """Return ROC curves of all models on the pooled hold-out.

        Raises:
            UsageError: a hold-out of one class.
        """
        return plot_of(pictures.curves(self._found.scores(), "roc"), _ONE_CLASS)

    def plot_precision_recall(self) -> Plot:
        """Return precision-recall curves of all models on the pooled hold-out.

        Raises:
            UsageError: a hold-out of one class.
        """
        return plot_of(pictures.curves(self._found.scores(), "precision_recall"), _ONE_CLASS)

    def plot_released(self) -> Plot:
        """Return what the federation measured through the door, with intervals, beside the truth.

        Raises:
            UsageError: noise drowned all of it.
        """
        told = self.results.get("released_metrics")
        drawn = pictures.released(self.results) if told else None
        return plot_of(drawn, "expected a measurement that noise left something of, found none")

    def plot_calibration(self) -> Plot:
        """Return predicted against observed shares: as released, and on the hold-out itself.

        Raises:
            UsageError: nothing was released and the hold-out has one class.
        """
        told = self.results.get("released_metrics") or {}
        shared = [one for one in self._found.scores()["federated"] if both_classes(one)]
        return plot_of(pictures.calibrated(told.get("calibration") or [], shared), _ONE_CLASS)

    def report(self, path: str | Path) -> Path:
        """Write the report, one HTML file without scripts; returns its path.

        Raises:
            OSError: it cannot be written.
        """
        path = Path(path)
        write_page(self._found, path, {**self.results, "timing": self.timing})
        return path

    @python_words()
    def save(self, folder: str | Path) -> Path:
        """Write what `fieldfare simulate --out` writes: results, model, report; returns the folder.

        Raises:
            UsageError: something else is in the folder's place.
            OSError: a file cannot be written.
        """
        folder = Path(folder)
        make_folder(folder)
        write_files(self._found, folder)
        return folder

    def _rows(self) -> Iterator[TidyRow]:
        budget = self.study.agreed.evaluation.alert_budget
        return tidy_rows(self.results, self._found.scores(), self._found.measured.owners, budget)

    def __repr__(self) -> str:
        """Return every figure as a screen of text."""
        text = io.StringIO()
        PlainConsole(file=text, width=_WIDTH).print(details(self.results))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _repr_html_(self) -> str:
        return str(result_html(self.results, self._found.scores()))
