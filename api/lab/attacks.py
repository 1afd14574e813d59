"""Attacks as tools: what is found in replies, models and answers, beside the most that may be.

    found = fieldfare.attacks.membership(study, frame)
    found.plot_figure("AUROC")

Each attack says what it found under each condition (with noise and without, for one), with 95 %
intervals and, where the ledger's mu bounds every attack, that ceiling
(docs/measurements/attacks.md). Everything is a simulation on this machine, nothing is written, and
nothing of it is in a deployed study.
`fieldfare.audit` puts the door itself to the test.
"""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final

from fieldfare.client.records.load import read_records
from fieldfare.lab.figure_table import FigureTable, table_of
from fieldfare.lab.frames import tables_of
from fieldfare.lab.plots import Plot, plot_of
from fieldfare.lab.running import Noise, checked_seed, checked_study, chosen, is_whole
from fieldfare.lab.studies import LabStudy
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.terminal.stderr import without_log
from fieldfare.shared.terminal.texts import short
from fieldfare.simulations.attacks.differencing import DifferencingTask
from fieldfare.simulations.attacks.differencing import differencing as _differencing
from fieldfare.simulations.attacks.finding import Finding
from fieldfare.simulations.attacks.free_rider import free_riders
from fieldfare.simulations.attacks.inversion import InversionTask
from fieldfare.simulations.attacks.inversion import inversion as _inversion
from fieldfare.simulations.attacks.labels import LabelsTask
from fieldfare.simulations.attacks.labels import labels as _labels
from fieldfare.simulations.attacks.membership import MembershipTask
from fieldfare.simulations.attacks.membership import membership as _membership
from fieldfare.simulations.attacks.poisoning import damage_findings
from fieldfare.simulations.report.pictures import ToldFigure, told

__all__ = [
    "Attack",
    "differencing",
    "free_rider",
    "inversion",
    "labels",
    "membership",
    "poisoning",
]

MOST_TRIALS: Final = 100_000
LEAST_TRIALS: Final = 40
MOST_SEEDS: Final = 100
MOST_EPSILON: Final = 100
MOST_INSTITUTIONS: Final = 1000
FEWEST_INSTITUTIONS: Final = 3
MOST_SHADOWS: Final = 1000
_COLUMNS: Final = ("attack", "figure", "value", "low", "high", "ceiling")


