"""What outsiders read of the project says what the code says: version, licence, rooms, steps."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import fieldfare

ROOT: Final = Path(__file__).parents[2]
NAMED: Final = re.compile(r"`([a-z]+/[\w./]+)`")


def citation() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    return found


def test_the_citation_has_what_its_format_requires() -> None:
    """Citation File Format 1.2.0: four keys are required; addresses of ours there are none."""
    found = citation()
    assert found["cff-version"] == "1.2.0"
    assert all(found[key] for key in ("message", "title", "authors"))
    assert not {"url", "repository", "repository-code", "doi", "contact"} & set(found)


def test_the_citation_names_this_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation()["version"] == fieldfare.__version__
    assert citation()["license"] == project["license"]
    assert "urls" not in project


@pytest.mark.parametrize("name", ["MAINTAINERS.md", "GOVERNANCE.md", "docs/release.md"])
def test_rooms_and_files_that_roles_and_steps_name_are_there(name: str) -> None:
    named = NAMED.findall((ROOT / name).read_text("utf-8"))
    assert named
    assert [one for one in named if not (ROOT / one).exists()] == []


@pytest.mark.parametrize("name", ["ROADMAP.md", "GOVERNANCE.md", "MAINTAINERS.md"])
def test_a_page_is_one_page(name: str) -> None:
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= 60
