"""A study's text before it is proposed: of an earlier one, of one that is shipped, of a form."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import tomlkit

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import MAX_LEVELS
from fieldfare.shared.joining.settings import fitting_settings
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.privacy.delta import usual_delta
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

MOST_TEXT: Final = 40_000  # characters of a study in a form
MOST_LINES: Final = 200  # of columns, and of questions
FOLDER: Final = "shipped"
_SUFFIX: Final = ".toml"
_OF_ONE: Final = ("sum", "mean", "variance", "histogram", "quantiles", "ecdf")


def shipped_studies() -> Mapping[str, str]:
    """Return the texts of the studies that come with Fieldfare, by name."""
    folder = files(__package__ or "").joinpath(FOLDER)
    found = sorted(folder.iterdir(), key=lambda one: one.name)
    return {one.name.removesuffix(_SUFFIX): one.read_text("utf-8") for one in found}


def study_text(study: Study) -> str:
    """Return TOML that parses into the same study; without what is as by default, if it can be."""
    data = study.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    if data.get("training"):
        data["training"].pop("start_file", None)
    text = tomlkit.dumps({"format": 1, **data})
    try:
        if parse_study(text).id == study.id:
            return text
    except StudyError:
        pass  # a start that does not come with Fieldfare, say
    return tomlkit.dumps(_without_none(json.loads(study.canonical())))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value


# -- form -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyForm:
    """What a small form asks; texts as typed.

    Attributes:
        name, purpose: the study's.
        unit, label: columns of the unit's id and of the label.
        units, prevalence: public numbers of all institutions.
        epsilon: of the study.
        institutions: least in every sum.
        columns: one a line: `amount: 0 to 10000`, `channel: branch, online`, `opened: 2026-01 to
            2026-06`.
        asked: one a line: `count`, `mean of amount`, `group by channel, opened`; empty: a model.
    """

    name: str = ""
    purpose: str = ""
    unit: str = ""
    label: str = ""
    units: str = ""
    prevalence: str = ""
    epsilon: str = "1"
    institutions: str = "3"
    columns: str = ""
    asked: str = ""


def form_text(form: StudyForm) -> str:
    """Return the study that a form asks for, as TOML with settings that fit its public numbers.

    Raises:
        StudyError: a line that is no column or no question, or a number that is none.
    """
    units = int(_number("units", form.units))
    data: dict[str, Any] = {
        "format": 1,
        "name": form.name.strip(),
        "purpose": " ".join(form.purpose.split()),
        "records": {
            "unit": form.unit.strip(),
            "label": form.label.strip(),
            "units": units,
            "prevalence": _number("prevalence", form.prevalence),
        },
        "privacy": {
            "epsilon": _number("epsilon", form.epsilon),
            "delta": usual_delta(units),
            "collusion_tolerance": 1,
        },
        "aggregation": {"minimum_institutions": int(_number("institutions", form.institutions))},
    }
    columns = [_column(line) for line in _lines("columns", form.columns)]
    data["features"] = [one for one in columns if one["kind"] != "month"]
    data["columns"] = [one for one in columns if one["kind"] == "month"]
    data["queries"] = [_question(line) for line in _lines("asked", form.asked)]
    if data["queries"]:
        data |= {"training": {"steps": 0}, "evaluation": {"spare_releases": 0}}
    return _fitted(tomlkit.dumps({key: one for key, one in data.items() if one}))


def _fitted(text: str) -> str:
    """Write the settings that fit into a study that trains; one with mistakes stays as it is."""
    try:
        study = parse_study(text)
        plan = plan_for(study)
    except StudyError:
        return text
    if not study.trains:
        return text
    numbers = PublicNumbers.of(plan)
    fitting = fitting_settings(numbers.kind, numbers.strength, numbers.entries)
    data = tomlkit.parse(text).unwrap()
    for name, value in (fitting.changes if fitting else {}).items():
        section, _, key = name.partition("__")
        data.setdefault(section, {})[key] = value
    return tomlkit.dumps(data)


def _number(name: str, text: str) -> float:
    try:
        found = float(text.strip().replace(",", ""))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise StudyError(f"{name}: expected a number, found {text.strip()[:40]!r}")
    return found


def _lines(name: str, text: str) -> Iterator[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_LINES:
        raise StudyError(f"{name}: expected at most {MOST_LINES} lines, found {len(lines)}")
    return iter(lines)


def _column(line: str) -> dict[str, Any]:
    name, colon, said = line.partition(":")
    low, to, high = (part.strip() for part in said.partition(" to "))
    if not colon or not name.strip() or not said.strip():
        raise StudyError(
            f"columns: expected NAME: LOW to HIGH, or NAME: LEVEL, LEVEL, found {line[:60]!r}"
        )
    if not to:
        levels = [one.strip() for one in said.split(",") if one.strip()]
        if len(levels) > MAX_LEVELS:  # writing them takes time that grows with their square
            raise StudyError(
                f"columns: expected at most {MAX_LEVELS} levels of {name.strip()[:60]!r}, found "
                f"{len(levels)}"
            )
        return {"name": name.strip(), "kind": "categorical", "levels": levels}
    if low[4:5] == "-":
        return {"name": name.strip(), "kind": "month", "first": low, "last": high}
    lower, upper = (_number(f"columns: {name.strip()}", one) for one in (low, high))
    return {"name": name.strip(), "kind": "numeric", "lower": lower, "upper": upper}


def _question(line: str) -> dict[str, Any]:
    kind, of, column = (part.strip() for part in line.partition(" of "))
    if line == "count":
        return {"name": line, "kind": "count"}
    if line.startswith("group by "):
        keys = [one.strip() for one in line.removeprefix("group by ").split(",")]
        return {"name": f"by {' and '.join(keys)}"[:64], "kind": "group_by", "by": keys}
    if of and kind in _OF_ONE:
        return {"name": f"{kind} of {column}"[:64], "kind": kind, "column": column}
    raise StudyError(
        f"asked: expected count, group by COLUMN, COLUMN, or one of {', '.join(_OF_ONE)} with of "
        f"COLUMN, found {line[:60]!r}"
    )


def questions_text(study: Study) -> str:
    """Return TOML of questions that may be asked of a study: its own, or one for later."""
    if study.queries and not study.trains:
        one = study.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        return tomlkit.dumps({"queries": one["queries"]})
    kind = study.allowance.kinds[0] if study.allowance else "count"
    return tomlkit.dumps({"queries": [{"name": "how many", "kind": kind}]})
