"""Mistakes in a file that pydantic found, as lines that people can act on.

The institution's own TOML files: read whole, every mistake said at once.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fieldfare.shared.canonical import SHOWN
from fieldfare.shared.errors import StudyError
from fieldfare.shared.system.private_files import read_at_most
from fieldfare.shared.terminal.texts import cut

LONGEST_FOUND: Final = 60  # characters of what was found: one line says it
_KINDS: Final = frozenset(["numeric", "categorical", "month", "several", "open", "institution"])
_TAGGED: Final = frozenset(["features", "columns", "queries"])
_DERIVED: Final = "derived"
_GONE: Final = {  # what earlier studies said, and why it has no meaning any more
    "privacy.training_share": "training and the hold-out are of different units, so each has all "
    "the mu^2 that questions leave; take the line out",
    "aggregation.opening": "a vector leaves in two messages, always; take the line out",
}
_STRATEGY: Final = frozenset(["strategy", "strategies"])
_STRATEGIES: Final = frozenset(["fedavg", "fedprox", "fedadam", "fedmedian", "krum"])
_SEES_UPDATES: Final = (
    "the coordinator of such a strategy sees every institution's update; in a study nobody sees "
    "more than the sum; compare strategies in a simulation: fieldfare simulate --baselines fedavg"
)


def problem_lines(error: ValidationError) -> list[str]:
    """Return one line per mistake: key path, what was expected, what was found."""
    return [line for item in error.errors() for line in mistake_lines(dict(item))]


def mistake_lines(error: dict[str, Any]) -> list[str]:
    """Return `path: expected, found` lines for one of pydantic's errors."""
    path, kind, message = _path(error["loc"]), error["type"], str(error["msg"])
    if kind == "value_error":
        lines = message.removeprefix("Value error, ").split("\n")
        # A model's rule about features says so itself.
        return [
            ln if ln.startswith((path, "features:", "records.")) else f"{path}: {ln}"
            for ln in lines
        ]
    tag = f"{path}.formula" if path.endswith(f".{_DERIVED}") else f"{path}.kind"
    if kind in {"missing", "union_tag_not_found"}:
        key = tag if kind == "union_tag_not_found" else path
        return [f"{key}: expected a value, found none"]
    if kind == "extra_forbidden":
        strategy = error["loc"][-1] in _STRATEGY and not path.startswith(("features", "columns"))
        why = _SEES_UPDATES if strategy else _GONE.get(path)
        return [f"{path}: expected no such key; {why or 'remove it or correct its spelling'}"]
    if kind == "union_tag_invalid":
        return [f"{tag}: expected {error['ctx']['expected_tags']}, found {_found(error)}"]
    expected = _expected(error, message)
    named = path == "training.mode" and str(error.get("input")).lower() in _STRATEGIES
    why = _SEES_UPDATES if named else _GONE.get(path) if _was_a_value(error) else None
    return [f"{path}: expected {expected}, found {_found(error)}{f'; {why}' if why else ''}"]


def earlier_keys(error: ValidationError) -> list[str]:
    """Return a line for each key or value that earlier versions had; no stranger's words."""
    found: list[dict[str, Any]] = [dict(one) for one in error.errors()]
    gone = [one for one in found if one["type"] == "extra_forbidden" or _was_a_value(one)]
    paths = [_path(one["loc"]) for one in gone]
    return [f"{path}: {_GONE[path]}" for path in paths if path in _GONE]


def _was_a_value(error: dict[str, Any]) -> bool:
    """Say whether a value is one that earlier versions took: one message for a release."""
    return (error["loc"], error.get("input")) == (("aggregation", "opening"), "off")


def _expected(error: dict[str, Any], message: str) -> str:
    if error.get("ctx", {}).get("pattern") == SHOWN:
        return "signs that can be seen, on one line"
    return re.sub(r"^\w+ should (?:be|have) ", "", message)


