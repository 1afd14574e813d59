"""A study drafted from an unknown file is good without editing, and says what it assumed."""

import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from tests.support.properties import SHARING, examples

from fieldfare.client.drafting.draft import draft_study
from fieldfare.client.records import LoadedRecords, read_records
from fieldfare.shared.errors import RecordsError, StudyError, UsageError
from fieldfare.shared.features.basis import Basis
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature, Scale
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study, parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.published.amlsim import derive_amlsim

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("FIELDFARE_DATA", ROOT / ".." / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data is not at {DATA}")

ROWS = 2000


def unknown_file(path: Path, **columns: Any) -> Path:
    """Write a CSV with a bit of everything that real files hold."""
    random = np.random.default_rng(2)
    amount = random.lognormal(4, 1.5, ROWS).round(2)
    table = {
        "account_id": [f"acc-{i:05d}" for i in random.permutation(ROWS)],
        "opened": [f"2023-0{i % 9 + 1}-1{i % 9}" for i in range(ROWS)],
        "gender": random.choice(["f", "m"], ROWS),
        "amount": np.where(random.random(ROWS) < 0.4, 0, amount),
        "channel": random.choice(["branch", " online", "phone "], ROWS, p=[0.5, 0.3, 0.2]),
        "visits": [*random.integers(0, 5, ROWS - 2), "n/k", "n/k"],
        "balance": random.normal(0, 100, ROWS).round(1),
        "currency": ["EUR"] * ROWS,
        "fraud": (random.random(ROWS) < 0.043).astype(int),
        **columns,
    }
    lines = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    path.write_text("\n".join([",".join(table), *lines]) + "\n")
    return path


def draft(path: Path, label: str = "fraud", **options: Any) -> tuple[Study, str, list[str]]:
    notices: list[str] = []
    text = draft_study(path, label=label, notify=notices.append, **options)
    return parse_study(text), text, notices


def test_an_unknown_file_gives_a_good_study(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "My accounts (v2).csv")
    study, text, notices = draft(path)
    kinds = {feature.name: feature for feature in study.features}
    assert list(kinds) == ["amount", "channel", "visits", "balance"]
    amount, channel, visits = kinds["amount"], kinds["channel"], kinds["visits"]
    assert isinstance(amount, NumericFeature)
    assert (amount.scale, amount.special) == (Scale.LOG1P, (0,))
    assert isinstance(channel, CategoricalFeature)
    assert channel.levels == ("branch", "online", "phone")
    assert isinstance(visits, NumericFeature)
    assert visits.knots == (0, 1, 3, 4)  # of few units
    records = study.records
    assert (records.unit, records.label, records.positive) == ("account_id", "fraud", "1")
    assert "n/k" in records.missing
    assert (records.units, records.prevalence) == (2000, 0.04)
    assert study.evaluation.alert_budget == 0.04
    assert (study.privacy.epsilon, study.privacy.delta) == (1, 1e-5)
    assert study.privacy.collusion_tolerance == 1
    assert study.name == "My-accounts-v2"
    assert "declared public" in text.splitlines()[0]
    assert "declared public" in notices[0]
    for column in ("opened", "gender", "currency"):
        assert sum(line.startswith(f"left out: {column}:") for line in notices) == 1
        assert f"#   {column}: " in text
    assert all("\n" not in notice for notice in notices)
    assert len(read_records([path], study)) == ROWS  # without editing


def test_the_same_sample_gives_the_same_text(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "r.csv")
    assert draft(path)[1] == draft(path)[1]


def test_what_is_said_wins_over_the_sample(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "r.csv", row=range(ROWS), bank=["x", "y"] * (ROWS // 2))
    study, text, _ = draft(
        path, unit="row", exclude=["visits", "balance"], institution_column="bank", epsilon=2.5,
        delta=1e-7, units=123456, prevalence=0.0123, name="mine",
    )  # fmt: skip
    assert [feature.name for feature in study.features] == ["amount", "channel"]
    assert study.records.unit == "row"
    assert (study.records.units, study.records.prevalence) == (123456, 0.0123)
    assert (study.privacy.epsilon, study.privacy.delta, study.name) == (2.5, 1e-7, "mine")
    assert "bank: names the institution" in text
    assert "visits: excluded on request" in text


def test_a_study_of_many_units_gets_a_delta_that_fits_them(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "r.csv")
    assert draft(path, units=41_500)[0].privacy.delta == 2e-6
    with pytest.raises(StudyError, match="units"):
        draft(path, units=0)


@pytest.mark.parametrize(("units", "most"), [(2_000, 4), (200_000, 8)])
def test_how_many_knots_follows_from_the_strength_of_the_signal(
    tmp_path: Path, units: int, most: int
) -> None:
    study, text, _ = draft(unknown_file(tmp_path / "r.csv"), units=units)
    knots = {one.name: len(one.knots) for one in study.features if isinstance(one, NumericFeature)}
    assert max(knots.values()) == most
    weak = PublicNumbers.of(plan_for(study)).strength < 18
    assert (most == 4) == weak
    assert ("whitened" in text) != weak


@pytest.mark.parametrize(("share", "budget"), [(0.001, 0.005), (0.5, 0.2)])
def test_the_alert_budget_stays_in_reason(tmp_path: Path, share: float, budget: float) -> None:
    study, _, _ = draft(unknown_file(tmp_path / "r.csv"), prevalence=share)
    assert study.evaluation.alert_budget == budget


LABELS: dict[str, tuple[list[str], str]] = {
    "numbers": (["1", "0", "0"], "1"),
    "decimals": (["1.0", "0.0", "0.0"], "1"),
    "truth values": (["True", "False", "False"], "1"),
    "rarer of two": (["spam", "ham", "ham"], "spam"),
    "rarer of two numbers": (["1", "2", "1"], "2"),
    "counts": (["0", "1", "2", "4"], "> 0"),
}


@pytest.mark.parametrize("case", LABELS)
def test_default_positive(tmp_path: Path, case: str) -> None:
    values, positive = LABELS[case]
    labels = (values * ROWS)[:ROWS]
    path = unknown_file(tmp_path / "r.csv", fraud=labels)
    study, _, _ = draft(path)
    assert study.records.positive == positive
    expected = sum(label not in {"0", "0.0", "False", "ham"} for label in labels)
    if case == "rarer of two numbers":
        expected = labels.count("2")
    assert read_records([path], study).data.labels.sum() == expected


def test_unclear_labels_need_a_word(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "r.csv", fraud=(["a", "b", "c"] * ROWS)[:ROWS])
    with pytest.raises(UsageError, match="expected --positive, because the label has 3"):
        draft(path)
    assert draft(path, positive="b")[0].records.prevalence == 0.33
    for positive, message in (("z", "no positive labels"), ("> 0", "expected numbers")):
        with pytest.raises(UsageError, match=message):
            draft(path, positive=positive)


def test_one_class_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no positive labels"):
        draft(unknown_file(tmp_path / "r.csv", fraud=[0] * ROWS))
    with pytest.raises(UsageError, match="only positive labels"):
        draft(unknown_file(tmp_path / "r.csv", fraud=[1] * ROWS))
    with pytest.raises(UsageError, match="found none"):
        draft(unknown_file(tmp_path / "r.csv", fraud=["?"] * ROWS))


def test_rows_without_a_label_are_told(tmp_path: Path) -> None:
    _, _, notices = draft(unknown_file(tmp_path / "r.csv", fraud=["1", "0", "", "NA"] * 500))
    assert any("1000 rows without one" in notice for notice in notices)


def test_units(tmp_path: Path) -> None:
    repeated = [i // 2 for i in range(ROWS)]
    path = unknown_file(tmp_path / "r.csv", account_id=repeated)
    study, _, notices = draft(path)
    assert study.records.unit is None
    assert any("can be simulated and not deployed" in notice for notice in notices)
    with pytest.raises(RecordsError, match="one row per unit"):
        draft(path, unit="account_id")
    # Known to two banks is no repetition: the roster's multiplicity speaks of that.
    bank = [i % 2 for i in range(ROWS)]
    study, _, _ = draft(unknown_file(tmp_path / "b.csv", account_id=repeated, institution=bank))
    assert study.records.unit == "account_id"
    assert "institution" not in {feature.name for feature in study.features}


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "r.csv")
    with pytest.raises(UsageError, match="expected column Fraud, found none; near: fraud"):
        draft(path, label="Fraud")
    for option in ({"unit": "uid"}, {"exclude": ["uid"]}, {"institution_column": "uid"}):
        with pytest.raises(UsageError, match="expected column uid"):
            draft(path, **option)
    with pytest.raises(UsageError, match="at least one file"):
        draft_study([], label="x")


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("gender,fraud\nf,1\nm,0\n")
    with pytest.raises(RecordsError, match="that can be a feature") as caught:
        draft(path)
    assert "left out: gender: a protected attribute" in str(caught.value)


def test_terms_out_of_range_are_named(tmp_path: Path) -> None:
    path = unknown_file(tmp_path / "r.csv")
    with pytest.raises(StudyError, match=r"privacy\.epsilon"):
        draft(path, epsilon=-1)
    with pytest.raises(StudyError, match=r"records\.prevalence"):
        draft(path, prevalence=1.5)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = texts.filter(lambda name: "\0" not in name)


@given(
    names=st.lists(names, min_size=2, max_size=4, unique_by=str.casefold),
    levels=st.lists(texts, min_size=2, max_size=4, unique=True),
)
@settings(SHARING, max_examples=examples(8, 25))
def test_any_names_and_levels_give_valid_toml(
    tmp_path: Path, names: list[str], levels: list[str]
) -> None:
    columns = dict.fromkeys(names, (levels * 30)[:60])
    columns["the label"] = ["1", "0"] * 30
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({**columns, "x": list(range(30)) * 2}), path)
    study, text, _ = draft(path, label="the label")
    assert tomllib.loads(text)["records"]["label"] == "the label"
    assert len(read_records([path], study)) == 60


def test_names_and_levels_that_cannot_be_seen_stay_out_of_a_draft(tmp_path: Path) -> None:
    """They ended a draft with a message of pydantic's, or as "numbers too close together"."""
    columns: dict[str, list[Any]] = {
        "am\x1bount": list(range(60)), "cit\u202ey": ["a", "b"] * 30,
        "channel": ["web", "pho\x1bne", "shop"] * 20, "gone": ["\x1b", "\u202e"] * 30,
        "fraud": [1, 0, 0] * 20,
    }  # fmt: skip
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table(columns), path)
    study, text, notices = draft(path)
    (channel,) = study.features
    assert isinstance(channel, CategoricalFeature)
    assert channel.levels == ("shop", "web")
    left = [line for line in notices if line.startswith("left out: ")]
    assert ["signs that cannot be seen" in line for line in left] == [True] * 3
    assert all(line.isprintable() for line in text.splitlines())
    assert len(read_records([path], study)) == 60


def central(study: Study, records: LoadedRecords) -> tuple[float, float]:
    """AUROC and average precision of the pooled model without privacy, 80/20."""
    basis = Basis(study.features)
    parts = zip(basis.folds, records.data.positions, strict=True)
    inputs = np.hstack([fold[column] / 256 for fold, column in parts])
    split = train_test_split(
        inputs, records.data.labels, test_size=0.2, random_state=0, stratify=records.data.labels
    )
    model = LogisticRegression(solver="newton-cholesky").fit(split[0], split[2])
    scores = model.decision_function(split[1])
    return roc_auc_score(split[3], scores), average_precision_score(split[3], scores)


HOSPITALS = [f"processed.{name}.data" for name in ("cleveland", "hungarian", "switzerland", "va")]


@pytest.mark.promises
@needs_data
def test_accounts_of_six_banks(tmp_path: Path) -> None:
    """Known answer (pooled logistic regression on binned features): about .88/.75."""
    accounts = tmp_path / "accounts.parquet"
    derive_amlsim(DATA / "amlsim", accounts)
    study = load_study(ROOT / "studies" / "amlsim.toml")
    records = read_records([accounts], study, institution_column="institution")
    assert not any(records.counts.clamped.values())
    area, precision = central(study, records)
    assert area > 0.885
    assert precision > 0.74
    drafted, _, _ = draft(accounts, label="label")
    assert drafted.features == study.features
    assert drafted.records == study.records


@pytest.mark.promises
@needs_data
def test_four_hospitals() -> None:
    """Known answer: .890/.900."""
    study = load_study(ROOT / "studies" / "heart.toml")
    paths = [DATA / "heart" / name for name in HOSPITALS]
    records = read_records(paths, study)
    assert (len(records), int(records.data.labels.sum())) == (920, 509)
    area, precision = central(study, records)
    assert area > 0.88
    assert precision > 0.89
    drafted = parse_study(draft_study(paths, label="target", delta=1e-3))
    assert drafted.features == study.features


@pytest.mark.promises
@needs_data
def test_a_census() -> None:
    """Known answer with every column: .90/.75; age, sex, race and country stay out here."""
    path = DATA / "adult" / "adult.csv.gz"
    study, _, _ = draft(path, label="income-per-year", positive=">50K")
    names = {feature.name for feature in study.features}
    assert not names & {"age", "sex", "race", "native-country"}
    area, precision = central(study, read_records([path], study))
    assert area > 0.895
    assert precision > 0.76


def wide_file(path: Path, columns: int, rows: int) -> Path:
    random = np.random.default_rng(0)
    labels = random.uniform(size=rows) < 0.3
    lines = [",".join(["id", "fraud", *(f"c{i}" for i in range(columns))])]
    for row in range(rows):
        values = random.normal(100, 30, columns)
        lines.append(f"u{row},{labels[row]:d}," + ",".join(f"{value:.3f}" for value in values))
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.promises
def test_a_sample_of_hundreds_of_columns_is_drafted(tmp_path: Path) -> None:
    """Sixty were "damaged content": the engine ran out of memory and said so in no word."""
    text = draft_study(wide_file(tmp_path / "w.csv", 400, 200), label="fraud")
    assert len(parse_study(text).features) == 400


def people_file(path: Path, **columns: list[object]) -> Path:
    random = np.random.default_rng(0)
    fraud = random.uniform(size=ROWS) < 0.2
    given = ["Maria", "John", "Fatima", "Wei", "Priya", "Hans", "Olga", "Zoltan", "Ayo", "Kiri"]
    table: dict[str, list[object]] = {
        "fraud": [int(one) for one in fraud],
        "amount": random.uniform(1, 900, ROWS).round(2).tolist(),
        "first_name": random.choice(given, ROWS).tolist(),
        "whose": random.choice([f"{name.upper()} B." for name in given], ROWS).tolist(),
        "CustomerName": random.choice(["a", "b", "c"], ROWS).tolist(),
        "reference": (random.permutation(ROWS) * 3 + 4_000_000).tolist(),
        "balance": np.exp(random.normal(8, 2, ROWS)).astype(int).tolist(),
        "city": random.choice(["Berlin", "Madrid", "Lagos", "Pune", "Lima", "Oslo"], ROWS).tolist(),
        "outcome": ["closed" if one else "" for one in fraud],
        "checked_days": [float(5 + 90 * one) for one in fraud],
        **columns,
    }
    names = list(table)
    rows = (",".join(map(str, row)) for row in zip(*table.values(), strict=True))
    path.write_text("\n".join([",".join(names), *rows, ""]))
    return path


def test_names_of_people_and_identifiers_are_left_out_unless_kept(tmp_path: Path) -> None:
    """First and last names were drafted as published levels."""
    path = people_file(tmp_path / "r.csv")
    study, text, notices = draft(path)
    kept = {feature.name for feature in study.features}
    assert kept == {"amount", "balance", "city", "outcome", "checked_days"}
    for column, why in (
        ("first_name", "names of people, by its name"),
        ("whose", "names of people, by what it"),
        ("CustomerName", "names of people, by its name"),
        ("reference", "nearly unique whole"),
    ):
        assert f"#   {column}: {why}" in text
        assert any(line.startswith(f"left out: {column}: {why}") for line in notices)
    assert "Maria" not in text
    study, _, _ = draft(path, keep=["whose", "reference"])
    assert {feature.name for feature in study.features} == kept | {"whose", "reference"}
    with pytest.raises(UsageError, match="expected column who, found none"):
        draft(path, keep=["who"])


def test_what_predicts_the_label_almost_alone_is_marked_loudly(tmp_path: Path) -> None:
    """A word that is there for cases alone, and a number that jumps for them."""
    path = people_file(tmp_path / "r.csv")
    _, text, notices = draft(path)
    loud = [line for line in notices if line.startswith("LOOK: ")]
    assert [line.split(": ")[1] for line in loud] == ["outcome", "checked_days"]
    assert notices[-2:] == loud  # said last: it is what stays on the screen
    assert "predicts the label almost alone (AUROC 1.000 in the sample)" in loud[0]
    head, tables = text.split("format = 1")
    assert "# LOOK at outcome below" in head
    assert text.count("# LOOK: this predicts the label almost alone") == 2
    assert "LOOK" in tables.split('name = "outcome"')[0].split("[[features]]")[-1]
    _, text, _ = draft(path, exclude=["outcome", "checked_days"])
    assert "LOOK" not in text


def test_many_rare_values_do_not_look_like_knowledge_of_the_label(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    codes = [f"k{code}" for code in random.integers(0, ROWS // 3, ROWS)]
    path = people_file(tmp_path / "r.csv", code=list(codes))
    _, _, notices = draft(path, keep=["code"], exclude=["outcome", "checked_days"])
    assert not [line for line in notices if line.startswith("LOOK")]
