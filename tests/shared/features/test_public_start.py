import base64
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.runs.started import CURVES, STARTED_FEATURES, small_start, starting_at
from tests.support.runs.written_runs import base

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import CategoricalFeature, Feature
from fieldfare.shared.features.public_start import LARGEST_CURVE, PublicStart, StartFacts
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

WHOLE = LARGEST_CURVE * 256
LINES = """
name = "small"
purpose = "tests"
[records]
unit = "id"
label = "reported"
units = 4000
prevalence = 0.3
[training]
steps = 3
start = "public:{name}"
{more}
[privacy]
epsilon = 4.0
delta = 1e-5
[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10
knots = [0, 2, 5, 10]
"""


def declared(**changes: object) -> tuple[Feature, ...]:
    """The start's first feature, declared otherwise."""
    made = base(features=[{**STARTED_FEATURES[0], **changes}])
    return made.features


def test_a_start_is_read_back_and_its_bytes_are_the_only_ones() -> None:
    start = small_start()
    content = start.to_bytes()
    again = PublicStart.from_bytes(content)
    assert (again.facts, again.hash) == (start.facts, start.hash)
    assert again.values.tolist() == start.values.tolist()
    assert again.offset == 10 / 256
    with pytest.raises(StudyError, match="canonical"):
        PublicStart.from_bytes(content.replace(b'"I16"', b'"i16"'))


@given(st.data())
def test_a_changed_byte_is_refused(data: st.DataObject) -> None:
    start = small_start()
    content = bytearray(start.to_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    training = starting_at(start, start_file=base64.b64encode(bytes(content)).decode())
    with pytest.raises(ValueError, match="start"):
        base(training=training)


def test_every_study_that_holds_it_is_another_one_where_a_curve_differs() -> None:
    held, other = small_start(), small_start(curves=(-299, *CURVES[1:]))
    assert base(training=starting_at(held)).id != base(training=starting_at(other)).id
    with pytest.raises(ValueError, match=f"expected {held.hash}, found a start with {other.hash}"):
        base(training={**starting_at(other), "start_hash": held.hash})


@pytest.mark.parametrize(
    ("values", "says"),
    [((WHOLE + 1, *CURVES), "within"), ((0, *CURVES[:-1]), "each slot"), ((0,), "each slot")],
)
def test_curves_are_bounded_and_as_many_as_slots(values: tuple[int, ...], says: str) -> None:
    start = PublicStart(small_start().facts, np.array(values, dtype=np.int16))
    with pytest.raises(StudyError, match=says):
        PublicStart.from_bytes(start.to_bytes())


def test_a_start_says_no_stories() -> None:
    start = small_start(settings={"story": "data:image/png;base64,AAAA"})
    with pytest.raises(StudyError, match="harm rule 6"):
        PublicStart.from_bytes(start.to_bytes())


def test_a_study_may_have_fewer_knots_and_no_others() -> None:
    start = small_start()
    found = start.curves_for(declared(knots=[2, 10]))
    assert [curve.tolist() for curve in found] == [[0, 500, 0]]  # at 2, at 10, missing
    assert [len(one) for one in start.curves_for(declared())] == [5]


def test_long_levels_of_a_start_do_not_stand_once_for_each_slot() -> None:
    """A study that is only offered is read: 395 kB of levels took 255 MB and .7 s each time."""
    levels = tuple(f"{place:06d}" + "x" * 200 for place in range(512))
    feature = CategoricalFeature(kind="categorical", name="long", levels=levels)
    facts = StartFacts(generator="none", seed=0, settings={}, features=(feature,))
    start = PublicStart(facts, np.arange(1 + feature.slots, dtype=np.int16))
    tracemalloc.start()
    found = start.curves_for((feature,))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0].tolist() == list(range(1, 1 + feature.slots))
    assert most < 8 * 2**20  # bytes; the file is 100 kB


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"knots": [0, 3, 10]}, {"upper": 20}, {"special": [0]}, {"scale": "log1p"}],
)
def test_a_feature_that_the_start_does_not_know_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(StudyError, match="expected a feature of the start"):
        small_start().curves_for(declared(**changes))
    with pytest.raises(ValueError, match="expected a feature of the start"):
        base(features=[{**STARTED_FEATURES[0], **changes}], training=starting_at(small_start()))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training": {"start_file": None}}, "found some of them"),
        ({"training": {"start_hash": None}}, "found some of them"),
        ({"training": {"start_file": "?"}}, "expected base64"),
        ({"training": {"mode": "local"}}, "training.mode is together"),
        ({"training": {"start": "here.safetensors"}}, "pattern"),
        ({"model": {"kind": "mlp"}}, "kind additive"),
    ],
)
def test_what_cannot_start_there_is_refused(
    changes: dict[str, dict[str, object]], says: str
) -> None:
    training = {**starting_at(small_start()), **changes.get("training", {})}
    with pytest.raises(ValueError, match=says):
        base(**{**changes, "training": training})


def test_a_study_without_a_start_is_what_it_was() -> None:
    assert b"start" not in base().canonical()
    assert base().public_start is None


def study_file(name: str, more: str = "") -> str:
    return LINES.format(name=name, more=more)


def test_a_study_file_finds_its_start_beside_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, start = tmp_path_factory.mktemp("study"), small_start()
    (folder / "small.safetensors").write_bytes(start.to_bytes())
    study = parse_study(study_file("small"), folder)
    assert study.public_start is not None
    assert (study.training.start_hash, study.public_start.hash) == (start.hash, start.hash)
    assert Study.model_validate_json(study.canonical()).id == study.id
    with pytest.raises(StudyError, match=r"expected small\.safetensors beside"):
        parse_study(study_file("small"))
    other = f'start_hash = "{"0" * 64}"'
    with pytest.raises(StudyError, match=f"expected {'0' * 64}, found a start with {start.hash}"):
        parse_study(study_file("small", other), folder)
