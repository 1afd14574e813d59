"""What a study changes of an earlier one of the same name, key by key."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import plain


@dataclass(frozen=True)
class StudyChange:
    """One canonical key of the study that an earlier one had otherwise; None: it had none."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class StudyComparison:
    """Against the last approved study of the same name, else the last one.

    Attributes:
        earlier: its id.
        approved: whether it is approved here.
    """

    earlier: str
    changes: tuple[StudyChange, ...]
    approved: bool = False


def compare(earlier: Study, study: Study) -> StudyComparison:
    """Compare two studies key by key, in canonical form; features go by their names."""
    before, after = _flat(earlier), _flat(study)
    changes = tuple(
        StudyChange(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )
    return StudyComparison(earlier.id, changes)


def _flat(study: Study) -> dict[str, str]:
    data: dict[str, Any] = json.loads(study.canonical())
    features = data.pop("features")
    # Their order is part of the study: it is the order of the model's parameters.
    flat = {"features": json.dumps([feature["name"] for feature in features])}
    flat |= dict(_leaves("", data))
    for feature in features:
        flat |= dict(_leaves(f"features[{feature['name']}]", feature))
    return flat


def _leaves(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner)
    else:
        yield path, json.dumps(value)


def change_line(change: StudyChange, most: int) -> str:
    """Say a change on one line, each value of at most `most` characters."""
    key = plain(change.key, 2 * most)
    if change.before is None:
        return f"+ {key}: {plain(change.after or '', most)}"
    if change.after is None:
        return f"- {key}: {plain(change.before, most)}"
    return f"~ {key}: {plain(change.before, most)} -> {plain(change.after, most)}"
