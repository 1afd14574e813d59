"""Mistakes in a file that pydantic found, as lines that people can act on."""

import re
from typing import Any, Final

from pydantic import ValidationError

LONGEST_FOUND: Final = 60  # characters of what was found: one line says it
_KINDS: Final = frozenset(["numeric", "categorical", "month", "several", "open", "institution"])
_TAGGED: Final = frozenset(["features", "columns", "queries"])


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
    if kind in {"missing", "union_tag_not_found"}:
        key = f"{path}.kind" if kind == "union_tag_not_found" else path
        return [f"{key}: expected a value, found none"]
    if kind == "extra_forbidden":
        return [f"{path}: expected no such key; remove it or correct its spelling"]
    if kind == "union_tag_invalid":
        return [f"{path}.kind: expected {error['ctx']['expected_tags']}, found {_found(error)}"]
    expected = re.sub(r"^\w+ should (?:be|have) ", "", message)
    return [f"{path}: expected {expected}, found {_found(error)}"]


def _found(error: dict[str, Any]) -> str:
    tag = error.get("ctx", {}).get("tag")
    value = tag if tag is not None else error.get("input")
    try:
        found = repr(value)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a very large number"
    return found if len(found) <= LONGEST_FOUND else found[: LONGEST_FOUND - 3] + "..."


def _path(location: tuple[Any, ...]) -> str:
    """Write a key path; keys that TOML had to quote stay quoted, so a line stays one line."""
    # Whoever made no mistake does not wait for every kind of question.
    from fieldfare.shared.questions import KINDS  # noqa: PLC0415 -- see above

    parts = list(location)
    if len(parts) > 2 and parts[0] in _TAGGED and parts[2] in {*_KINDS, *KINDS}:  # noqa: PLR2004
        del parts[2]  # pydantic's union tag is no key of the file
    if len(parts) > 1 and parts[0] == "model":
        del parts[1]
    return ".".join(_key(str(part)) for part in parts)


def _key(part: str) -> str:
    if part.isprintable() and part and len(part) <= LONGEST_FOUND:
        return part
    return repr(part[:LONGEST_FOUND])
