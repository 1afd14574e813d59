"""A simulation and its files: documented, reproducible, whole, and silent about what is missing."""

import io
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rich.console import Console
from safetensors.numpy import load_file
from tests.simulations.conftest import BANKS, ROWS, SimulationFolder, make_table, study_text
from tests.support.rows import night

from fieldfare.client.records import read_records
from fieldfare.shared.errors import RecordsError, RunError, UsageError
from fieldfare.shared.features.knots import PLACES, even_places
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.federation import LocalFederation
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import simulate
from fieldfare.simulations.metrics import METRICS, measure, probabilities
from fieldfare.simulations.report.screen import details, screen

ROOT = Path(__file__).parents[3]
FILES = ["model.json", "model.safetensors", "report.html", "results.json"]
# With as little noise as this, that of the operating system decides no comparison here; at the
# small study's own epsilon it made one run in fifty a bad model or one without metrics.
LITTLE_NOISE = {"epsilon": "50.0"}


@pytest.fixture
def real_report() -> None:
    """Ask for the real page; most tests only look at numbers, and pictures take their time."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_report" not in request.fixturenames:
        monkeypatch.setattr("fieldfare.simulations.report.page.write_report", blank_page)


def blank_page(path: Path, **_: object) -> None:
    path.write_text("a page", encoding="utf-8")


def without_timing(results: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if key != "timing"}


def results_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    return found


def nulls() -> dict[str, None]:
    return dict.fromkeys(METRICS)


# -- files and keys -------------------------------------------------------------------------


def documented(section: str) -> set[str]:
    """The keys in the first column of a section's table in docs/results.md."""
    text = (ROOT / "docs" / "results.md").read_text("utf-8")
    body = re.split(r"^#+ ", text.partition(f"\n### {section}\n")[2], flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.*?) \|", body, flags=re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def keys(*found: Iterable[str]) -> set[str]:
    return {key for some in found for key in some}


def test_every_key_is_documented_and_nothing_else(work: SimulationFolder) -> None:
    choice = RecordsChoice(
        (str(work.records_file),), institution_column="bank", audit_column="persona"
    )
    results = simulate(work.task(choice=choice, baselines=tuple(Baseline)))
    assert keys(results) == documented("top level") - {
        "answers",
        "engine",
        "home",
        "released_groups",
        "released_guard",
        "world",
    }  # by custodians; without home, questions, groups, world, start
    assert keys(results["study"]) == documented("study")
    assert keys(*results["institutions"]) == documented("institutions")
    assert keys(results["privacy"]) == documented("privacy")
    assert keys(results["audit"]) == documented("audit")
    assert keys(*results["audit"]["kinds"]) == documented("kinds of audit")
    assert keys(results["models"]) == documented("models") - {"start", "alone_start"}
    model = results["models"]["alone"]
    assert keys(model) == documented("one model")
    assert keys(*model["per_institution"].values()) == {"pooled", "own"}
    assert keys(model["per_institution"]["bank-a"]["own"]) == set(METRICS)
    assert set(METRICS) < documented("one model")
    released = results["released_metrics"]
    assert keys(released) == documented("released_metrics")
    assert keys(*released["calibration"]) == documented("calibration")
    assert keys(results["groups"]) == documented("groups")
    assert keys(*results["groups"]["rows"]) == documented("rows of groups")
    assert keys(results["found"]) == documented("found")
    assert keys(*results["found"]["institutions"]) == documented("institutions of found")
    assert keys(results["joining"]) == documented("joining")
    assert keys(results["files"]) == set(FILES)
    assert keys(results["timing"]) == documented("timing")
    assert results["format"] == 1


def test_a_folder_holds_what_the_results_name(work: SimulationFolder, real_report: None) -> None:
    results = simulate(work.task())
    out = work.folder / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(results["files"]) == FILES
    assert results_in(out) == results
    model = json.loads((out / "model.json").read_text("utf-8"))
    parameters = load_file(out / "model.safetensors")["parameters"]
    assert model["study"] == results["study"]["id"]
    assert model["bias"] == parameters[0]
    assert "<script" not in (out / "report.html").read_text("utf-8").lower()