def _found(error: dict[str, Any]) -> str:
    if error["type"] == "string_too_long":  # it may be anything, a picture too: no part of it
        return str(len(error["input"]))
    tag = error.get("ctx", {}).get("tag")
    value = tag if tag is not None else error.get("input")
    try:
        found = repr(value)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a very large number"
    except RecursionError:
        return "tables too deep"
    return cut(found, LONGEST_FOUND)


def _path(location: tuple[Any, ...]) -> str:
    """Write a key path; keys that TOML had to quote stay quoted, so a line stays one line."""
    # Whoever made no mistake does not wait for every kind of question.
    from fieldfare.shared.study.questions import KINDS  # noqa: PLC0415 -- see above

    parts = list(location)
    if len(parts) > 2 and parts[0] in _TAGGED and parts[2] in {*_KINDS, *KINDS}:  # noqa: PLR2004
        del parts[2]  # pydantic's union tag is no key of the file
    if len(parts) > 1 and parts[0] == "model":
        del parts[1]
    if _DERIVED in parts[2:-1]:  # features.0.derived.ratio.of: the tag again
        del parts[parts.index(_DERIVED, 2) + 1]
    return ".".join(_key(str(part)) for part in parts)


def _key(part: str) -> str:
    if part.isprintable() and part and len(part) <= LONGEST_FOUND:
        return part
    return repr(part[:LONGEST_FOUND])


# -- toml files -----------------------------------------------------------------------------------

MAX_TOML_BYTES: Final = 1024 * 1024
MOST_PARTS: Final = 32  # of a key: a.b.c has three
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_\\-])(?:{_PART}[ \t]*+\.[ \t]*+){{{MOST_PARTS}}}")

PathText = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


class RetiredKey(NamedTuple):
    """A key of earlier files, with the one value that is still read, and why there is no other."""

    value: Any
    why: str


class Section(BaseModel):
    """A table of such a file: frozen, no unknown keys, no `"1"` or `true` for 1.

    Attributes:
        RETIRED: keys of earlier files; with any other value than its own, one is a mistake.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
    RETIRED: ClassVar[Mapping[str, RetiredKey]] = {}

    @model_validator(mode="before")
    @classmethod
    def _leave_out_retired(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for key, (value, why) in cls.RETIRED.items():
            found = data.get(key, value)
            if type(found) is not type(value) or found != value:
                raise ValueError(f"{key}: expected no such key; {why}")
        return {key: value for key, value in data.items() if key not in cls.RETIRED}


S = TypeVar("S", bound=BaseModel)


def parse_toml(text: str, model: type[S], name: str) -> S:
    """Parse TOML text into a validated `model`; `name` begins every line of an error.

    Raises:
        StudyError: the text is no TOML, or lists every mistake, one line each.
    """
    try:
        return model.model_validate(toml_data(text))
    except ValidationError as error:
        raise StudyError([f"{name}: {line}" for line in problem_lines(error)]) from None
    except StudyError as error:
        raise StudyError(f"{name}: {error}") from None


def toml_data(text: str) -> dict[str, Any]:
    """Parse TOML text, in time that grows with its length alone.

    Raises:
        StudyError: it is none, or has a key of too many parts: Python's parser takes four times as
            long for a key of twice as many.
    """
    if _LONG_KEY.search(text):
        raise StudyError(
            f"expected TOML with keys of at most {MOST_PARTS} parts, found a longer one"
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"expected TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets as many
        raise StudyError(
            "expected TOML, found a number too long or brackets too deep; shorten them"
        ) from None


def load_toml(path: Path, model: type[S]) -> S:
    """Read and validate a file (UTF-8 TOML, at most 1 MiB).

    Raises:
        StudyError: unreadable, too large, or any mistake inside.
    """
    content = read_at_most(path, MAX_TOML_BYTES, StudyError)
    try:
        return parse_toml(content.decode("utf-8"), model, str(path))
    except UnicodeDecodeError:
        raise StudyError(f"{path}: expected UTF-8 text") from None
