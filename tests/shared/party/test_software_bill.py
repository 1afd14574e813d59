"""The bill of materials lists what is installed, fits its schema, and is the same twice."""

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from fieldfare.shared.party.installed_software import installed_packages
from fieldfare.shared.party.software_bill import bill_bytes, bill_of_materials
from fieldfare.shared.party.software_lock import locked


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return bill_of_materials()


def test_every_installed_package_is_listed_once(bill: dict[str, Any]) -> None:
    listed = [one["name"] for one in bill["components"] if one["type"] == "library"]
    installed = {canonicalize_name(one.metadata["Name"]) for one in distributions()}
    assert sorted([*listed, bill["metadata"]["component"]["name"]]) == sorted(installed)


def test_it_fits_the_schema(bill: dict[str, Any]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps({"a": 1})) is not None


def test_the_same_software_is_the_same_bytes(bill: dict[str, Any]) -> None:
    here = bill_bytes()
    assert json.loads(here) == bill
    code = "import sys; from fieldfare.shared.party.software_bill import bill_bytes as b;"
    code += "sys.stdout.buffer.write(b())"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert again.stdout == here


def test_nothing_of_the_machine_is_in_it(bill: dict[str, Any]) -> None:
    text = json.dumps(bill)
    for place in (sys.prefix, str(Path.home()), str(Path(__file__).parents[3])):
        assert place not in text


def test_a_locked_version_names_its_roles_and_archives(bill: dict[str, Any]) -> None:
    found = {(one["name"], one["version"]): one for one in bill["components"]}
    (both, *_) = sorted(found.keys() & locked().keys())
    said = {one["name"]: one["value"] for one in found[both]["properties"]}
    assert said["fieldfare:locks"].split() == sorted(locked()[both])
    (reference,) = found[both]["externalReferences"]
    hashes = {one["content"] for one in reference["hashes"]}
    assert hashes == {h for role in locked()[both].values() for h in role}


def test_what_a_package_needs_is_in_the_list(bill: dict[str, Any]) -> None:
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert {ref for below in needs.values() for ref in below} <= set(needs)
    (ours,) = [ref for ref in needs if ref.startswith("pkg:pypi/fieldfare@")]
    assert any(ref.startswith("pkg:pypi/flwr@1.42.") for ref in needs[ours])


def test_a_checkout_is_hashed_file_by_file() -> None:
    (ours,) = [one for one in installed_packages() if one.name == "fieldfare"]
    assert ours.files > 600
    assert len(ours.digest) == 64
