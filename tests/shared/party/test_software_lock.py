"""Each lock holds what pyproject.toml says of its role, every line hashed, no index and no path."""

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.packaging.make_locks import EXTRAS, LOCKS, merged

from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.software_lock import ROLES, lock_text, packages_in

ROOT: Final = Path(__file__).parents[3]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINE: Final = re.compile(
    r"[a-z0-9-]+==[A-Za-z0-9.+!]+( ; platform_machine == \"\w+\")?( --hash=sha256:[0-9a-f]{64})+"
)


def wanted(extra: str) -> dict[str, Requirement]:
    found: dict[str, Requirement] = {}
    for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]):
        one = Requirement(line)
        for below in one.extras if one.name == "fieldfare" else ():
            found |= wanted(below)
        if one.name != "fieldfare":
            found[canonicalize_name(one.name)] = one
    return found


def text_of(role: str) -> str:
    return (LOCKS / f"{role}.txt").read_text()


def test_there_is_a_lock_for_each_role_and_one_for_the_site() -> None:
    assert {*ROLES, "docs"} == set(EXTRAS)
    shown = {path.name: path.resolve() for path in LOCKS.iterdir()}
    inside = {f"{r}.txt": ROOT / f"shared/party/locks/{r}.txt" for r in ROLES}
    assert shown == inside | {"docs.txt": LOCKS / "docs.txt"}
    assert [r for r in ROLES if text_of(r) != lock_text(r)] == []


@pytest.mark.parametrize("role", EXTRAS)
def test_a_lock_satisfies_what_its_role_needs(role: str) -> None:
    pinned = {one.name: one.version for one in packages_in(text_of(role))}
    for extra in EXTRAS[role]:
        needs = wanted(extra)
        assert needs.keys() <= pinned.keys()
        misfits = {n: pinned[n] for n, one in needs.items() if pinned[n] not in one.specifier}
        assert misfits == {}


@pytest.mark.parametrize("role", EXTRAS)
def test_every_line_is_a_pin_with_hashes_and_nothing_else(role: str) -> None:
    lines = re.sub(r"\s*\\\n\s*", " ", text_of(role)).splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert len(lines) == len(packages_in(text_of(role)))


def test_only_the_lab_has_torch_and_the_node_has_no_numbers() -> None:
    pinned = {role: {one.name for one in packages_in(text_of(role))} for role in EXTRAS}
    assert {role for role in EXTRAS if "torch" in pinned[role]} == {"lab"}
    assert not pinned["docs"] & {"ray", "mlflow-skinny", "pandas", "pytest"}
    assert not pinned["node"] & {"scipy", "duckdb", "pyarrow", "scikit-learn", "matplotlib"}
    assert {"duckdb", "adbc-driver-postgresql"} <= pinned["institution"]


@pytest.mark.parametrize(
    "line", ["numpy>=2 --hash=sha256:" + "0" * 64, "numpy==2.4.6", "-r other.txt", "--index-url x"]
)
def test_a_line_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="expected NAME==VERSION with hashes"):
        packages_in(f"{line}\n")


def test_no_other_role_has_a_lock() -> None:
    with pytest.raises(UsageError, match=r"found '\.\./bill'"):
        lock_text("../bill")


def test_machines_that_differ_are_named_where_they_do() -> None:
    both, one = "a==1 \\\n    --hash=sha256:" + "0" * 64, "b==2 \\\n    --hash=sha256:" + "1" * 64
    found = merged({"x86_64": {"a==1": both, "b==2": one}, "aarch64": {"a==1": both}})
    marked = one.replace("b==2", 'b==2 ; platform_machine == "x86_64"')
    assert found == f"{both}\n{marked}\n"
    assert [p.name for p in packages_in(found)] == ["a", "b"]
