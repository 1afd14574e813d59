"""A pack is read whole and strictly; its hash stands for every byte."""

import shutil
from importlib import resources
from pathlib import Path

import pytest

from fieldfare.client.typologies.pack import load_pack, own_pack, parse_typology
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.features import Dependence


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for file in resources.files("fieldfare.client.typologies").iterdir():
        if file.name.startswith(("R20", "R32")):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_the_pack_of_fieldfare() -> None:
    pack = own_pack()
    assert [one.id for one in pack.indicators] == [f"R{number:02d}" for number in range(1, 40)]
    assert all(one.typology.tag is Dependence.OWN for one in pack.indicators)
    linked = {one.id for one in pack.indicators if one.linked_sql}
    assert linked == {"R20", "R21", "R26"}
    assert len({spec.name for spec in pack.features}) == len(pack.features) > 50


def test_every_indicator_says_what_else_it_may_be_and_where_it_is_from() -> None:
    """Harm rules 2 and 5: look-alikes are a part of an indicator."""
    for one in own_pack().indicators:
        assert one.typology.benign
        assert one.typology.sources
        assert one.sql.startswith("-- own: ")


def test_choosing() -> None:
    pack = own_pack()
    assert [one.id for one in pack.chosen(["R02", "R01"]).indicators] == ["R01", "R02"]
    assert pack.chosen([]).indicators == pack.indicators
    with pytest.raises(UsageError, match="found R99"):
        pack.chosen(["R99"])


def test_the_hash_stands_for_every_file(copied: Path) -> None:
    before = load_pack(copied)
    assert load_pack(copied).sha256 == before.sha256
    for name in ("R20.yaml", "R20.sql", "R20_linked.sql"):
        text = (copied / name).read_text()
        (copied / name).write_text(text + "\n")
        assert load_pack(copied).sha256 != before.sha256
        (copied / name).write_text(text)


def test_a_broken_pack_names_everything(copied: Path) -> None:
    (copied / "R32.sql").unlink()
    (copied / "R20.yaml").write_text("id: R20\nversion: one\n")
    (copied / "R33.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError) as caught:
        load_pack(copied)
    assert "R32.sql: expected a readable file" in str(caught.value)
    assert "R20.yaml: version" in str(caught.value)
    assert "R20.yaml: formula" in str(caught.value)
    assert "R33.yaml: expected UTF-8" in str(caught.value)


def test_files_and_ids_agree(copied: Path) -> None:
    shutil.move(copied / "R32.yaml", copied / "R31.yaml")
    shutil.move(copied / "R32.sql", copied / "R31.sql")
    with pytest.raises(UsageError, match="expected id R31, found R32"):
        load_pack(copied)


@pytest.mark.parametrize(
    "text",
    ["a: 1\na: 2\n", "a: &x 1\nb: *x\n", "a: !!python/object/apply:os.getcwd []\n", "a: [\n",
     "{[1]: 2}\n"],
)  # fmt: skip
def test_only_plain_yaml(text: str) -> None:
    with pytest.raises(UsageError, match="plain YAML"):
        parse_typology(text, "R01.yaml")


def test_empty_or_absent_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found none"):
        load_pack(tmp_path)
    with pytest.raises(UsageError, match="found none"):
        load_pack(tmp_path / "absent")
    (tmp_path / "R01.yaml").write_text("#" * 70_000)
    with pytest.raises(UsageError, match="at most"):
        load_pack(tmp_path)
