"""Models and answers of the golden set are what golden.toml says."""

from pathlib import Path
from typing import Any

import pytest
from tests.golden.kept import differences, entry, machine, read
from tests.golden.studies import EVERY, QUICK, SLOW, Golden, data_folder, run
from tests.support.rows import partly

AT_NIGHT = {"heart", "sms", "youtube"}  # the others train, stay local, and ask
ROWS = partly(QUICK, [one for one in QUICK if one.name in AT_NIGHT])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


def check(golden: Golden, folder: Path) -> None:
    if golden.data is not None and not (data_folder() / golden.data).is_dir():
        pytest.skip(f"{golden.data} is not at hand: name its folder in FIELDFARE_DATA")
    kept = read()
    found = entry(golden, run(golden, folder))
    here = kept["machine"] == machine()
    assert differences(found, kept["studies"][golden.name], here=here) == []


@pytest.mark.parametrize("golden", ROWS, ids=lambda golden: golden.name)
def test_a_study_comes_to_what_it_always_did(golden: Golden, folder: Path) -> None:
    check(golden, folder)


@pytest.mark.promises  # slow: a world is made, a network is trained
@pytest.mark.parametrize("golden", SLOW, ids=lambda golden: golden.name)
def test_a_longer_study_comes_to_what_it_always_did(golden: Golden, folder: Path) -> None:
    check(golden, folder)


def test_golden_toml_names_every_study_of_the_set() -> None:
    assert set(read()["studies"]) == {golden.name for golden in EVERY}


MODEL: dict[str, Any] = {"study": "s", "sha256": "a", "parameters": 2, "norm": 1.0, "some": [1, 0]}
NETWORK: dict[str, Any] = {"study": "s", "sha256_on_machine": "a", "norm": 1.0, "some": [1, 0]}


@pytest.mark.parametrize(
    ("kept", "change", "here", "named"),
    [
        (MODEL, {}, False, []),
        (MODEL, {"sha256": "b"}, False, ["sha256"]),
        (MODEL, {"study": "t"}, True, ["study"]),
        (MODEL, {"parameters": 3, "some": [1, 0, 0]}, True, ["parameters", "some"]),
        (NETWORK, {"sha256_on_machine": "b"}, False, []),
        (NETWORK, {"sha256_on_machine": "b"}, True, ["sha256_on_machine"]),
        (NETWORK, {"sha256_on_machine": "b", "norm": 1.000_02}, False, ["norm"]),
        (NETWORK, {"some": [1, float("nan")]}, False, ["some"]),
        (NETWORK, {"some": [1, 0.000_009]}, False, []),
    ],
)
def test_what_differs_is_named(
    kept: dict[str, Any], change: dict[str, Any], here: bool, named: list[str]
) -> None:
    assert [one.partition(":")[0] for one in differences(kept | change, kept, here=here)] == named
