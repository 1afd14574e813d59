"""Columns that could be computed are suggested as comments, which a person accepts one by one."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.drafting.draft import draft_study
from fieldfare.client.records import read_records
from fieldfare.shared.features.features import NumericFeature, Scale
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

ROWS = 600
RANDOM = np.random.default_rng(8)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
PAID = [FIRST + timedelta(hours=float(hours)) for hours in RANDOM.uniform(0, 900, ROWS)]
BALANCE = RANDOM.lognormal(7, 1, ROWS).round(2)


def before(scale: float) -> list[datetime]:
    gaps = RANDOM.exponential(scale, ROWS)
    return [one - timedelta(hours=float(gap)) for one, gap in zip(PAID, gaps, strict=True)]


COLUMNS: dict[str, Any] = {
    "opened": [one.date() for one in before(20_000)],
    "changed": before(20),
    "paid": PAID,
    "amount": (BALANCE * RANDOM.beta(1, 4, ROWS)).round(2),
    "balance": BALANCE,
    "lat": RANDOM.uniform(40, 50, ROWS),
    "lon": RANDOM.uniform(0, 10, ROWS),
    "shop_lat": RANDOM.uniform(40, 50, ROWS),
    "shop_lon": RANDOM.uniform(0, 10, ROWS),
    "visits": RANDOM.integers(0, 50, ROWS),
    "account_type": RANDOM.choice(["personal", "business"], ROWS),
}


def drafted(tmp_path: Path, *names: str, **more: Any) -> str:
    columns = {name: COLUMNS[name] for name in names} | more
    label = (RANDOM.random(ROWS) < 0.1).astype(int)
    ids = [f"u{row:04d}" for row in range(ROWS)]
    pq.write_table(pa.table({"unit": ids, **columns, "label": label}), tmp_path / "s.parquet")
    return draft_study(tmp_path / "s.parquet", label="label", unit="unit")


def accepted(text: str) -> Study:
    """Take the comment signs of every suggestion away."""
    start = text.index("# Suggested")
    lines = text[start:].split("# [[features]]")[1:]
    blocks = ["[[features]]" + re.split(r"\n#\n", block)[0] for block in lines]
    bare = [re.sub(r"(?m)^# ", "", block) for block in blocks]
    return parse_study(text[:start].rstrip("#\n") + "\n\n" + "\n\n".join(bare))


def computed(text: str) -> dict[str, str]:
    return dict(accepted(text).computed)


def test_times_that_follow_each_other_have_a_time_between(tmp_path: Path) -> None:
    found = computed(drafted(tmp_path, "changed", "paid", "visits"))
    assert found == {"changed_to_paid_hours": "hours from changed to paid"}


def test_a_time_between_has_its_knots_where_hours_begin(tmp_path: Path) -> None:
    """Half of the rows lie weeks apart: what begins at hours would be one knot of days."""
    gaps = np.where(RANDOM.random(ROWS) < 0.5, RANDOM.exponential(9, ROWS), 24 * 40.0)
    last = [one - timedelta(hours=float(gap)) for one, gap in zip(PAID, gaps, strict=True)]
    study = accepted(drafted(tmp_path, "paid", "visits", last_login=last))
    (since,) = (one for one in study.features if isinstance(one, NumericFeature) and one.derived)
    assert since.name == "last_login_to_paid_hours"
    assert (since.scale, since.lower < 1) == (Scale.LOG1P, True)
    assert sum(knot < 24 for knot in since.knots) >= 2


def test_whole_days_stay_days(tmp_path: Path) -> None:
    first = [FIRST.date() + timedelta(days=int(day)) for day in RANDOM.integers(0, 90, ROWS)]
    later = [
        one + timedelta(days=int(day))
        for one, day in zip(first, RANDOM.integers(0, 9, ROWS), strict=True)
    ]
    found = computed(drafted(tmp_path, "visits", ordered=first, sent=later))
    assert found == {"ordered_to_sent_days": "days from ordered to sent"}


def test_an_amount_is_put_beside_what_is_usual(tmp_path: Path) -> None:
    usual = BALANCE / 7
    found = computed(drafted(tmp_path, "amount", "visits", usual_amount=usual))
    assert found == {"amount_by_usual_amount": "amount divided by usual_amount"}


def test_what_was_opened_has_an_age(tmp_path: Path) -> None:
    found = computed(drafted(tmp_path, "opened", "paid", "visits"))
    assert found == {"opened_to_paid_days": "whole days from opened to paid"}


def test_two_positions_have_a_distance(tmp_path: Path) -> None:
    found = computed(drafted(tmp_path, "lat", "lon", "shop_lat", "shop_lon"))
    assert found == {"here_to_shop_km": "kilometres from (lat, lon) to (shop_lat, shop_lon)"}


def test_an_amount_is_a_share_of_a_whole(tmp_path: Path) -> None:
    found = computed(drafted(tmp_path, "amount", "balance"))
    assert found == {"amount_by_balance": "amount divided by balance"}


def test_all_that_is_suggested_is_a_valid_study_that_reads_the_sample(tmp_path: Path) -> None:
    text = drafted(tmp_path, *COLUMNS)
    study = accepted(text)
    assert len(study.computed) >= 5
    records = read_records([tmp_path / "s.parquet"], study, whole=True)
    assert len(records.units) == ROWS
    derived = [one for one in study.features if isinstance(one, NumericFeature) and one.derived]
    assert all(len(one.knots) > 1 for one in derived)


def test_nothing_is_in_the_study_until_a_person_accepts_it(tmp_path: Path) -> None:
    text = drafted(tmp_path, *COLUMNS)
    assert not parse_study(text).computed
    assert "Suggested: columns that are computed" in text


def test_levels_of_a_kind_are_suggested_for_curves(tmp_path: Path) -> None:
    text = drafted(tmp_path, "amount", "account_type")
    assert '#     by = "account_type"' in text
    assert "by =" not in drafted(tmp_path, "amount", "visits")


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (("visits",), {}),
        (("lat", "lon", "visits"), {}),
        (("paid", "visits"), {"birth_date": COLUMNS["opened"]}),
        (("visits",), {"amount": COLUMNS["amount"], "shop_balance": BALANCE}),
        (("visits",), {"one": PAID, "other": PAID}),
    ],
    ids=["nothing raw", "one position", "protected", "of another thing", "the same time"],
)
def test_where_nothing_can_be_computed_nothing_is_suggested(
    tmp_path: Path, names: tuple[str, ...], more: dict[str, Any]
) -> None:
    assert "Suggested" not in drafted(tmp_path, *names, **more)


def test_what_was_excluded_is_no_source(tmp_path: Path) -> None:
    drafted(tmp_path, "amount", "balance", "visits")
    text = draft_study(tmp_path / "s.parquet", label="label", unit="unit", exclude=["balance"])
    assert "Suggested" not in text
