"""What a drafted study rests on, once some of its keys are not the draft's any more."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from fieldfare.shared.study.toml import toml_data

CHANGED: Final = "changed since the draft: "
_LABEL: Final = ("records.label", "records.positive")
_RESTS_ON: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "assumed public: ": (*_LABEL, "records.units", "records.prevalence"),
        "label: ": _LABEL,
        "positive label: ": _LABEL,
        "unit: ": ("records.unit",),
        "missing: ": ("records.missing",),
        "features: ": ("features",),
        "left out: ": ("features",),
        "suggested": ("features",),
        "LOOK: ": ("features",),
    }
)


def still_assumed(assumed: tuple[str, ...], before: str, after: str) -> tuple[str, ...]:
    """Return the lines that still hold, and one that names every key that was changed.

    Args:
        assumed: lines of the study before.
        before: its TOML.
        after: the TOML of what it was changed to.
    """
    earlier = [key for line in assumed if line.startswith(CHANGED) for key in _named(line)]
    one, other = dict(_keys(toml_data(before))), dict(_keys(toml_data(after)))
    now = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    changed = list(dict.fromkeys([*earlier, *now]))
    said = [line for line in assumed if _holds(line, changed)]
    return tuple([*said, CHANGED + ", ".join(changed)] if changed else said)


def _named(line: str) -> list[str]:
    return line.removeprefix(CHANGED).split(", ")


def _keys(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys of tables by their path, and all else whole."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield key, value


def _holds(line: str, changed: list[str]) -> bool:
    rests = [on for start, on in _RESTS_ON.items() if line.startswith(start)]
    gone = any(key in changed for on in rests for key in on)
    return not gone and not line.startswith(CHANGED)
