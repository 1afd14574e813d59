"""Groups that an institution leaves out: in a real home, of its queue and of nothing else."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    all_bytes,
    clock,
    loaded,
)
from tests.support.homes.journals import logged
from tests.support.records.scored import Analyst, analyst_of, customers
from tests.support.runs.finished import RUN

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.home.settings import HomeSettings, load_settings
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.evaluate import SHARED, evaluate, local_labels
from fieldfare.client.model_use.score import ScoringOutcome, Sources, score
from fieldfare.client.model_use.usable import usable_model
from fieldfare.client.scoring.exclusion import members_by_column
from fieldfare.client.scoring.selection import ExcludedGroup
from fieldfare.client.scoring.units import ScorableUnits
from fieldfare.shared.errors import FieldfareError, StudyError
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.toml import parse_toml

BY_COLUMN = '[[alerts.excluded]]\nname = "in care"\ncolumn = "group"\nlevels = ["x"]\n'
BY_FILE = '[[alerts.excluded]]\nname = "partner"\nfile = "partner.csv"\n'
IN_X = {n for n, g in zip(*(customers(300)[c] for c in ("customer", "group")), strict=True)
        if g == "x"}  # fmt: skip


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=300)


def scored(analyst: Analyst, name: str) -> ScoringOutcome:
    institution = analyst.coordinator.institution()
    return score(
        institution, Journal.open(institution.home.log_folder, clock=clock),
        usable_model(institution, RUN), Sources(), analyst.folder / f"{name}.parquet",
        budget=20, user="ana", now=NOW, random=np.random.default_rng(1), environment={},
    )  # fmt: skip


def exclude(analyst: Analyst, rules: str) -> None:
    text = analyst.home.settings.read_text()
    analyst.home.settings.write_text(f"{text}\n{rules}")


def shown(analyst: Analyst) -> set[str]:
    queue = open_queue(analyst.home.path)
    with queue.store() as store:
        hidden = queue.hidden(store)
        return {kept.alert.unit for kept in store.all()} - hidden


def partner(analyst: Analyst, *units: str, mode: int = 0o600) -> None:
    path = analyst.folder / "partner.csv"
    path.write_text("unit,reason\n" + "".join(f"{one},in care\n" for one in units))
    path.chmod(mode)


def test_a_column_of_own_records_leaves_a_group_out(analyst: Analyst) -> None:
    before = scored(analyst, "a")
    assert {alert.unit for alert in before.alerts} & IN_X
    exclude(analyst, BY_COLUMN)
    found = scored(analyst, "b")
    assert found.excluded == {"in care": len(IN_X)}
    assert found.ranking.suppressed == len(IN_X)
    assert not {alert.unit for alert in found.alerts} & IN_X
    assert not set(pq.read_table(analyst.folder / "b.parquet")["unit"].to_pylist()) & IN_X
    # Alerts from before the group was named are shown to nobody either.
    assert not shown(analyst) & IN_X
    assert shown(analyst)


def test_a_partners_list_counts_at_once_and_beside_the_suppression_list(analyst: Analyst) -> None:
    first, second = (alert.unit for alert in scored(analyst, "a").alerts[:2])
    analyst.home.suppression.write_text(f"unit,reason\n{second},recovery\n")
    analyst.home.suppression.chmod(0o600)
    partner(analyst, first, "stranger")
    exclude(analyst, BY_FILE)
    assert not shown(analyst) & {first, second}  # before the next scoring
    found = scored(analyst, "b")
    assert found.excluded == {"suppression list": 1, "partner": 1}
    assert found.ranking.suppressed == 2


def test_the_log_names_the_groups_and_nobody_in_them(analyst: Analyst) -> None:
    unit = scored(analyst, "a").alerts[0].unit
    partner(analyst, unit)
    exclude(analyst, BY_COLUMN + BY_FILE)
    scored(analyst, "b")
    details = logged(analyst.home.log_folder)[-1]["details"]
    assert details["rule"] == "excluded: in care, partner"
    assert unit not in str(logged(analyst.home.log_folder))
    for file in (analyst.home.log, analyst.home.ledger):
        assert unit.encode() not in file.read_bytes()
    assert all_bytes(analyst.home)


def test_what_the_custodian_sums_does_not_change(analyst: Analyst, custody_of: OpenCustody) -> None:
    """Who is excluded decides no answer to the outside."""
    before = loaded(custody_of(NAMES[0]), analyst.study)
    exclude(analyst, BY_COLUMN)
    after = loaded(custody_of(NAMES[0]), analyst.study)
    assert (before.units, before.rows, before.zero) == (after.units, after.rows, after.zero)
    at = np.random.default_rng(0).normal(size=before.sums.gradients.entries)
    one, two = (one.sums.vector(ReleaseKind.TRAINING, at) for one in (before, after))
    assert one.tolist() == two.tolist()
    assert one.any()


def test_what_cannot_be_read_stops_the_scoring(analyst: Analyst) -> None:
    exclude(analyst, BY_COLUMN.replace('"group"', '"care"'))
    with pytest.raises(FieldfareError, match="care"):
        scored(analyst, "a")


def test_a_list_that_others_can_read_or_that_is_not_there_stops_it(analyst: Analyst) -> None:
    exclude(analyst, BY_FILE)
    with pytest.raises(FieldfareError, match="partner"):
        scored(analyst, "a")
    partner(analyst, "n00001", mode=0o644)
    with pytest.raises(FieldfareError, match="chmod 600"):
        scored(analyst, "a")


def test_the_price_of_a_group_is_said_in_recall(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    # A home's own key says who is held out: of 300 customers one home in twenty has too few cases.
    analyst = analyst_of(coordinator, custody_of, capsys, units=1500)
    exclude(analyst, BY_COLUMN)
    institution = analyst.coordinator.institution()
    labels = local_labels(institution, analyst.study, Sources(), {}, ["group"])
    found = evaluate(institution, usable_model(institution, RUN), labels, budget=60, seed=0)
    (price,) = found.excluded
    held = labels.groups["group"] == "x"
    assert (price.name, price.units) == ("in care", int(held.sum()))
    assert price.positives == int(labels.holdout.labels[held].sum())
    rest = found.positives - price.positives  # 1 - 5 / 12 is less than 7 / 12 by a rounding
    assert price.recall <= min(price.without, rest / found.positives)
    assert found.qualities[SHARED].recall.value == price.recall
    by_name = {one.name: one for one in found.groups["group"]}
    assert by_name["x"].alerts == 0 < by_name["y"].alerts


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (BY_COLUMN.replace('"group"', '"nationality"'), "harm rule 4"),
        (BY_COLUMN.replace('levels = ["x"]\n', ""), "either column and levels, or file"),
        (BY_COLUMN + 'file = "partner.csv"\n', "either column and levels, or file"),
        ('[[alerts.excluded]]\nname = "nobody"\n', "either column and levels, or file"),
        (BY_COLUMN.replace('["x"]', '[" x"]'), "without spaces around"),
        (BY_FILE.replace("partner", "suppression list", 1), "a list of its own"),
        (BY_FILE + BY_FILE, "found one twice"),
    ],
)
def test_harm_rule_4_what_people_are_excludes_nobody(rules: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        parse_toml(f'format = 1\nid = "a"\n{rules}', HomeSettings, "institution.toml")


def test_spaces_around_a_value_leave_nobody_of_the_group_in() -> None:
    units = pa.array(["a", "b", "c", "d"])
    everyone = ScorableUnits(
        units, np.zeros((1, 4), np.uint16), np.zeros((1, 4), np.float32), np.zeros(4, np.int8),
        {"care": pa.array(["x", " x ", None, "xx"])},
    )  # fmt: skip
    group = ExcludedGroup(name="in care", column="care", levels=("x",))
    assert members_by_column([group], everyone) == {"in care": {"a", "b"}}


def test_groups_are_read_as_they_stand(analyst: Analyst) -> None:
    exclude(analyst, BY_COLUMN + BY_FILE)
    care, listed = load_settings(analyst.home).alerts.excluded
    assert (care.column, care.levels) == ("group", ("x",))
    assert (listed.file, listed.column) == ("partner.csv", "")
