"""Files: one folder for each institution, the truth apart, the same bytes again."""

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.client.typologies.extract import open_extract
from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.making import Society, WorldPlan, make_society
from fieldfare.simulations.world.writing import begun_of, possible_victims, salt_of, write_world


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_the_same_plan_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 9), ("two", 9), ("three", 10)):
        write_world(WorldPlan.of(people=800, months=1, seed=seed, prevalence=0.03), tmp_path / name)
    one, two, three = (digests(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one.keys() == three.keys()
    assert all(one[n] != three[n] for n in one if "transactions" in n or "customers" in n)


def test_each_institution_has_its_folder_and_the_truth_one_of_its_own(written: Written) -> None:
    bank = {"transactions", "accounts", "customers", "labels"}
    expected = {f"{name}/{file}.parquet" for name in ("bank-a", "remittance-f") for file in bank}
    expected |= {f"{name}/cases.parquet" for name in ("ngo-g", "ngo-h")}
    expected |= {"hotline-i/signals.parquet", "world.json"}
    truth = ("customers", "rings", "cases", "signals", "transactions")
    expected |= {f"truth/{name}.parquet" for name in truth}
    assert expected <= set(digests(written.folder))


@pytest.mark.parametrize("name", ["bank-a", "bank-e", "remittance-f"])
def test_indicators_can_be_computed_from_a_folder(written: Written, name: str) -> None:
    with open_extract(written.folder / name, date(2025, 2, 28)) as extract:
        assert extract.units == written.read(f"{name}/customers").num_rows


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="empty or new folder"):
        write_world(WorldPlan.of(people=800, months=1, seed=0), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_transactions_that_serve_a_ring_are_known_to_the_truth_only(written: Written) -> None:
    served = written.read("truth/transactions")
    ids = set(served["txn_id"].to_pylist())
    assert len(ids) == served.num_rows > 0
    assert ids & set(written.read("bank-a/transactions")["txn_id"].to_pylist())


def test_salts_differ_by_institution_and_seed(written: Written) -> None:
    plan = written.society.plan
    other = WorldPlan.of(people=800, months=1, seed=plan.seed + 1)
    assert len({salt_of(p, place) for p in (plan, other) for place in range(9)}) == 18


def test_only_accounts_that_serve_a_ring_have_begun(written: Written) -> None:
    society = written.society
    assert (~np.isnan(begun_of(society)) == society.labels).all()
    assert 0 < possible_victims(society).size < society.rings.customer.size


@pytest.mark.parametrize("there", [False, True])
def test_whatever_ends_it_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    out, plan = tmp_path / "world", WorldPlan.of(people=800, months=1, seed=0)
    if there:
        out.mkdir()

    def stopped(*_: object, **__: object) -> None:
        assert (out / "truth" / "customers.parquet").is_file()  # it was well on its way
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fieldfare.simulations.world.writing.marginals", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_world(plan, out)
    assert out.exists() is there
    assert not there or not any(out.iterdir())
    assert write_world(plan, out)["institutions"]


def test_what_came_into_the_folder_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "world", WorldPlan.of(people=800, months=1, seed=0)

    def slow(wanted: WorldPlan) -> Society:
        out.mkdir()
        (out / "theirs").write_text("of another command")
        return make_society(wanted)

    monkeypatch.setattr("fieldfare.simulations.world.writing.make_society", slow)
    with pytest.raises(UsageError, match="expected an empty or new folder"):
        write_world(plan, out)
    assert [path.name for path in out.iterdir()] == ["theirs"]
