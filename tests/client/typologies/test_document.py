"""docs/typologies.md: its example holds, and it names what there is."""

import re
from pathlib import Path

import pytest

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.typologies.checking import check_pack
from fieldfare.client.typologies.family import Family
from fieldfare.client.typologies.pack import load_pack

TEXT = (Path(__file__).parents[3] / "docs" / "typologies.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_holds(tmp_path: Path) -> None:
    (tmp_path / "OWN01.yaml").write_text(block("yaml"))
    (tmp_path / "OWN01.sql").write_text(block("sql"))
    (checked,) = check_pack(load_pack(tmp_path))
    assert checked.problems == ()
    assert checked.told


def test_an_example_that_looks_at_others_would_not(tmp_path: Path) -> None:
    (tmp_path / "OWN01.yaml").write_text(block("yaml"))
    linked = block("sql").replace(
        "SELECT unit, max(payments) AS OWN01",
        "SELECT unit, max((SELECT max(payments) FROM shop)) AS OWN01",
    )
    (tmp_path / "OWN01.sql").write_text(linked)
    (checked,) = check_pack(load_pack(tmp_path))
    assert checked.problems


@pytest.mark.parametrize("table", TABLES)
def test_every_canonical_column_is_named(table: str) -> None:
    (row,) = re.findall(rf"^\| {table} \| (.*) \|$", TEXT, re.MULTILINE)
    named = re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", row))
    assert named == list(TABLES[table].model_fields)
    required = [name for name, field in TABLES[table].model_fields.items() if field.is_required()]
    assert re.findall(r"\*\*([a-z_]+)\*\*", row) == required


def test_every_family_is_named() -> None:
    assert [family for family in Family if f"| `{family.value}` |" not in TEXT] == []
