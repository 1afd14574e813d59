"""Results, answers, audits and worlds, as a researcher gets them."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from tests.api.lab.test_studies import given, table

import fieldfare
from fieldfare.lab.progress import shown
from fieldfare.simulations.metrics import METRICS


@pytest.fixture(scope="module")
def study() -> fieldfare.Study:
    return given(table(), epsilon=8.0).with_(training={"steps": 4})


@pytest.fixture(scope="module")
def found(study: fieldfare.Study) -> fieldfare.Result:
    return fieldfare.simulate(
        study, table(), institutions=3, baselines=("alone", "central"), progress=False
    )


def test_every_figure_has_a_row_and_an_interval(found: fieldfare.Result) -> None:
    rows = found.to_arrow().to_pylist()
    pooled = [r for r in rows if r["held_out"] == "pooled" and not r["institution"]]
    assert {r["model"] for r in pooled} == set(found.results["models"])
    assert {r["metric"] for r in pooled} == set(METRICS)
    for row in pooled:
        assert row["value"] == found.results["models"][row["model"]][row["metric"]]
        assert row["low"] <= row["value"] <= row["high"]
    assert {r["institution"] for r in rows if r["held_out"] == "own"} == {
        f"institution-{place}" for place in (1, 2, 3)
    }
    assert found.figure("auroc", model="central") == tuple(
        next(r for r in pooled if (r["model"], r["metric"]) == ("central", "auroc")).values()
    )
    with pytest.raises(fieldfare.UsageError, match=r"expected a model of federated.*found none"):
        found.figure("auroc", model="none")


def test_an_engine_changes_no_figure(study: fieldfare.Study) -> None:
    each = [
        fieldfare.simulate(study, table(), institutions=3, baselines=(), engine=one, progress=False)
        for one in ("custodians", "sums")
    ]
    assert each[0].parameters.tolist() == each[1].parameters.tolist()
    assert each[0].to_arrow() == each[1].to_arrow()
    with pytest.raises(fieldfare.UsageError, match="one of custodians, sums, ray, found 'fast'"):
        fieldfare.simulate(study, table(), institutions=3, engine="fast")  # type: ignore[arg-type]
    with pytest.raises(fieldfare.UsageError, match="simulated noise with the engine sums"):
        fieldfare.simulate(study, table(), institutions=3, engine="sums", noise="exact")


def blank_page(path: Path, **_: object) -> None:
    path.write_text("a page", encoding="utf-8")


def test_nothing_is_written_until_it_is_asked_for(
    study: fieldfare.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fieldfare.simulations.report.page.write_report", blank_page)
    found = fieldfare.simulate(study, table(), institutions=3, baselines=(), noise="exact")
    repr(found), found._repr_html_(), found.plot_comparison()
    assert [*tmp_path.iterdir()] == []
    assert found.report("page.html").read_text("utf-8") == "a page"
    saved = sorted(path.name for path in found.save("out").iterdir())
    assert saved == ["model.json", "model.safetensors", "report.html", "results.json"]


def test_pictures_and_pages_are_self_contained(found: fieldfare.Result, tmp_path: Path) -> None:
    plots = [found.plot_comparison(), found.plot_roc(), found.plot_precision_recall()]
    for plot in (*plots, found.plot_calibration()):
        text = plot.save(tmp_path / "a.svg").read_text("utf-8")
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 -- our own
        assert plot.caption in plot._repr_html_().replace("&#x27;", "'")
    with pytest.raises(fieldfare.UsageError, match=r"expected a file that ends in .svg, found"):
        plots[0].save(tmp_path / "a.png")
    with pytest.raises(fieldfare.UsageError, match="metric: expected one of auroc"):
        found.plot_comparison("f1")  # type: ignore[arg-type]
    assert "<script" not in found._repr_html_()


def test_questions_are_answered_beside_the_truth(study: fieldfare.Study) -> None:
    asked = [{"name": "n", "kind": "count"}, {"name": "c", "kind": "histogram", "column": "amount"}]
    answers = fieldfare.ask(study, table(), asked, institutions=3, progress=False)
    rows = answers.to_arrow().to_pylist()
    assert rows[0] | {"value": 0, "low": 0, "high": 0} == {
        "question": "n", "kind": "count", "cell": "", "measure": "count",
        "value": 0, "low": 0, "high": 0, "true": 200.0,
    }  # fmt: skip
    assert rows[0]["low"] < rows[0]["value"] < rows[0]["high"]
    assert sum(row["true"] for row in rows if row["question"] == "c") == 200
    assert "c: histogram" in repr(answers)
    assert "<table>" in answers._repr_html_()
    with pytest.raises(fieldfare.UsageError, match="questions: expected one or more, found none"):
        fieldfare.ask(study, table(), institutions=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expected institution_column=COLUMN.*found none of them; columns: id, amount"),
        ({"institutions": 3, "institution_column": "id"}, "found both; give one"),
        ({"institutions": "3"}, "institutions: expected a number from 1 on, found '3'"),
        ({"institutions": 0}, "institutions: expected a number from 1 on, found 0"),
        ({"institutions": 3, "partition": "odd"}, "^partition: expected iid, dirichlet"),
        ({"institutions": 3, "baselines": ["best"]}, "baselines: expected some of alone.*'best'"),
        ({"institutions": 3, "seed": -1}, "seed: expected a whole number from 0"),
        ({"institutions": 2}, "expected at least 3 institutions"),
        ({"institutions": 3, "partition": "skew:channel:0.5"}, "^partition=skew:channel: expected"),
        ({"institution_column": "id", "partition": "quantity:1"}, "^partition: expected instit"),
        ({"institutions": 3, "ray_address": "a:1"}, "expected the engine ray with"),
        ({"institutions": 3, "holdout": {}}, "^holdout: expected a frame, or frames by"),
        ({"institutions": 3, "holdout": {"z": table()}}, "^holdout: expected names of inst"),
    ],
)
def test_arguments_that_do_not_fit_are_said(
    study: fieldfare.Study, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(fieldfare.UsageError, match=said):
        fieldfare.simulate(study, table(), **options)


def test_records_that_say_nothing_are_refused(study: fieldfare.Study) -> None:
    empty, fraud = table().slice(0, 0), table().column_names.index("fraud")
    one = table().set_column(fraud, "fraud", [["0"] * 200])
    with pytest.raises(fieldfare.RecordsError, match="expected at least one record in all"):
        fieldfare.simulate(study, empty, institutions=3, progress=False)
    with pytest.raises(fieldfare.RecordsError, match=r"label fraud: .* none labelled"):
        fieldfare.simulate(study, one, institutions=3, progress=False)
    with pytest.warns(UserWarning, match="in the hold-out, found one kind alone") as said:
        fieldfare.simulate(
            study, table(), institutions=3, holdout=one, baselines=(), progress=False
        )
    assert said[0].filename == __file__


def test_a_file_in_a_folders_place_is_said(found: fieldfare.Result, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(fieldfare.UsageError, match=rf"^{tmp_path}/file: expected a folder"):
        found.save(tmp_path / "file")


def test_no_frame_at_all_is_said_in_pythons_words(study: fieldfare.Study) -> None:
    with pytest.raises(fieldfare.UsageError, match=r"^data: expected a frame, or frames by"):
        fieldfare.simulate(study, {})


def test_a_path_is_no_study() -> None:
    with pytest.raises(
        fieldfare.UsageError, match=r"study: expected a fieldfare.Study, found a str"
    ):
        fieldfare.simulate("study.toml", table())  # type: ignore[arg-type]


def test_names_of_frames_are_institutions(study: fieldfare.Study) -> None:
    frames = {"bank-a": table(), "coordinator": table(1), "bank-c": table(2)}
    with pytest.raises(fieldfare.UsageError, match='none called "coordinator"'):
        fieldfare.simulate(study, frames)
    with pytest.raises(fieldfare.UsageError, match="expected neither institution_column nor"):
        fieldfare.simulate(study, frames, institutions=3)


def test_a_study_of_questions_is_not_simulated(study: fieldfare.Study) -> None:
    asked = study.asking([{"name": "n", "kind": "count"}])
    with pytest.raises(fieldfare.UsageError, match=r"fieldfare.ask asks"):
        fieldfare.simulate(asked, table(), institutions=3)


def test_pandas_is_asked_for_by_name(
    found: fieldfare.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(fieldfare.UsageError, match="expected pandas, found none installed"):
        found.to_pandas()
    assert isinstance(found.to_arrow(), pa.Table)


@pytest.mark.promises
def test_an_audit_tells_an_honest_door_from_one_with_a_defect() -> None:
    honest = fieldfare.audit(canaries=300, steps=1)
    assert honest.holds, honest.flagged
    wrong = fieldfare.audit(canaries=300, steps=1, defect="half-sigma")
    assert not wrong.holds
    assert "FLAGGED" in repr(wrong)
    assert honest.to_arrow().column_names == ["figure", "value", "low", "high"]
    with pytest.raises(fieldfare.UsageError, match="canaries: expected 100 to 1000000, found 5"):
        fieldfare.audit(canaries=5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"seed": 0.5}, "seed: expected a whole number from 0"),
        ({"epsilon": "1"}, "epsilon: expected above 0, at most 100, found '1'"),
        ({"epsilon": float("nan")}, "epsilon: expected above 0"),
        ({"canaries": 100.5}, "canaries: expected 100 to 1000000, found 100.5"),
        ({"steps": True}, "steps: expected 1 to 1000, found True"),
    ],
)
def test_what_no_audit_can_be_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(fieldfare.UsageError, match=said):
        fieldfare.audit(**options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"people": "many"}, "people: expected a whole number, found 'many'"),
        ({"people": 1500, "seed": -1}, "seed: expected a whole number from 0"),
    ],
)
def test_what_no_world_can_be_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(fieldfare.UsageError, match=said):
        fieldfare.world(**given, progress=False)


def test_one_question_goes_in_a_list(study: fieldfare.Study) -> None:
    for one in ("count", {"name": "n", "kind": "count"}):
        with pytest.raises(fieldfare.UsageError, match="questions: expected a list of dicts"):
            fieldfare.ask(study, table(), one, institutions=3)  # type: ignore[arg-type]


# -- progress ---------------------------------------------------------------------------------


def test_progress_is_silent_where_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (None, False):
        with shown(wanted) as said:
            said("training together", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_has_one_bar_that_goes_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []

    class Handle:
        def update(self, page: dict[str, str], *, raw: bool) -> None:
            assert raw
            pages.append(page["text/html"])

    place = SimpleNamespace(display=lambda *_, **__: Handle())
    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=place)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", place)
    with shown(None) as said:
        said("<b>", 1, 4)
    assert pages == ['<progress value="1" max="4"></progress> &lt;b&gt;', ""]


# -- the model --------------------------------------------------------------------------------


def test_a_prediction_is_what_the_run_measured(
    study: fieldfare.Study, found: fieldfare.Result
) -> None:
    """On records held out by hand, in whatever form and order, with a label or without."""
    other = table(7)
    run = fieldfare.simulate(
        study, table(), institutions=3, holdout=other, baselines=("alone",), progress=False
    )
    chance = run.predict(other)
    assert chance.shape == (len(other),)
    [measured] = run._found.scores()["federated"]
    assert sorted(chance.tolist()) == sorted(measured.probabilities.tolist())
    backwards = other.take(list(range(len(other)))[::-1])
    assert run.predict(backwards.drop_columns(["fraud"])).tolist() == chance[::-1].tolist()
    assert run.predict(other.slice(0, 0)).shape == (0,)
    own = run.predict(other, model="alone", institution="institution-2")
    assert own.tolist() != chance.tolist()


def test_reasons_add_up_to_the_prediction(found: fieldfare.Result) -> None:
    rows = found.explain(table(3)).to_pandas()
    odds = found.predict(table(3))
    sums = rows.groupby("row").contribution.sum().to_numpy()
    rest = np.log(odds / (1 - odds)) - sums
    assert rows.columns.tolist() == ["row", "feature", "value", "contribution"]
    assert np.ptp(rest) < 1e-6 < np.ptp(sums)
    assert set(rows.feature) == {*found.study.features}
    strength = rows.contribution.abs().groupby(rows.row)
    assert strength.apply(lambda part: part.is_monotonic_decreasing).all()
    amounts = rows[rows.feature == "amount"].sort_values("row").value.to_numpy()
    assert amounts.tolist() == table(3)["amount"].to_numpy().astype(np.float32).tolist()


def test_a_model_that_is_not_there_is_named(found: fieldfare.Result) -> None:
    with pytest.raises(fieldfare.UsageError, match=r"one of federated, .*found best of all"):
        found.predict(table(), model="best")
    with pytest.raises(fieldfare.UsageError, match="found federated of bank"):
        found.explain(table(), institution="bank")
    with pytest.raises(fieldfare.UsageError, match="data: expected one frame, found frames by"):
        found.predict({"a": table(), "b": table()})
    with pytest.raises(fieldfare.RecordsError, match="expected column amount, found none"):
        found.predict(table().drop_columns(["amount"]))
