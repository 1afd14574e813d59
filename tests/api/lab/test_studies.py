"""Studies in Python: from TOML, from keywords, drafted without a look at private rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fieldfare
from fieldfare.shared.study.toml import toml_data

PUBLIC: dict[str, Any] = {"units": 600, "prevalence": 0.1, "label": "fraud"}


def table(seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "id": [f"c{row}" for row in range(200)],
            "amount": random.gamma(2, 100 * (seed + 1), 200),
            "channel": random.choice(["web", "app"], 200),
            "night": random.random(200) < 0.5,
            "opened": ["2024-01-01"] * 200,
            "gender": random.choice(["f", "m"], 200),
            "fraud": (random.random(200) < 0.3).astype(int),
        }
    )


def given(data: Any, **more: Any) -> fieldfare.Study:
    settings = {"bounds": {"amount": (0, 5000)}, "levels": {"channel": ["web", "app"]}}
    return fieldfare.Study.draft(data, **PUBLIC | settings | more)


def test_a_draft_of_bounds_reads_no_row() -> None:
    one, other = given(table()), given(table(seed=3))
    assert one.toml == other.toml
    assert one.features == ["amount", "channel", "night"]
    assert "no row was read" in one.assumed[0]
    assert any("600 units" in line for line in one.assumed)
    assert any(line.startswith("left out: gender: a protected") for line in one.assumed)
    assert any(line.startswith("left out: opened: no bounds") for line in one.assumed)


def test_what_is_given_goes_before_what_a_sample_says() -> None:
    study = given(table(), public_sample=True, units=None, prevalence=None)
    amount = study.agreed.features[0]
    assert (amount.name, amount.kind) == ("amount", "numeric")
    assert amount.model_dump()["upper"] == 5000
    assert study.agreed.records.unit == "id"
    assert "declared public" in study.assumed[0]


def test_notices_are_in_pythons_words() -> None:
    study = fieldfare.Study.draft(table().drop(["id"]), label="fraud", public_sample=True)
    assert any("; unit=COL names one" in line for line in study.assumed)
    assert not any("--" in line for line in study.assumed)


def test_knots_stand_on_the_scale_that_was_named() -> None:
    even, log = (
        given(table(), log=log).agreed.features[0].model_dump() for log in ((), ["amount"])
    )
    assert np.ptp(np.diff(even["knots"])) < 5
    assert np.ptp(np.diff(np.log1p(log["knots"]))) < 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bounds": None, "levels": None}, "expected bounds or levels.*found neither.*amount"),
        ({"units": None}, "expected units, found none"),
        ({"prevalence": None}, "expected prevalence, found none"),
        ({"bounds": {"amuont": (0, 1)}}, "expected column amuont, found none; near: amount"),
        ({"bounds": {"amount": (5, 1)}}, "amount: expected bounds as two numbers"),
        ({"bounds": {"amount": "x"}}, "amount: expected bounds as two numbers"),
        ({"bounds": {"channel": (0, 1)}}, "channel: expected bounds or levels, found both"),
        ({"levels": {"gender": ["f", "m"]}}, "gender: expected no input, found a protected"),
        ({"log": ["channel"]}, "log: expected columns with bounds, found channel"),
        ({"label": "nothing"}, "expected column nothing, found none"),
        ({"label": "id"}, "expected positive, because labels under id are texts.*found none"),
        ({"levels": {"channel": "web"}}, "channel: expected levels as a list of texts, found one"),
        ({"public_sample": True, "positive": "z"}, '^positive="z": expected two classes'),
        ({"public_sample": True, "positive": "> 0", "label": "id"}, '^positive="> 0": expected nu'),
        ({"public_sample": True, "label": "amount"}, '^expected positive, .* positive="VALUE" or'),
        (
            {"public_sample": True, "bounds": {"amuont": (0, 1)}},
            "expected column amuont, found none; near: amount",
        ),
    ],
)
def test_mistakes_are_said(options: dict[str, Any], said: str) -> None:
    settings = {"bounds": {"amount": (0, 5)}, "levels": {"channel": ["web"]}}
    with pytest.raises(fieldfare.UsageError, match=said):
        fieldfare.Study.draft(table(), **PUBLIC | settings | options)


def test_nothing_is_no_frame() -> None:
    with pytest.raises(fieldfare.UsageError, match="expected a frame with columns, found an empty"):
        given({})


def test_labels_that_are_texts_are_named() -> None:
    study = given(table(), label="channel", levels={}, positive="web")
    assert study.agreed.records.positive == "web"


def test_a_study_goes_through_toml_and_keywords_unchanged(tmp_path: Path) -> None:
    study = given(table())
    path = tmp_path / "study.toml"
    path.write_text(study.toml)
    found = [fieldfare.Study.from_toml(one) for one in (path, str(path), study.toml)]
    assert {one.id for one in found} == {study.id}
    whole = study.agreed.model_dump(mode="json")
    assert fieldfare.Study.of(**whole).id == study.id


def test_changes_keep_the_rest() -> None:
    study = given(table())
    changed = study.with_(privacy={"epsilon": 3.0}, name="other")
    assert (changed.epsilon, changed.name) == (3.0, "other")
    assert changed.agreed.privacy.delta == study.agreed.privacy.delta
    assert study.epsilon == 1.0


def test_a_changed_draft_says_what_is_its_own_no_more() -> None:
    study = given(table())
    left_out = [line for line in study.assumed if line.startswith("left out")]
    costlier = study.with_(privacy={"epsilon": 3.0})
    assert costlier.assumed == (*study.assumed, "changed since the draft: privacy.epsilon")
    assert study.with_(privacy={"epsilon": study.epsilon}).assumed == study.assumed
    larger = costlier.with_(records={"units": 900})
    assert "600 units" in "".join(study.assumed)
    assert "600 units" not in "".join(larger.assumed)
    assert larger.assumed[-1] == "changed since the draft: privacy.epsilon, records.units"
    other = study.with_(features=[dict(toml_data(study.toml)["features"][0])])
    assert left_out
    assert not set(left_out) & set(other.assumed)
    asking = study.asking([{"name": "n", "kind": "count"}])
    assert "queries" in asking.assumed[-1]
    text = fieldfare.Study.from_toml(study.toml)
    assert text.with_(name="other").assumed == ()


def test_a_wrong_study_says_every_mistake() -> None:
    with pytest.raises(fieldfare.StudyError) as caught:
        fieldfare.Study.of(name="a b", records={"label": "y"}, privacy={"epsilon": -1})
    assert len(str(caught.value).splitlines()) > 3
    with pytest.raises(fieldfare.StudyError, match="expected texts, numbers"):
        fieldfare.Study.of(name=object())
    with pytest.raises(fieldfare.StudyError):
        fieldfare.Study.from_toml("/no/such/file.toml")


def test_a_notebook_shows_names_as_text() -> None:
    study = given(table(), name="a").with_(purpose="<script>alert(1)</script>")
    assert "<script>" not in study._repr_html_()
    assert "&lt;script&gt;" in study._repr_html_()
