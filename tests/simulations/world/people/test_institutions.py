"""Who holds records: the shipped file, others of its form, and what is refused."""

from pathlib import Path

import pytest

from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.simulations.world.institutions import (
    WorldFederation,
    equal_banks,
    load_institutions,
)


def test_the_world_has_five_banks_a_remittance_firm_two_ngos_and_a_hotline() -> None:
    found = load_institutions()
    counts = [len(found.of(kind)) for kind in ("bank", "remittance", "ngo", "hotline")]
    assert counts == [5, 1, 2, 1]


def test_each_bank_lacks_something_and_no_two_lack_the_same() -> None:
    gaps = [(tuple(sorted(b.lacks)), b.unseen) for b in load_institutions().of("bank")]
    assert all(lacks or unseen for lacks, unseen in gaps)
    assert len(set(gaps)) == 5


def test_another_file_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text('[[institution]]\nname = "one"\nkind = "bank"\nlacks = { mcc = 0.5 }\n')
    found = load_institutions(file)
    assert [one.name for one in found.institution] == ["one"]
    assert found.institution[0].lacks == {"mcc": 0.5}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('name = "truth"\nkind = "bank"', "truth"),
        ('name = "A b"\nkind = "bank"', "name"),
        ('name = "a"\nkind = "ngo"', "at least one bank"),
        ('name = "a"\nkind = "bank"\nlacks = { amount_minor = 1.0 }', "mcc"),
        ('name = "a"\nkind = "bank"\nroles = { victim = 1.0 }', "controlled"),
        ('name = "a"\nkind = "bank"\nlives = { nobody = 1.0 }', "salaried"),
        ('name = "a"\nkind = "bank"\nsize = 0', "size"),
        ('name = "a"\nkind = "bank"\nsize = 1.0\nwhat = 1', "what"),
        ('name = "a"\nkind = "bank"\n[[institution]]\nname = "a"\nkind = "ngo"', "twice"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(f"[[institution]]\n{line}\n")
    with pytest.raises(StudyError, match=said):
        load_institutions(file)


def test_twelve_banks_share_more_people_than_five() -> None:
    five, twelve = load_institutions(), load_institutions(federation=WorldFederation.TWELVE)
    assert len(twelve.of("bank")) == 12
    assert len({(tuple(sorted(b.lacks)), b.unseen) for b in twelve.of("bank")}) == 12
    assert (five.at_two_banks, twelve.at_two_banks) == (0.08, 0.22)


def test_equal_banks_are_as_many_as_asked_for_and_attract_everybody_alike() -> None:
    found = equal_banks(30)
    banks = found.of("bank")
    assert [banks[0].name, banks[-1].name, len(banks)] == ["bank-a", "bank-ad", 30]
    alike = {one.model_copy(update={"name": "any"}).model_dump_json() for one in banks}
    assert len(alike) == 1
    assert (banks[0].lacks, banks[0].seen, found.at_two_banks) == ({}, 0.25, 0.0)
    assert found.of("ngo", "hotline") == load_institutions().of("ngo", "hotline")


@pytest.mark.parametrize("count", [0, 703])
def test_no_bank_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"expected 1 to 702 banks, found {count}"):
        equal_banks(count)
