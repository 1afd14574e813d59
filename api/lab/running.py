"""Run a study over records in memory: train a model, or ask questions."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from fieldfare.client.records.sources.source import Table
from fieldfare.lab.answers import Answers
from fieldfare.lab.frames import ALL, tables_of
from fieldfare.lab.progress import shown
from fieldfare.lab.results import Result
from fieldfare.lab.studies import LabStudy
from fieldfare.lab.wording import python_words
from fieldfare.shared.errors import UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.roster import is_institution_id
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.in_memory import Experiment, SimulationOutcome, simulated
from fieldfare.simulations.federation.population import Partition, RecordsChoice
from fieldfare.simulations.world.studies import INSTITUTION

ONE_KIND: Final = (
    "expected labelled and unlabelled units in the hold-out, found one kind alone: no ranking can "
    "be measured, and figures of it are null; give more records, or holdout="
)
UNSKEWED: Final = "iid"
BASELINES: Final = tuple(one.value for one in Baseline)

Choice = TypeVar("Choice", bound=Enum)
Noise = Literal["simulated", "exact"]
EngineName = Literal["custodians", "sums", "ray"]


@python_words()
def simulate(
    study: LabStudy,
    data: Any,
    *,
    institution_column: str | None = None,
    institutions: int | None = None,
    partition: str = UNSKEWED,
    holdout: Any = None,
    audit_column: str | None = None,
    baselines: Collection[str] = BASELINES,
    noise: Noise = "simulated",
    engine: EngineName = "custodians",
    ray_address: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Result:
    """Train a study's model over records on this machine, beside its baselines.

    By default the same custodians, door, ledgers and rounds that a deployment runs, in this
    process. Nothing is written; with exact noise ledgers stand in a temporary folder while the run
    lasts.

    Args:
        study: that trains.
        data: a frame of all institutions, or a mapping of their names to frames. A frame is a
            `pyarrow.Table`, a pandas or polars frame, a dict of column names to arrays (each
            (units,)), a NumPy array with named fields, or a path of a file or folder (CSV, Parquet,
            Arrow, DuckDB, SQLite). One row for each unit; an index is no column.
        institution_column: of one frame, the column that names the institution; by default
            "institution", where it has one.
        institutions: of one frame, how many institutions its rows are dealt to.
        partition: how they are dealt: "iid", "dirichlet:A" (skewed labels; A above 0), "quantity:A"
            (skewed sizes) or "skew:COLUMN:S" (ranked by a number, with a strictness S of 0 to 1).
        holdout: in the forms of `data`: models are measured on it in place of the hold-out.
        audit_column: false positives are counted by it; never an input.
        baselines: which to train, of "alone", "alone_dp", "local_dp", "central", "central_dp";
            () for none.
        noise: "simulated" is fast, seeded and protects nobody; "exact" is what a deployment runs.
        engine: "custodians"; "sums", everybody's sums in one pass, fast and without a protocol; or
            "ray", the same by processes of Ray. The figures are the same (docs/engines.md).
        ray_address: HOST:PORT of a Ray cluster; None starts one on this machine's loopback.
        workers: cores of the cluster that is started here; None takes all.
        seed: of split, partition and simulated noise, 0 to 2**63 - 1; exact noise has none.
        progress: None shows a bar on a terminal and in a notebook, False none.

    Raises:
        UsageError: arguments that do not go together, or a study that only asks questions; says
            what was expected and found.
        RecordsError: records that do not fit the study, every problem in one line each; none at
            all, or of one class. A hold-out of one class is a warning.

    Example:
        >>> import numpy as np, fieldfare
        >>> random = np.random.default_rng(0)
        >>> amount = random.gamma(2, 100, 900).clip(0, 900)
        >>> frame = {"amount": amount, "fraud": (random.random(900) < amount / 1500).astype(int)}
        >>> study = fieldfare.Study.draft(frame, label="fraud", bounds={"amount": (0, 900)},
        ...                               units=900, prevalence=0.13, epsilon=4)
        >>> found = fieldfare.simulate(study, frame, institutions=3, baselines=())
        >>> found.figure("auroc").value > 0.6
        True
    """
    if not checked_study(study).agreed.trains:
        raise UsageError(
            "study: expected one that trains a model, found questions alone: fieldfare.ask asks"
        )
    choice = choice_of(data, institution_column, institutions, partition, audit_column)
    task = Experiment(
        study=study.agreed,
        choice=choice,
        holdout_files=() if holdout is None else _frames_in(holdout, "holdout"),
        baselines=_baselines(baselines),
        seed=checked_seed(seed),
        protection=chosen(Protection, "noise", noise),
        engine=chosen(Engine, "engine", engine),
        ray_address=ray_address,
        workers=workers,
    )
    found = _run(task, progress)
    if len(set(found.measured.data.labels.tolist())) < 2:  # noqa: PLR2004 -- labelled and not
        warnings.warn(ONE_KIND, stacklevel=3)  # python_words stands between
    return Result(study, found)


@python_words()
def ask(
    study: LabStudy,
    data: Any,
    questions: Sequence[Mapping[str, Any]] | None = None,
    *,
    institution_column: str | None = None,
    institutions: int | None = None,
    partition: str = UNSKEWED,
    noise: Noise = "simulated",
    seed: int = 0,
    progress: bool | None = None,
) -> Answers:
    """Ask questions of all records together; no model is trained.

    Args:
        study: whose columns are asked about, at all of its epsilon.
        data: as for `fieldfare.simulate`.
        questions: as `queries` of a study (docs/questions.md); by default its own.
        institution_column: as for `fieldfare.simulate`.
        institutions: as for `fieldfare.simulate`.
        partition: as for `fieldfare.simulate`.
        noise: as for `fieldfare.simulate`.
        seed: as for `fieldfare.simulate`.
        progress: as for `fieldfare.simulate`.

    Raises:
        UsageError: nothing is asked, or arguments that do not go together.
        StudyError: questions that no study can ask; every mistake, one line each.
        RecordsError: records that do not fit the study.
    """
    if isinstance(questions, str | Mapping):
        raise UsageError("questions: expected a list of dicts, found one alone; put it in a list")
    if not (checked_study(study).agreed.queries if questions is None else questions):
        raise UsageError("questions: expected one or more, found none; docs/questions.md has them")
    asked = study if questions is None and not study.agreed.trains else study.asking(questions)
    choice = choice_of(data, institution_column, institutions, partition, None)
    task = Experiment(
        study=asked.agreed,
        choice=choice,
        baselines=(),
        seed=checked_seed(seed),
        protection=chosen(Protection, "noise", noise),
    )
    return Answers(asked, _run(task, progress))


def choice_of(
    data: Any,
    institution_column: str | None,
    institutions: int | None,
    partition: str,
    audit_column: str | None,
) -> RecordsChoice:
    """Return records with what says whose each one is.

    Raises:
        UsageError: arguments that do not go together, or a name that no institution can have.
    """
    tables = _frames_in(data, "data")
    if institutions is None and partition != UNSKEWED:
        raise UsageError(
            "partition: expected institutions=N beside it, found none: it says how rows of one "
            "frame are dealt to N institutions"
        )
    if ALL not in tables:
        if institution_column is not None or institutions is not None:
            raise UsageError(
                "expected neither institution_column nor institutions beside frames by "
                "institution, found one: the names already say who holds what"
            )
        for name in tables:
            _check_name(name)
        return RecordsChoice(tables, audit_column=audit_column)
    if institutions is None:
        column = institution_column or _usual_column(tables[ALL])
        return RecordsChoice(tables, column, audit_column=audit_column)
    if institution_column is not None:
        raise UsageError("expected institution_column or institutions, found both; give one")
    if not is_whole(institutions) or institutions < 1:
        raise UsageError(f"institutions: expected a number from 1 on, found {institutions!r}")
    Partition.parse(institutions, partition)
    return RecordsChoice(tables, None, institutions, partition, audit_column)


def _frames_in(data: Any, name: str) -> dict[str, Table]:
    """Return tables of what an argument gives; an empty dict is none."""
    tables = tables_of(data)
    if not tables:
        raise UsageError(f"{name}: expected a frame, or frames by institution, found an empty dict")
    return tables


def checked_study(study: object) -> LabStudy:
    """Return a study.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(study, LabStudy):
        raise UsageError(
            f"study: expected a fieldfare.Study, found a {type(study).__name__}; "
            "Study.from_toml, Study.of and Study.draft make one"
        )
    return study


