"""The truth: it fits the institutions' files, and stands in none of them."""

import pyarrow.compute as pc
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.simulations.world.observed import customer_truth, ring_truth
from fieldfare.simulations.world.personas import LOOK_ALIKES
from fieldfare.simulations.world.writing import books_of

LATENT = {"ring", "scenario", "label", "persona", "role", "party_role", "person"}


def test_every_customer_stands_there_once_under_the_institution_s_name(written: Written) -> None:
    truth = written.read("truth/customers")
    plan = written.society.plan
    books = [books_of(plan, holder) for holder in range(len(plan.holders))]
    assert truth.equals(customer_truth(written.society, books))
    for name in {*truth["institution"].to_pylist()}:
        ids = truth.filter(pc.field("institution") == name)["customer_id"]
        assert ids.to_pylist() == written.read(f"{name}/customers")["customer_id"].to_pylist()


def test_harm_rule_1_who_may_be_a_victim_is_marked_as_one(written: Written) -> None:
    truth = written.read("truth/customers").filter(pc.field("label") == 1).to_pylist()
    for row in truth:
        victim = row["role"] in {"controlled", "worker"}
        assert (row["party_role"] == "potential_victim") == victim
    assert any(row["party_role"] == "potential_victim" for row in truth)


def test_harm_rule_5_look_alikes_are_labelled_negatives(written: Written) -> None:
    truth = written.read("truth/customers")
    alike = truth.filter(pc.field("look_alike"))
    assert alike.num_rows > 0
    assert pc.max(alike["label"]).as_py() == 0
    assert set(alike["persona"].to_pylist()) == {p.name for p in LOOK_ALIKES}


def test_rings_count_their_accounts_and_institutions(written: Written) -> None:
    rings = written.read("truth/rings")
    assert rings.equals(ring_truth(written.society))
    assert pc.sum(rings["accounts"]).as_py() == written.society.rings.customer.size
    assert pc.mean(rings["institutions"]).as_py() > 2


def test_links_of_cases_and_calls_lead_to_what_there_is(written: Written) -> None:
    truth = written.read("truth/customers")
    known = set(
        zip(truth["institution"].to_pylist(), truth["customer_id"].to_pylist(), strict=True)
    )
    cases = written.read("truth/cases").to_pylist()
    linked = [row for row in cases if row["ring"] is not None]
    assert 0 < len(linked) < len(cases) / 2
    assert all((r["customer_institution"], r["customer_id"]) in known for r in linked)
    ids = {(row["institution"], row["case_id"]) for row in cases}
    calls = [row for row in written.read("truth/signals").to_pylist() if row["case_id"]]
    assert calls
    assert all((row["case_institution"], row["case_id"]) in ids for row in calls)


@pytest.mark.parametrize(
    "name", ["bank-a/customers", "bank-a/transactions", "bank-a/accounts", "ngo-g/cases"]
)
def test_no_institution_holds_any_of_it(written: Written, name: str) -> None:
    assert not LATENT & set(written.read(name).column_names)
