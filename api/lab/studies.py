"""A study as somebody in Python makes it: from TOML, from keywords, or drafted for a frame."""

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal, Self

import tomlkit

from fieldfare.client.drafting.draft import DEFAULT_EPSILON, draft_study
from fieldfare.client.drafting.given import PublicKnowledge, draft_given
from fieldfare.client.records.sources.source import Table
from fieldfare.lab.assumptions import still_assumed
from fieldfare.lab.frames import tables_of
from fieldfare.lab.wording import in_python, python_words
from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import MAX_STUDY_BYTES, Study
from fieldfare.shared.study.toml import toml_data
from fieldfare.shared.system.private_files import read_at_most


@dataclass(frozen=True, repr=False)
class LabStudy:
    """The one plan that all parties agree to, `fieldfare.Study`: made once, never changed.

    Made by `Study.from_toml`, `Study.of` or `Study.draft`; docs/studies.md lists every key.

    Attributes:
        toml: its text, as `fieldfare simulate` and a coordinator read it.
        assumed: what a draft assumed and left out, one line each; empty for any other study. Of a
            draft that was changed, what still holds, and which keys were changed.
        agreed: the study itself, validated.

    Example:
        >>> study = LabStudy.of(
        ...     name="cards",
        ...     purpose="rank cards for review",
        ...     records={"label": "fraud", "units": 10_000, "prevalence": 0.02},
        ...     features=[{"name": "amount", "kind": "numeric", "lower": 0, "upper": 900,
        ...                "knots": [0, 50, 200, 900]}],
        ...     privacy={"epsilon": 1.0, "delta": 1e-5},
        ... )
        >>> study.name, study.epsilon, round(study.sigma, 1)
        ('cards', 1.0, 29.4)
        >>> study.with_(privacy={"epsilon": 2.0}).epsilon
        2.0
    """

    toml: str
    agreed: Study
    assumed: tuple[str, ...] = ()
    beside: Path | None = field(default=None, compare=False)

    @classmethod
    def from_toml(cls, source: str | Path) -> Self:
        """Return the study in a TOML file, or in its text.

        Args:
            source: a path, or the text (anything with a line break or `=` in it).

        Raises:
            StudyError: no such file, or every mistake, one line each.
        """
        text, beside = str(source), None
        if isinstance(source, Path) or not ("\n" in text or "=" in text):
            beside = Path(source).parent
            content = read_at_most(Path(source), MAX_STUDY_BYTES, StudyError)
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError:
                raise StudyError(f"{source}: expected UTF-8 text, found other bytes") from None
        return cls(text, parse_study(text, beside), beside=beside)

    @classmethod
    def of(cls, **sections: Any) -> Self:
        """Return a study of keywords: the keys and tables of its TOML file.

        Args:
            **sections: `name`, `purpose`, `records`, `features`, `privacy` and further ones.

        Raises:
            StudyError: every mistake, one line each.
        """
        return cls.from_toml(_toml(sections))

    @classmethod
    @python_words()
    def draft(
        cls,
        data: Any,
        *,
        label: str,
        public_sample: bool = False,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        levels: Mapping[str, Sequence[str]] | None = None,
        log: Collection[str] = (),
        units: int | None = None,
        prevalence: float | None = None,
        positive: str | None = None,
        unit: str | None = None,
        institution_column: str | None = None,
        exclude: Sequence[str] = (),
        keep: Sequence[str] = (),
        epsilon: float = DEFAULT_EPSILON,
        delta: float | None = None,
        name: str = "study",
        model: Literal["additive", "mlp"] = "additive",
    ) -> Self:
        """Return a study drafted for records; `assumed` says in words what it rests on.

        A study is published, and what it says of columns with it. So bounds and levels are given
        here, and no row of `data` is read; or `data` is declared a public sample, and they are read
        off it, knots too (as `fieldfare study new` does). What is given always goes first.

        Args:
            data: a frame, or frames by institution (`fieldfare.simulate` says which forms).
            label: the label's column.
            public_sample: whether `data` may be published: bounds, knots, levels, the share of
                positives and the count of units are then read off it.
            bounds: lowest and highest value of columns of numbers.
            levels: values of columns of categories.
            log: columns of `bounds` whose knots are even on a logarithmic scale.
            units: units of all institutions, a public number.
            prevalence: share of positives, a public number.
            positive: which labels are positive, "1" or "> 0"; by default 1, and in a public sample
                the rarer of two. Of labels that are texts it is needed where no row is read.
            unit: the column of the unit's id; none: every row is a unit.
            institution_column: the column that names institutions, no feature either.
            exclude: columns to leave out.
            keep: of a public sample, columns to keep that look like ids or names of people.
            epsilon: of the study.
            delta: of the study; none: 1e-5, less for more than 10,000 units.
            name: of the study.
            model: "additive" (curves that add up) or "mlp".

        Raises:
            UsageError: nothing is given and the sample is not declared public, a column is not
                there, bounds that no feature can have, or labels that are texts without `positive`.
            RecordsError: the sample cannot be read, or no column can be a feature.
            StudyError: a number out of range.
        """
        tables = list(tables_of(data).values())
        if not tables:
            raise UsageError("expected a frame with columns, found an empty dict")
        known = PublicKnowledge(bounds or {}, levels or {}, log)
        said: list[str] = []
        shared: dict[str, Any] = {
            "label": label, "unit": unit, "institution_column": institution_column,
            "exclude": exclude, "epsilon": epsilon, "delta": delta, "name": name, "kind": model,
            "notify": lambda line: said.append(in_python(line)),
        }  # fmt: skip
        if public_sample:
            given = known.features()
            text = draft_study(
                tables, positive=positive, keep=keep, units=units, prevalence=prevalence,
                given=given, **shared,
            )  # fmt: skip
        else:
            units, prevalence = _public_numbers(tables, known, units, prevalence)
            text = draft_given(
                tables[0], known, units=units, prevalence=prevalence, positive=positive,
                **shared,
            )  # fmt: skip
        return cls(text, parse_study(text), tuple(said))

    def with_(self, **sections: Any) -> Self:
        """Return the study with some keys changed; those of a table that are not named stay.

        Args:
            **sections: as for `of`; a table changes key by key, all else as a whole.

        Raises:
            StudyError: there is no such study; every mistake, one line each.
        """
        data = copy.deepcopy(toml_data(self.toml))
        for key, value in sections.items():
            both = isinstance(value, Mapping) and isinstance(data.get(key), dict)
            data[key] = {**data[key], **value} if both else value
        return self._changed(_toml(data), self.beside)

    def asking(self, questions: Sequence[Mapping[str, Any]] | None = None) -> Self:
        """Return the study without its training: all of epsilon is for questions.

        Args:
            questions: as `queries` of a study (docs/questions.md); by default its own.

        Raises:
            StudyError: questions that no study can ask; every mistake, one line each.
        """
        data = copy.deepcopy(toml_data(self.toml)) | {"training": {"steps": 0}}
        for key in ("geometry", "allowance"):
            data.pop(key, None)
        data.get("privacy", {}).pop("query_share", None)
        if questions is not None:
            data["queries"] = [dict(one) for one in questions]
        return self._changed(_toml(data), None)

    def _changed(self, text: str, beside: Path | None) -> Self:
        """Return another study, with what still holds of the draft that it began as."""
        assumed = self.assumed and still_assumed(self.assumed, self.toml, text)
        return type(self)(text, parse_study(text, beside), assumed, beside)

    @property
    def id(self) -> str:
        """The study's hash, hex: its name among parties."""
        return self.agreed.id

    @property
    def name(self) -> str:
        """Its name."""
        return self.agreed.name

    @property
    def epsilon(self) -> float:
        """What it promises, over all of its releases."""
        return self.agreed.privacy.epsilon

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise on one sum of training, in units of the clipping norm C.

        Of the answers' sum, where nothing is trained.
        """
        plan = plan_for(self.agreed)
        terms = plan.training if self.agreed.trains else plan.query
        return terms.sigma / terms.vectors.clipping_norm

    @property
    def features(self) -> list[str]:
        """The names of its features, in order."""
        return [one.name for one in self.agreed.features]

    def __repr__(self) -> str:
        """Say what it is in one line."""
        return (
            f"<Study {self.name!r}: {len(self.features)} features, {self.agreed.model.kind}, "
            f"epsilon {self.epsilon:g} at delta {self.agreed.privacy.delta:g}>"
        )

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{escape(line)}</li>" for line in self.assumed)
        assumed = f"<p>What the draft rests on:</p><ul>{said}</ul>" if said else ""
        return (
            f"<p><strong>{escape(repr(self)[1:-1])}</strong></p>{assumed}"
            f"<details><summary>TOML</summary><pre>{escape(self.toml)}</pre></details>"
        )


def _toml(data: Mapping[str, Any]) -> str:
    """Write keys and tables as TOML; what it has no form for is said by validation."""
    try:
        plain = json.loads(json.dumps(data))
        return tomlkit.dumps(_without_none(plain))
    except (TypeError, ValueError) as error:
        raise StudyError(
            f"expected texts, numbers, truth values, lists and dicts, found something else: {error}"
        ) from None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value


def _public_numbers(
    tables: Sequence[Table],
    known: PublicKnowledge,
    units: int | None,
    prevalence: float | None,
) -> tuple[int, float]:
    """Return the two public numbers; say what is missing where it is."""
    if not known.bounds and not known.levels:
        with tables[0].parts[0].open() as source:
            names = ", ".join(f"{name} ({kind.value})" for name, kind in source.columns.items())
        raise UsageError(
            "expected bounds or levels of columns, or public_sample=True, found neither: a study "
            "is published with everything in it, so nothing is read off records that are not "
            f"declared public. Columns: {names}"
        )
    if units is None or prevalence is None:
        lacking = "units" if units is None else "prevalence"
        raise UsageError(
            f"expected {lacking}, found none: units (of all institutions) and prevalence (share of "
            "positives) are public numbers of a study; give both, or say public_sample=True"
        )
    return units, prevalence