def is_whole(value: object) -> bool:
    """Tell a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _usual_column(table: Table) -> str:
    with table.parts[0].open() as source:
        columns = list(source.columns)
    if INSTITUTION in columns:
        return INSTITUTION
    raise UsageError(
        "expected institution_column=COLUMN, or institutions=N to deal rows to N institutions, or "
        f"a dict of frames by institution, found none of them; columns: {', '.join(columns)}"
    )


def _check_name(name: str) -> None:
    if not is_institution_id(name):
        raise UsageError(
            "expected names of institutions of 1 to 64 printable characters (and none called "
            f'"coordinator"), found {name[:64]!r}'
        )


def _baselines(names: Collection[str]) -> tuple[Baseline, ...]:
    """Return baselines in their own order."""
    given = {names} if isinstance(names, str) else set(names)
    if unknown := sorted(given - {*BASELINES}):
        raise UsageError(
            f"baselines: expected some of {', '.join(BASELINES)}, found {unknown[0]!r}"
        )
    return tuple(one for one in Baseline if one.value in given)


def chosen(kind: type[Choice], name: str, value: object) -> Choice:
    """Return what a word chooses of a closed choice.

    Args:
        kind: the choice; its values are words.
        name: of the argument.
        value: the word.

    Raises:
        UsageError: it is none of them.
    """
    words = [str(one.value) for one in kind]
    if value not in words:
        few = len(words) == 2  # noqa: PLR2004 -- either, or
        known = " or ".join(words) if few else f"one of {', '.join(words)}"
        raise UsageError(f"{name}: expected {known}, found {value!r}")
    return kind(value)


def checked_seed(seed: int) -> int:
    """Return a seed.

    Raises:
        UsageError: it is no whole number from 0 to 2**63 - 1.
    """
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise UsageError(f"seed: expected a whole number from 0 to 2**63 - 1, found {seed!r}")
    return seed


def _run(task: Experiment, progress: bool | None) -> SimulationOutcome:
    with shown(progress) as said:
        return simulated(task, said)