def test_the_model_is_the_one_that_was_measured(work: SimulationFolder) -> None:
    simulate(work.task())
    study = work.write_study()
    parameters = load_file(work.folder / "out" / "model.safetensors")["parameters"]
    model = model_for(study)
    holdout = work.write_records(make_table(), "again.parquet")
    records = read_records([holdout], study)
    scores = probabilities(model, parameters, records.data)
    measured = simulate(work.task("again", holdout_files=(str(holdout),)))
    expected = measure(records.data.labels, scores, study.evaluation.alert_budget)
    found = measured["models"]["federated"]
    assert {name: found[name] for name in METRICS} == expected


# -- seeds and noise ------------------------------------------------------------------------


@pytest.mark.promises
def test_the_same_seed_gives_the_same_bytes(work: SimulationFolder) -> None:
    for out, seed in (("one", 5), ("two", 5), ("three", 6)):
        simulate(work.task(out, seed=seed, baselines=tuple(Baseline)))
    one, two, three = (work.folder / out for out in ("one", "two", "three"))
    for name in ("model.safetensors", "model.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
        assert (one / name).read_bytes() != (three / name).read_bytes()
    assert json.dumps(without_timing(results_in(one))) == json.dumps(
        without_timing(results_in(two))
    )
    assert without_timing(results_in(one)) != without_timing(results_in(three))


def test_simulated_noise_says_that_it_protects_nobody(work: SimulationFolder) -> None:
    privacy = simulate(work.task())["privacy"]
    assert (privacy["noise"], privacy["masked"]) == ("simulated", False)


def test_exact_noise_is_masked_and_follows_no_seed(work: SimulationFolder) -> None:
    work.write_study(privacy=LITTLE_NOISE)
    one, two = (simulate(work.task(out, protection=Protection.EXACT)) for out in ("one", "two"))
    assert (one["privacy"]["noise"], one["privacy"]["masked"]) == ("exact", True)
    models = [
        load_file(work.folder / n / "model.safetensors")["parameters"] for n in ("one", "two")
    ]
    assert models[0].tobytes() != models[1].tobytes()
    assert one["released_metrics"] is not None
    assert one["released_metrics"] != two["released_metrics"]
    # What noise does not touch is the same: who takes part, what is promised and spent.
    for part in ("study", "institutions", "privacy"):
        assert one[part] == two[part]


def test_nothing_is_left_of_keys_and_ledgers(work: SimulationFolder) -> None:
    simulate(work.task(protection=Protection.EXACT))
    assert sorted(path.name for path in (work.folder / "out").iterdir()) == FILES


def test_privacy_is_what_the_plan_says(work: SimulationFolder) -> None:
    study = work.write_study()
    plan = plan_for(study)
    privacy = simulate(work.task())["privacy"]
    costs = max(plan.training.mu2 * study.training.steps, plan.evaluation.mu2)
    assert privacy["mu2_spent"] == pytest.approx(costs, rel=1e-9)
    assert privacy["mu2_planned"] == plan.mu2 > privacy["mu2_spent"]  # spares were not needed
    assert privacy["epsilon_spent"] < privacy["epsilon"] < privacy["epsilon_if_masks_fail"]
    assert privacy["sigma"] == plan.training.sigma
    assert privacy["sensitivity"] == study.privacy.clipping_norm == privacy["clipping_norm"]
    assert (privacy["participants"], privacy["failed_attempts"]) == (3, 0)


def test_a_larger_m_is_a_larger_sensitivity(work: SimulationFolder) -> None:
    work.write_study(privacy={"multiplicity": "2"})
    privacy = simulate(work.task())["privacy"]
    assert privacy["sensitivity"] == 2 * privacy["clipping_norm"]


# -- baselines and hold-outs ----------------------------------------------------------------


@pytest.mark.parametrize(
    "chosen", [(), (Baseline.ALONE_DP,), (Baseline.CENTRAL, Baseline.LOCAL_DP)]
)
def test_only_the_baselines_that_were_asked_for(
    work: SimulationFolder, chosen: tuple[Baseline, ...]
) -> None:
    models = simulate(work.task(baselines=chosen))["models"]
    assert set(models) == {"federated", *(baseline.value for baseline in chosen)}


def test_models_of_their_own_are_averaged_and_told_apart(work: SimulationFolder) -> None:
    models = simulate(work.task(baselines=(Baseline.ALONE,)))["models"]
    rows = models["alone"]["per_institution"]
    assert list(rows) == list(BANKS)
    pooled = [rows[name]["pooled"]["auroc"] for name in BANKS]
    assert models["alone"]["auroc"] == pytest.approx(np.mean(pooled))
    assert len(set(pooled)) == 3
    shared = models["federated"]["per_institution"]
    assert {rows["pooled"]["auroc"] for rows in shared.values()} == {models["federated"]["auroc"]}
    assert len({rows["own"]["auroc"] for rows in shared.values()}) == 3


MODELS = ("alone", "at_home", "federated")


@pytest.mark.promises
def test_using_it_at_home_stands_beside_alone_and_together(work: SimulationFolder) -> None:
    results = simulate(work.task(baselines=(Baseline.ALONE,)))
    assert list(results["models"]) == ["federated", "alone", "at_home"]
    rows = results["models"]["at_home"]["per_institution"]
    assert len({rows[name]["own"]["auroc"] for name in BANKS}) == 3
    found = results["found"]
    for row in found["institutions"]:
        own = {key: results["models"][key]["per_institution"][row["name"]]["own"] for key in MODELS}
        shares = {key: one["recall_at_budget"] * row["cases"] for key, one in own.items()}
        assert [row[name] for name in ("alone", "together", "shared")] == pytest.approx(
            [shares[key] for key in MODELS]
        )
    assert found["judge"] == "labels"
    assert "found" not in simulate(work.task(baselines=(Baseline.CENTRAL,)))


@pytest.mark.promises
def test_a_hold_out_file_is_for_the_models_and_for_nothing_else(work: SimulationFolder) -> None:
    other = work.write_records(make_table(200, seed=9), "other.parquet")
    plain = simulate(work.task("plain", baselines=(Baseline.ALONE,)))
    given = simulate(work.task("given", baselines=(Baseline.ALONE,), holdout_files=(str(other),)))
    assert given["released_metrics"] == plain["released_metrics"]
    for name in ("model.safetensors", "model.json"):
        assert (work.folder / "plain" / name).read_bytes() == (
            work.folder / "given" / name
        ).read_bytes()
    for model in ("federated", "alone"):
        assert given["models"][model]["auroc"] != plain["models"][model]["auroc"]
        for row in given["models"][model]["per_institution"].values():
            assert row["own"]["auroc"] not in (None, row["pooled"]["auroc"])
    assert sum(row["measured_units"] for row in given["institutions"]) == 200


def test_a_hold_out_file_without_the_institutions_column_is_nobodys(work: SimulationFolder) -> None:
    other = work.write_records(make_table(200, seed=9).drop_columns(["bank"]), "other.parquet")
    given = simulate(work.task(holdout_files=(str(other),)))
    for row in given["models"]["federated"]["per_institution"].values():
        assert row["own"] == nulls()
        assert row["pooled"]["auroc"] is not None


def test_hold_out_files_by_name_give_figures_per_institution(work: SimulationFolder) -> None:
    table = make_table(200, seed=9)
    named = []
    for bank in BANKS[:2]:
        part = table.filter(pc.equal(table["bank"], bank))
        named.append(f"{bank}={work.write_records(part, f'{bank}.parquet')}")
    rows = simulate(work.task("named", holdout_files=tuple(named)))
    whole = work.write_records(table, "whole.parquet")
    column = simulate(work.task("column", holdout_files=(str(whole),)))
    for bank in BANKS[:2]:
        own = [r["models"]["federated"]["per_institution"][bank]["own"] for r in (rows, column)]
        assert own[0] == own[1] != nulls()
    assert rows["models"]["federated"]["per_institution"][BANKS[2]]["own"] == nulls()
    with pytest.raises(UsageError, match="names of institutions"):
        simulate(work.task(holdout_files=(f"stranger={whole}",)))


def test_the_report_can_be_left_out(work: SimulationFolder) -> None:
    simulate(work.task())
    results = simulate(work.task(report=False))
    kept = sorted(path.name for path in (work.folder / "out").iterdir())
    assert kept == sorted(results["files"]) == sorted(set(FILES) - {"report.html"})
    assert "report_seconds" not in results["timing"]


def test_a_hold_out_file_that_does_not_fit_is_bad_input(work: SimulationFolder) -> None:
    other = work.write_records(make_table().drop_columns(["amount"]), "other.parquet")
    with pytest.raises(RecordsError, match="amount"):
        simulate(work.task(holdout_files=(str(other),)))


def test_groups_are_measured_on_the_hold_out_file_too(work: SimulationFolder) -> None:
    choice = RecordsChoice(
        (str(work.records_file),), institution_column="bank", audit_column="persona"
    )
    other = work.write_records(make_table(200, seed=9), "other.parquet")
    groups = simulate(work.task(choice=choice, holdout_files=(str(other),)))["groups"]
    assert groups["column"] == "persona"
    assert sum(row["units"] for row in groups["rows"]) == 200
    alerts = sum(row["alerts"] for row in groups["rows"])
    assert alerts == round(200 * groups["alert_budget"])


# -- institutions as they come --------------------------------------------------------------


def one_class(table: pa.Table, bank: str) -> pa.Table:
    """Make everybody at one bank unreported."""
    index = table.schema.get_field_index("reported")
    kept = pc.if_else(pc.equal(table["bank"], bank), 0, table["reported"])
    return table.set_column(index, "reported", kept)


def test_an_institution_with_one_class_has_no_metrics_of_its_own(
    work: SimulationFolder, real_report: None
) -> None:
    work.write_records(one_class(make_table(), "bank-b"))
    models = simulate(work.task(baselines=tuple(Baseline)))["models"]
    for model in models.values():
        assert model["per_institution"]["bank-b"]["own"] == nulls()
        assert model["per_institution"]["bank-a"]["own"]["auroc"] is not None
        assert model["auroc"] is not None


def test_an_institution_without_units_takes_part_like_any_other(
    work: SimulationFolder, real_report: None
) -> None:
    table = make_table()
    work.write_records(table, "a.parquet")
    work.write_records(table.slice(0, 1), "b.parquet")
    work.write_records(table.slice(0, 0), "c.parquet")
    choice = RecordsChoice([f"{name}={work.folder / name}.parquet" for name in "abc"])
    results = simulate(work.task(choice=choice, baselines=tuple(Baseline)))
    sizes = [(row["name"], row["units"]) for row in results["institutions"]]
    assert sizes == [("a", ROWS), ("b", 1), ("c", 0)]
    assert results["privacy"]["participants"] == 3
    for model in results["models"].values():
        assert model["per_institution"]["c"]["own"] == nulls()
        assert model["auroc"] is not None


def test_records_that_say_nothing_are_refused(work: SimulationFolder) -> None:
    files = [f"{name}={work.records_file}" for name in BANKS]
    work.write_records(make_table().slice(0, 0))
    with pytest.raises(RecordsError, match="expected at least one record"):
        simulate(work.task(choice=RecordsChoice(files)))
    work.write_records(make_table())
    for bank in BANKS:
        work.write_records(one_class(work.read_records(), bank))
    with pytest.raises(RecordsError, match="expected labelled and unlabelled units"):
        simulate(work.task())


def test_metrics_that_cannot_be_measured_are_null(
    work: SimulationFolder, real_report: None
) -> None:
    work.write_study(evaluation={"holdout": "1e-9"})  # nobody is held out
    results = simulate(work.task(baselines=tuple(Baseline)))
    for model in results["models"].values():
        assert {name: model[name] for name in METRICS} == nulls()
        for row in model["per_institution"].values():
            assert (row["pooled"], row["own"]) == (nulls(), nulls())
    text = (work.folder / "out" / "results.json").read_text("utf-8")
    assert "NaN" not in text


def test_released_metrics_are_null_where_noise_hides_a_class(work: SimulationFolder) -> None:
    work.write_study(privacy={"epsilon": "0.01"}, evaluation={"score_bins": "64"})
    found = [simulate(work.task(seed=seed))["released_metrics"] for seed in range(4)]
    assert None in found


# -- failures -------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "paid"), [("release", 6), ("reveal", 7)])
def test_a_failed_attempt_is_counted(
    work: SimulationFolder, monkeypatch: pytest.MonkeyPatch, call: str, paid: int
) -> None:
    """One of four stays away from the third step on; it costs nothing before all committed."""
    work.write_records(make_table(banks=(*BANKS, "bank-d")))
    study = work.write_study(aggregation={"participants": '"any"'})
    grid_of = LocalFederation.grid
    seen = [0]

    def lost(message: Any) -> bool:
        metadata = message.metadata
        if metadata.dst_node_id != 104 or metadata.message_type != f"query.{call}":
            return False
        seen[0] += 1
        return seen[0] > 3

    monkeypatch.setattr(LocalFederation, "grid", lambda self: grid_of(self, drop=lost))
    results = simulate(work.task())
    privacy = results["privacy"]
    assert (privacy["failed_attempts"], privacy["participants"]) == (1, 3)
    plan = plan_for(study)
    spent = max(plan.training.mu2 * paid, plan.evaluation.mu2)
    assert privacy["mu2_spent"] == pytest.approx(spent, rel=1e-9)
    assert len(results["institutions"]) == 4


def test_a_run_that_fails_leaves_no_results(
    work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid_of = LocalFederation.grid
    monkeypatch.setattr(
        LocalFederation,
        "grid",
        lambda self: grid_of(self, drop=lambda m: m.metadata.message_type == "query.release"),
    )
    with pytest.raises(
        RunError, match=r"rehearsal step 0: expected every institution.*\(bank-a: no answer"
    ):
        simulate(work.task(protection=Protection.EXACT))
    assert not (work.folder / "out").exists()


def test_results_of_an_earlier_run_do_not_stand_beside_half_of_a_new_one(
    work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(work.task())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fieldfare.simulations.report.page.write_report", full)
    with pytest.raises(OSError, match="No space left"):
        simulate(work.task(seed=1))
    assert not (work.folder / "out" / "results.json").exists()


def test_a_folder_that_cannot_be_one_is_bad_input(work: SimulationFolder) -> None:
    (work.folder / "taken").write_text("a file")
    for out in ("taken", "taken/below"):
        with pytest.raises(UsageError, match=r"--out .*: expected a folder"):
            simulate(work.task(out))


def test_progress_is_told_from_step_to_step(work: SimulationFolder) -> None:
    told: list[tuple[str, int, int]] = []
    simulate(
        work.task(baselines=(Baseline.ALONE, Baseline.CENTRAL)),
        lambda what, done, total: told.append((what, done, total)),
    )
    steps = [(done, total) for what, done, total in told if what == "training together"]
    assert steps == [(step, 6) for step in range(1, 7)]
    # What each learns alone is its own model, which is made beside the federation.
    whats = ["baseline central", *["used at home"] * 6]  # own models, and the shared one
    assert [what for what, _, _ in told[6:]] == whats


def test_timing_adds_up(work: SimulationFolder) -> None:
    timing = simulate(work.task(baselines=tuple(Baseline)))["timing"]
    assert datetime.fromisoformat(timing.pop("started")).tzinfo is not None
    assert all(seconds >= 0 for seconds in timing.values())
    parts = ("loading_seconds", "federation_seconds", "baselines_seconds", "report_seconds")
    assert sum(timing[part] for part in parts) <= timing["total_seconds"]
    assert timing["training_seconds"] <= timing["federation_seconds"]


@pytest.mark.parametrize("mode", ["", *night('mode = "local"\n')])
@pytest.mark.parametrize("protection", [Protection.EXACT, *night(Protection.SIMULATED)])
def test_a_study_may_ask_for_its_knots(
    work: SimulationFolder, real_report: None, protection: Protection, mode: str
) -> None:
    """All baselines train on the knots of the federation's answer, and the files show them."""
    text = study_text(privacy=LITTLE_NOISE).replace("[training]\n", f"[training]\n{mode}")
    assert mode in text
    text = text.replace("knots = [0, 2, 5, 10]", 'knots_from = "spread"')
    text += '\n[[queries]]\nname = "spread"\nkind = "quantiles"\ncolumn = "amount"\nbins = 8\n'
    study = parse_study(text)
    task = work.task(baselines=(Baseline.CENTRAL,), study=study, protection=protection)
    results = simulate(task)
    parameters = load_file(task.out / "model.safetensors")["parameters"]
    places = parameters[-8:]
    assert places.tolist() != list(even_places(8))
    shown = json.loads((task.out / "model.json").read_text())["features"][0]["knots"]
    assert shown == pytest.approx((places * 10 / PLACES).tolist(), rel=1e-4)
    assert results["models"]["central"]["auroc"] > 0.6
    assert results["privacy"]["mu2_spent"] <= results["privacy"]["mu2_planned"]
    assert [answer["name"] for answer in results["answers"]] == ["spread"]


@pytest.mark.promises
def test_a_study_of_texts_is_simulated_whole(work: SimulationFolder, real_report: None) -> None:
    plain = work.write_study()
    columns = {"kind": "text", "column": "channel", "buckets": 64}
    data = plain.model_dump(mode="json") | {"features": [], "model": columns}
    results = simulate(work.task(study=Study.model_validate(data), baselines=tuple(Baseline)))
    assert results["study"]["model"] == "text"
    names = {"federated", "at_home", *(b.value for b in Baseline)}
    assert set(results["models"]) == names
    assert sorted(path.name for path in (work.folder / "out").iterdir()) == FILES
    assert len(load_file(work.folder / "out" / "model.safetensors")["parameters"]) == 65


@pytest.mark.parametrize("protection", [Protection.EXACT, *night(Protection.SIMULATED)])
@pytest.mark.parametrize("kind", ["additive", *night("text", "mlp")])
def test_local_mode_is_simulated_beside_its_counterpart(
    work: SimulationFolder, real_report: None, kind: str, protection: Protection
) -> None:
    """Baselines take as many steps at the same noise, each of them by a sum."""
    data = work.write_study(privacy=LITTLE_NOISE).model_dump(mode="json")
    data["training"] = {"mode": "local", "steps": 3, "local_steps": 4}
    data["model"] = {"kind": kind}
    if kind == "text":
        data |= {"features": [], "model": {"kind": kind, "column": "channel", "buckets": 64}}
    study = Study.model_validate(data)
    results = simulate(
        work.task(study=study, protection=protection, baselines=(Baseline.CENTRAL_DP,))
    )
    plan = plan_for(study)
    assert (results["study"]["mode"], results["study"]["local_steps"]) == ("local", 4)
    assert results["privacy"]["sigma"] == plan.training.sigma
    spent = max(3 * plan.training.cost, plan.evaluation.cost) / PICOMU2
    assert results["privacy"]["mu2_spent"] == pytest.approx(spent, rel=1e-12)
    if kind == "additive":
        assert results["models"]["federated"]["auroc"] > 0.6
        assert results["models"]["central_dp"]["auroc"] > 0.6


@pytest.mark.parametrize("protection", [Protection.EXACT, *night(Protection.SIMULATED)])
def test_alerts_are_counted_by_group_as_a_federation_would(
    work: SimulationFolder, real_report: None, protection: Protection
) -> None:
    table = work.read_records()
    life = ["night" if row % 3 else "day" for row in range(table.num_rows)]
    work.write_records(table.append_column("life", pa.array(life)))
    data = work.write_study().model_dump(mode="json")
    data["evaluation"]["groups"] = [{"column": "life", "levels": ["day", "night", "dusk"]}]
    results = simulate(work.task(study=Study.model_validate(data), protection=protection))
    found = results["released_groups"]
    assert results_in(work.folder / "out")["released_groups"] == found
    assert keys(found) == documented("released_groups")
    (grouping,) = found["columns"]
    rows = grouping["rows"]
    assert keys(*rows) == documented("rows of released_groups")
    assert [row["name"] for row in rows] == ["day", "night", "dusk", "other or unknown"]
    held = table.num_rows * data["evaluation"]["holdout"]
    for row, share in zip(rows, (1 / 3, 2 / 3, 0, 0), strict=True):
        slack = 5 * np.sqrt(4) * found["sigma"] + 5 * np.sqrt(held)
        assert row["units"]["value"] == pytest.approx(share * held, abs=slack)
    page = (work.folder / "out" / "report.html").read_text("utf-8")
    assert "On whom alerts fall, as released" in page


def test_a_seed_draws_the_same_counts_by_group_again(work: SimulationFolder) -> None:
    table = work.read_records()
    work.write_records(table.append_column("life", pa.array(["day"] * table.num_rows)))
    data = work.write_study().model_dump(mode="json")
    data["evaluation"]["groups"] = [{"column": "life", "levels": ["day"]}]
    study = Study.model_validate(data)
    first, again, other = (simulate(work.task(study=study, seed=seed)) for seed in (1, 1, 2))
    assert first["released_groups"] == again["released_groups"] != other["released_groups"]


def test_the_same_units_at_all_institutions_are_said_with_what_they_are_promised(
    work: SimulationFolder,
) -> None:
    """Under a multiplicity of one: three times the vector, three times mu."""
    work.write_records(make_table(), "same.parquet")
    files = [f"{name}={work.folder}/same.parquet" for name in ("ape", "cow", "zebra")]
    results = simulate(work.task(choice=RecordsChoice(files)))
    privacy, found = results["privacy"], results["privacy"]["multiplicity"]
    assert (found["study"], found["needed"], found["by"]) == (1, 3, "id")
    assert found["units"] == found["several"] == found["beyond"] == len(make_table())
    worst = epsilon_for(delta=privacy["delta"], mu2=9 * privacy["mu2_planned"])
    assert found["epsilon_of_worst"] == pytest.approx(worst, rel=1e-9)
    for shown in (screen(results), details(results)):
        out = io.StringIO()
        Console(width=80, file=out).print(shown)
        printed = " ".join(out.getvalue().split())
        assert f"the promise is epsilon {found['epsilon_of_worst']:.3g}" in printed
    work.write_study(privacy={"multiplicity": "3"})
    counted = simulate(work.task(choice=RecordsChoice(files)))["privacy"]
    assert counted["multiplicity"]["beyond"] == 0
    assert counted["multiplicity"]["epsilon_of_worst"] == pytest.approx(
        counted["epsilon"], rel=1e-6
    )
    assert counted["sensitivity"] == 3 * privacy["sensitivity"]


def test_a_refused_simulation_leaves_no_folder(work: SimulationFolder) -> None:
    with pytest.raises(UsageError):
        simulate(work.task("new/deep", choice=RecordsChoice(("nowhere.csv",))))
    assert not (work.folder / "new").exists()
    kept = work.folder / "kept"
    kept.mkdir()
    with pytest.raises(UsageError):
        simulate(work.task("kept", choice=RecordsChoice(("nowhere.csv",))))
    assert kept.is_dir()