class Attack(FigureTable):
    """What an attack found: figures with intervals under each condition, and their ceilings.

    Attributes:
        findings: one for each condition: figures, what the attack sees and misses, its source.
        flagged: what contradicts a promise, in words; empty where nothing does.
    """

    def __init__(self, findings: Iterable[Finding]) -> None:
        """Take what the attack found."""
        self.findings: tuple[Finding, ...] = tuple(findings)
        self.flagged: tuple[str, ...] = tuple(
            f"{one.attack}: {said}" for one in self.findings for said in one.flagged
        )

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`, one row for each figure.

        Columns: `attack` (with its condition) and `figure` (string); `value`, `low`, `high` (the
        95 % interval) and `ceiling` (float64; null where there is none).
        """
        return table_of(self._rows(), _COLUMNS, texts=2)

    def plot_figure(self, figure: str | None = None) -> Plot:
        """Return one figure under each condition, with its interval and its ceiling.

        Args:
            figure: a name in `to_arrow()`; None: the first.

        Raises:
            UsageError: there is none of that name.
        """
        names = list(dict.fromkeys(one.name for each in self.findings for one in each.figures))
        if figure is not None and figure not in names:
            raise UsageError(f"figure: expected one of {', '.join(names)}, found {figure!r}")
        wanted = figure or names[0]
        rows = [ToldFigure(row[0], *row[2:]) for row in self._rows() if row[1] == wanted]
        return plot_of(told(rows, wanted), "expected a figure, found none")

    def __repr__(self) -> str:
        """Return everything as text."""
        return "\n\n".join("\n".join(one.lines()) for one in self.findings)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        rows = "".join(
            f"<tr><td>{escape(attack)}</td><td>{escape(name)}</td>"
            + "".join(f"<td>{short(number)}</td>" for number in numbers)
            + "</tr>"
            for attack, name, *numbers in self._rows()
        )
        said = "".join(f"<p><strong>FLAGGED: {escape(one)}</strong></p>" for one in self.flagged)
        return f"<table><tr>{head}</tr>{rows}</table>{said}"

    def _rows(self) -> Iterator[tuple[str, str, float, float | None, float | None, float | None]]:
        for each in self.findings:
            for one in each.figures:
                low, high = one.interval or (None, None)
                yield each.attack, one.name, one.value, low, high, one.ceiling


def membership(
    study: LabStudy,
    data: Any,
    *,
    institutions: int = 3,
    shadows: int = 16,
    private: bool = True,
    seed: int = 0,
) -> Attack:
    """Train on half of the records, and guess from the model which half it was.

    Args:
        study: that trains.
        data: a frame of all units, in the forms of `fieldfare.simulate`, one row each.
        institutions: to whom members are dealt, 3 to 1,000.
        shadows: models for the likelihood-ratio attack (LiRA), 4 or more; 0: by the loss alone.
        private: with the study's clipping and noise; else without either.
        seed: of coins, deals and simulated noise, 0 to 2**63 - 1.

    Raises:
        UsageError: arguments out of range, fewer than 200 units, or a study that only asks.
        RecordsError: records that do not fit the study.

    Source: Yeom et al. 2018, CSF, section III.B; Carlini et al. 2022, S&P, arXiv 2112.03570.

    Example:
        >>> import numpy as np, fieldfare
        >>> random = np.random.default_rng(0)
        >>> amount = random.gamma(2, 100, 900).clip(0, 900)
        >>> frame = {"amount": amount, "fraud": (random.random(900) < amount / 1500).astype(int)}
        >>> study = fieldfare.Study.draft(frame, label="fraud", bounds={"amount": (0, 900)},
        ...                               units=900, prevalence=0.13, epsilon=1)
        >>> study = study.with_(training={"steps": 4})
        >>> found = fieldfare.attacks.membership(study, frame, shadows=0)
        >>> round(found.findings[0].figure("AUROC").ceiling, 2)
        0.57
    """
    _whole("shadows", shadows, 0, MOST_SHADOWS)
    found = _membership(
        MembershipTask(
            study=checked_study(study).agreed,
            units=_units(study, data),
            institutions=_whole(
                "institutions", institutions, FEWEST_INSTITUTIONS, MOST_INSTITUTIONS
            ),
            shadows=shadows,
            private=private,
            seed=checked_seed(seed),
        )
    )
    return Attack(one for one in (found.loss, found.lira) if one is not None)


def inversion(
    study: LabStudy,
    data: Any,
    *,
    institutions: int = 3,
    trials: int = 1000,
    noise: Noise = "simulated",
    seed: int = 0,
) -> Attack:
    """Look for records in one institution's reply: bare, with noise, with masks, with both.

    Args:
        study: that trains by sums.
        data: a frame of all units, in the forms of `fieldfare.simulate`; the first of the
            institutions that they are dealt to is attacked.
        institutions: in the sum, 3 to 1,000.
        trials: replies, each with a coin for one unit, 40 to 100,000.
        noise: "simulated" is seeded; "exact" as deployed.
        seed: of deals, coins, keys and simulated noise, 0 to 2**63 - 1.

    Raises:
        UsageError: arguments out of range, too few units, or a study of local steps.
        RecordsError: records that do not fit the study.

    Source: Zhu, Liu and Han 2019, NeurIPS, arXiv 1906.08935, section 3.
    """
    task = InversionTask(
        study=checked_study(study).agreed,
        units=_units(study, data),
        institutions=_whole("institutions", institutions, FEWEST_INSTITUTIONS, MOST_INSTITUTIONS),
        trials=_whole("trials", trials, LEAST_TRIALS, MOST_TRIALS),
        protection=chosen(Protection, "noise", noise),
        seed=checked_seed(seed),
    )
    return Attack(_inversion(task))


def labels(
    study: LabStudy,
    data: Any,
    *,
    institutions: int = 3,
    trials: int = 1000,
    noise: Noise = "simulated",
    seed: int = 0,
) -> Attack:
    """Infer labels of held-out units from a released evaluation, without its noise and with it.

    Args:
        study: that trains and measures.
        data: a frame of all units, in the forms of `fieldfare.simulate`.
        institutions: to whom they are dealt, 3 to 1,000.
        trials: tables, each with a coin for one label, 40 to 100,000.
        noise: "simulated" is seeded; "exact" as deployed.
        seed: of deals, hold-outs, coins and simulated noise, 0 to 2**63 - 1.

    Raises:
        UsageError: arguments out of range, a hold-out of fewer than 20 units or of one class.
        RecordsError: records that do not fit the study.

    Source: Yeom et al. 2018, CSF, section III.C.
    """
    task = LabelsTask(
        study=checked_study(study).agreed,
        units=_units(study, data),
        institutions=_whole("institutions", institutions, FEWEST_INSTITUTIONS, MOST_INSTITUTIONS),
        trials=_whole("trials", trials, LEAST_TRIALS, MOST_TRIALS),
        protection=chosen(Protection, "noise", noise),
        seed=checked_seed(seed),
    )
    return Attack(_labels(task))


def differencing(
    *, epsilon: float = 1.0, trials: int = 1000, noise: Noise = "simulated", seed: int = 0
) -> Attack:
    """Ask twice, of sets that differ by one unit or by one institution, and subtract.

    Records are made up. The second part plays a coordinator that lies to real custodians.

    Args:
        epsilon: of the study, above 0, at most 100.
        trials: pairs of answers, each with a coin, 40 to 100,000.
        noise: of the two answers, "simulated" is seeded; custodians always draw exact noise.
        seed: of records, coins and simulated noise, 0 to 2**63 - 1.

    Raises:
        UsageError: arguments out of range.

    Source: Dinur and Nissim 2003, PODS, section 1.
    """
    real = isinstance(epsilon, int | float)
    if not (real and 0 < epsilon <= MOST_EPSILON):
        raise UsageError(f"epsilon: expected above 0, at most {MOST_EPSILON}, found {epsilon!r}")
    task = DifferencingTask(
        epsilon=epsilon,
        trials=_whole("trials", trials, LEAST_TRIALS, MOST_TRIALS),
        protection=chosen(Protection, "noise", noise),
        seed=checked_seed(seed),
    )
    with without_log("fieldfare"):  # custodians refuse on purpose
        return Attack(_differencing(task))


def poisoning(*, seeds: int = 1) -> Attack:
    """Let one of ten lie at every step, under each defence: what it costs, what is left hidden.

    Twenty runs a seed, of about a second each. Records are made up.

    Args:
        seeds: worlds and noises, 1 to 100; intervals are the least and the largest of them.

    Raises:
        UsageError: a number out of range.

    Source: as docs/measurements/attacks.md says for each lie and defence.
    """
    return Attack(damage_findings(_whole("seeds", seeds, 1, MOST_SEEDS)))


def free_rider(*, seeds: int = 3) -> Attack:
    """Let one of ten give nothing: what it gains, what it costs the others, who notices.

    Args:
        seeds: worlds and noises, 1 to 100; with one there are no intervals.

    Raises:
        UsageError: a number out of range.

    Source: Fraboni, Vidal and Lorenzi 2021, AISTATS, arXiv 2006.11901, section 3.
    """
    return Attack(free_riders(_whole("seeds", seeds, 1, MOST_SEEDS)))


def _units(study: LabStudy, data: Any) -> EncodedUnits:
    tables = [*tables_of(data).values()]
    return read_records(tables, checked_study(study).agreed, whole=True).data


def _whole(name: str, value: int, least: int, most: int) -> int:
    if not is_whole(value) or not least <= value <= most:
        raise UsageError(f"{name}: expected {least:,} to {most:,}, found {value!r}")
    return value
