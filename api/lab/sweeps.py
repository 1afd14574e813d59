"""A study at every point of a grid, from Python."""

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import pyarrow.parquet as pq

from fieldfare.lab.figure_table import FigureTable
from fieldfare.lab.frames import ALL, arrow_of, tables_of
from fieldfare.lab.plots import Plot, plot_of
from fieldfare.lab.progress import shown
from fieldfare.lab.running import UNSKEWED, EngineName, checked_study, choice_of
from fieldfare.lab.studies import LabStudy
from fieldfare.lab.wording import python_words
from fieldfare.shared.errors import UsageError
from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.simulations.beside import ALONE, beside
from fieldfare.simulations.federation.simulate import make_folder
from fieldfare.simulations.sweeps.page import sweep_page
from fieldfare.simulations.sweeps.pictures import gains, traffic, utility
from fieldfare.simulations.sweeps.plan import COLUMN, sweep_of
from fieldfare.simulations.sweeps.points import SweepGrid
from fieldfare.simulations.sweeps.running import sweep as run_sweep
from fieldfare.simulations.sweeps.screen import pays, sweep_screen
from fieldfare.simulations.sweeps.summary import Summary

_WIDTH: Final = 80
_NOTHING: Final = "expected an axis with two values or more, found none: nothing to draw along"


