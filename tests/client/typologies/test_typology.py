"""An indicator's file says what belongs in it, or every mistake at once."""

from importlib import resources
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fieldfare.client.typologies.typology import Typology
from fieldfare.shared.features.features import Dependence
from fieldfare.shared.harm_rules import is_protected


def data(name: str = "R21") -> dict[str, Any]:
    file = resources.files("fieldfare.client.typologies").joinpath(f"{name}.yaml")
    loaded: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return loaded


def with_change(path: str, value: Any) -> dict[str, Any]:
    changed = data()
    place: Any = changed
    *above, last = path.split(".")
    for step in above:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return changed


def test_features_become_those_of_a_study() -> None:
    typology = Typology.model_validate(data())
    numeric = typology.features[0].numeric(typology.tag)
    assert (numeric.name, numeric.tag, numeric.upper) == ("R21", Dependence.OWN, 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("required", ["customers.age_band"], "fairness audit only"),
        ("required", ["customers.shoe_size"], "no canonical record has"),
        ("required", ["ledger.amount"], "required"),
        ("tag", "linked", "linked form has a section"),
        ("features.0.name", "R22", "the first named R21"),
        ("features.1.name", "R22_x", "begin with R21_"),
        ("features.1.name", "R21", "different names"),
        ("features.0.upper", -1, "lower < upper"),
        ("features.0.knots", [0, 2], "between lower and upper"),
        ("linked.features.0.name", "R21_other", "end in _linked"),
        ("benign", [], "at least 1"),
        ("sources", [], "at least 1"),
        ("sources.0.seen", "rumour", "text"),
        ("version", 0, "greater"),
        ("official", True, "Extra inputs"),
        ("fires", {"at_least": float("nan")}, "finite"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Typology.model_validate(with_change(path, value))


def test_no_indicator_reads_a_protected_attribute() -> None:
    """Harm rule 4, on everything that an indicator of the pack can name."""
    for number in range(1, 35):
        typology = Typology.model_validate(data(f"R{number:02d}"))
        linked = typology.linked.required if typology.linked else ()
        for column in (*typology.required, *linked):
            assert not is_protected(column.partition(".")[2])