class SweepResult(FigureTable):
    """The outcome of `fieldfare.sweep`: a table of all points, pictures, where joining pays.

    Figures come from held-out records themselves, which only a simulation can see. Printed, it is
    one screen; in a notebook, the page.

    Attributes:
        name: of the study.
    """

    def __init__(self, grid: SweepGrid, table: Any) -> None:
        """Take what a sweep came to."""
        self.name, self._table = grid.base.name, table
        self._summary = Summary(table.to_pylist(), grid.base.evaluation.holdout)

    def to_arrow(self) -> Any:
        """Return the table as a `pyarrow.Table`; docs/sweeps.md says what each column is."""
        return self._table

    @property
    def pays(self) -> list[str]:
        """Where joining starts to pay, one line for each place along the other axes."""
        return list(pays(self._summary))

    def plot_utility(self) -> Plot:
        """Return average precision of each model along the first axis, by institution too.

        Raises:
            UsageError: no axis has two values.
        """
        return plot_of(utility(self._summary), _NOTHING)

    def plot_gain(self) -> Plot:
        """Return what joining adds to being alone along the first axis, with intervals.

        Raises:
            UsageError: no axis has two values, or `alone` was not measured.
        """
        return plot_of(gains(self._summary), f"{_NOTHING}, or alone was not measured")

    def plot_traffic(self) -> Plot:
        """Return rounds and bytes along the number of institutions, or the first axis.

        Raises:
            UsageError: no axis has two values.
        """
        return plot_of(traffic(self._summary), _NOTHING)

    def report(self, path: str | Path) -> Path:
        """Write the page, one HTML file without scripts; returns the path.

        Raises:
            OSError: it cannot be written.
        """
        path = Path(path)
        path.write_text(sweep_page(self.name, self._summary), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        """Render the screen of `fieldfare sweep`."""
        console = PlainConsole(width=_WIDTH, no_color=True)
        with console.capture() as found:
            console.print(sweep_screen(self._summary, self.name, {}))
        return found.get()

    def _repr_html_(self) -> str:
        plots = [gains(self._summary), utility(self._summary)]
        drawn = "".join(Plot(one)._repr_html_() for one in plots if one is not None)
        return f"{drawn}<ul>{''.join(f'<li>{escape(line)}</li>' for line in self.pays)}</ul>"


@python_words()
def sweep(
    study: LabStudy,
    data: Any,
    *,
    epsilon: Sequence[float] | float = (),
    institutions: Sequence[int] | int = (),
    units: Sequence[int] | int = (),
    partition: Sequence[str] = (),
    collusion_tolerance: Sequence[int] | int = (),
    dropouts: Sequence[float] | float = (),
    stragglers: Sequence[float] | float = (),
    steps: Sequence[int] | int = (),
    slots: Sequence[int] | int = (),
    geometry: Sequence[str] = (),
    start: Sequence[str] = (),
    model: Sequence[str] = (),
    seeds: Sequence[int] | int = (0, 1, 2),
    institution_column: str | None = None,
    beside_it: Sequence[str] = ("alone", "at_home", "pooled"),
    engine: EngineName = "custodians",
    ray_address: str | None = None,
    workers: int | None = None,
    cores: Literal[1, 2] = 1,
    out: str | Path | None = None,
    progress: bool | None = None,
) -> SweepResult:
    """Run a study at every point of a grid, over several seeds, and compare.

    A single value of an axis may stand without a list.

    Args:
        study: that trains.
        data: as for `fieldfare.simulate`.
        epsilon: of the promise, each above 0 and at most 100.
        institutions: to how many the rows of one frame are dealt.
        units: how many take part, of all.
        partition: "iid", "dirichlet:A", "quantity:A", "skew:COLUMN:S" or "column:NAME".
        collusion_tolerance: how many institutions may pool what they know.
        dropouts: share of institutions that leave for good, 0 up to 1.
        stragglers: share of questions that are asked again, 0 up to 1.
        steps: of training.
        slots: most knots of a feature that is a number.
        geometry: "none", "whitened" or "centred".
        start: "none" or "public:NAME".
        model: "additive" or "mlp".
        seeds: of split, partition, noise and faults; every point is run under all of them.
        institution_column: of one frame, the column that names the institution.
        beside_it: what is measured beside the shared model.
        engine: "custodians"; "sums", in one pass without messages, fast, where nobody leaves or is
            late; or "ray", points as tasks of a Ray cluster. The table is the same.
        ray_address: HOST:PORT of a cluster, whose nodes read `data` at the same path; None starts
            Ray on this machine alone.
        workers: cores of the cluster that is started here; None takes all.
        cores: 2: points run in a second process too; a script then needs its
            `if __name__ == "__main__":`.
        out: a folder that keeps figures of each point, so that an interrupted sweep goes on; None:
            nothing is kept. Records in memory stand in a private temporary folder while it runs.
        progress: None shows a bar on a terminal and in a notebook, False none.

    Raises:
        UsageError: arguments that do not go together; says what was expected and found.
        StudyError: a point without a study, or a study that only asks questions.
        RecordsError: records that do not fit the study, every problem in one line each.
    """
    axes = {
        "epsilon": epsilon,
        "institutions": institutions,
        "units": units,
        "partition": partition,
        "collusion_tolerance": collusion_tolerance,
        "dropouts": dropouts,
        "stragglers": stragglers,
        "steps": steps,
        "slots": slots,
        "geometry": geometry,
        "start": start,
        "model": model,
    }
    asked = {"seeds": seeds, "beside": beside_it, **axes}
    given = {name: _listed(values) for name, values in asked.items()}
    if not given["partition"]:
        count = given["institutions"][0] if given["institutions"] else None
        column = choice_of(data, institution_column, count, UNSKEWED, None).institution_column
        given["partition"] = () if column is None else (COLUMN + column,)
    elif institution_column is not None:
        raise UsageError(
            "expected institution_column or partition, found both; give one: partition has "
            f"{COLUMN}NAME, too"
        )
    with TemporaryDirectory(prefix="fieldfare-sweep-") as scratch:
        read = Path(scratch)
        grid = _grid(checked_study(study), data, read, {**given, "engine": engine})
        folder = read / "points" if out is None else Path(out)
        make_folder(folder)
        with shown(progress) as said, beside() if cores > 1 else nullcontext(ALONE) as both:
            return SweepResult(grid, run_sweep(grid, folder, said, both, ray_address, workers))


def _listed(values: Any) -> tuple[Any, ...]:
    """Return an axis's values; one alone is a list of one."""
    if isinstance(values, str | int | float):
        return (values,)
    return tuple(values.tolist() if hasattr(values, "tolist") else values)


def _grid(study: LabStudy, data: Any, folder: Path, given: dict[str, Any]) -> SweepGrid:
    """Write study and records where they are read from, and make the grid.

    Nothing of it stays: a folder that somebody keeps, and hands on, has figures and no record.
    """
    text = folder / "study.toml"
    text.write_text(study.toml, encoding="utf-8")
    for start in {study.agreed.training.start, *given["start"]} - {None}:
        name = f"{str(start).rpartition(':')[2]}.safetensors"
        if study.beside is not None and (study.beside / name).is_file():
            shutil.copyfile(study.beside / name, folder / name)
    return SweepGrid.of(sweep_of(str(text), _files(data, folder), **given))


def _files(data: Any, folder: Path) -> list[str]:
    """Return records as files; those in memory are written, the same rows as the same bytes."""
    named = tables_of(data)
    if ALL in named:
        return [_file(data, folder / "records.parquet")]
    return [
        f"{name}={_file(data[name], folder / f'records-{place}.parquet')}"
        for place, name in enumerate(named)
    ]


def _file(frame: Any, path: Path) -> str:
    if isinstance(frame, str | os.PathLike):
        return str(Path(frame).absolute())
    pq.write_table(arrow_of(frame), path)
    return str(path)
