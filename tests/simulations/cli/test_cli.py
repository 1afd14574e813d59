"""`fieldfare simulate` as people and programs call it: output, exit status, and interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.simulations.conftest import BANKS, SimulationFolder, make_table
from tests.support.rows import night
from tests.support.system.packages import without_torch

from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, UsageError
from fieldfare.simulations.cli.simulate import parse_baselines
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.in_memory import MEMORY

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "from fieldfare.shared.cli.root import main; main()"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take their time; test_simulate.py writes the real page."""
    monkeypatch.setattr(
        "fieldfare.simulations.report.page.write_report",
        lambda path, **_: path.write_text("page"),
    )


def given(work: SimulationFolder, *more: str, baselines: str = "") -> list[str]:
    """A complete call over the three banks; what is added later wins."""
    records = ["--records", str(work.records_file), "--institution-column", "bank"]
    out = ["--out", str(work.folder / "out")]
    return ["simulate", str(work.study_file), *records, *out, "--baselines", baselines, *more]


def results_of(work: SimulationFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work.folder / "out" / "results.json").read_text("utf-8"))
    return found


# -- output ---------------------------------------------------------------------------------


def test_the_screen_is_for_people(
    work: SimulationFolder, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # a path is wrapped wherever the terminal ends
    assert run(given(work)) == 0
    captured = capsys.readouterr()
    assert "together, through Fieldfare" not in captured.out
    assert len(captured.out.splitlines()) <= 20
    assert captured.out.rstrip().endswith("(--details prints every figure)")
    assert captured.err == ""
    assert run(given(work, "--details")) == 0
    every = capsys.readouterr().out
    assert "together, through Fieldfare" in every
    assert str(work.folder / "out") in every


def test_json_on_stdout_is_the_results_and_nothing_else(
    work: SimulationFolder, capsys: Capture
) -> None:
    assert run(given(work, "--json", baselines="alone")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == results_of(work)
    assert captured.err == ""


def test_quiet_prints_nothing(work: SimulationFolder, capsys: Capture) -> None:
    assert run(given(work, "--quiet")) == 0
    assert capsys.readouterr() == ("", "")
    assert results_of(work)["models"]["federated"]["auroc"] is not None


def test_a_real_process_keeps_stdout_for_json(work: SimulationFolder) -> None:
    """With exact noise, all libraries loaded, and nothing replaced."""
    done = subprocess.run(
        [*COMMAND, *given(work, "--json", "--noise", "exact")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["privacy"]["masked"] is True
    assert done.stderr == ""


# -- choices --------------------------------------------------------------------------------


def test_baselines_are_hyphenated_here_and_underscored_there(work: SimulationFolder) -> None:
    assert run(given(work, "--quiet", baselines="alone-dp, central")) == 0
    assert list(results_of(work)["models"]) == ["federated", "alone_dp", "central"]


@pytest.mark.promises
def test_all_baselines_are_the_default_and_none_the_empty_list(work: SimulationFolder) -> None:
    call = given(work, "--quiet")
    place = call.index("--baselines")
    assert run(call[:place] + call[place + 2 :]) == 0
    names = ["federated", *(b.value for b in Baseline), "at_home"]
    assert list(results_of(work)["models"]) == names
    assert run(given(work, "--quiet", baselines="")) == 0
    assert list(results_of(work)["models"]) == ["federated"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("alone", (Baseline.ALONE,)),
        ("central-dp,alone,alone", (Baseline.ALONE, Baseline.CENTRAL_DP)),
        ("local-dp , central", (Baseline.LOCAL_DP, Baseline.CENTRAL)),
    ],
)
def test_lists_of_baselines(text: str, expected: tuple[Baseline, ...]) -> None:
    assert parse_baselines(text) == (expected, ())


def test_models_of_others_are_marked_wherever_their_figures_are(
    work: SimulationFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(given(work, baselines="boosting,fedavg+server-fixed,krum")) == 0
    results, shown = results_of(work), capsys.readouterr().out
    rows = {row["name"]: row for row in results["others"]}
    assert list(results["models"]) == ["federated"]
    assert {name: row["sees"] for name, row in rows.items()} == {
        "boosting": "every record",
        "fedavg+server-fixed": "every update",
        "krum": "every update",
    }
    assert "in simulation only" in " ".join(shown.split())
    assert shown.count("every update") == 2
    assert shown.count("every record") == 1
    assert "institution" in shown[shown.index("every update") :]


@pytest.mark.parametrize("text", ["alone_dp", "Alone", "none", "alone,best", "all"])
def test_unknown_baselines_are_named(text: str) -> None:
    with pytest.raises(UsageError, match="--baselines: expected some of alone, alone-dp, local-dp"):
        parse_baselines(text)


def test_files_by_name(work: SimulationFolder) -> None:
    for name in ("ape", "cow", "emu"):
        work.write_records(make_table(), f"{name}.parquet")
    named = [
        part
        for name in ("ape", "cow", "emu")
        for part in ("--records", f"{name}={work.folder / name}.parquet")
    ]
    out = ["--out", str(work.folder / "out"), "--baselines", "", "--quiet"]
    assert run(["simulate", str(work.study_file), *named, *out]) == 0
    assert [row["name"] for row in results_of(work)["institutions"]] == ["ape", "cow", "emu"]


@pytest.mark.parametrize("partition", [(), ("--partition", "iid"), ("--partition", "dirichlet:1")])
def test_a_seeded_partition(work: SimulationFolder, partition: tuple[str, ...]) -> None:
    call = ["simulate", str(work.study_file), "--records", str(work.records_file), "--quiet"]
    call += ["--institutions", "4", *partition, "--baselines", ""]
    assert run([*call, "--out", str(work.folder / "out")]) == 0
    assert len(results_of(work)["institutions"]) == 4


def test_a_hold_out_file_and_an_audit_column(work: SimulationFolder) -> None:
    other = work.write_records(make_table(50, seed=4), "other.parquet")
    more = ("--holdout-file", str(other), "--audit-column", "persona", "--quiet")
    assert run(given(work, *more)) == 0
    results = results_of(work)
    assert sum(row["units"] for row in results["groups"]["rows"]) == 50
    own = results["models"]["federated"]["per_institution"]["bank-a"]["own"]
    assert own["auroc"] is not None


def test_seeds_fix_simulated_runs(work: SimulationFolder) -> None:
    models = []
    for seed in ("7", "7", "8"):
        assert run(given(work, "--quiet", "--seed", seed)) == 0
        models.append((work.folder / "out" / "model.safetensors").read_bytes())
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_the_largest_seed(work: SimulationFolder) -> None:
    assert run(given(work, "--quiet", "--seed", str(2**63 - 1))) == 0


# -- bad input: exit status 2, one line that says what to do, and nothing half done ----------

BAD_STUDY = 'name = "x"\npurpose = 7\n[records]\nlabel = "reported"\n'


def bad_calls(work: SimulationFolder) -> Iterator[tuple[str, list[str], str]]:
    folder, study, records = work.folder, str(work.study_file), str(work.records_file)
    (folder / "bad.toml").write_text(BAD_STUDY)
    (folder / "no.toml").write_text("this is = = no TOML")
    (folder / "bytes.toml").write_bytes(b"\xff\xfe")
    (folder / "text.parquet").write_text("no Parquet")
    (folder / "file").write_text("")
    twice = make_table().slice(0, 30)
    work.write_records(twice, "part.parquet")
    out = ["--out", str(folder / "out")]
    by_bank = ["--records", records, "--institution-column", "bank"]

    def call(*rest: str, plan: str = study) -> list[str]:
        return ["simulate", plan, *out, *rest]

    yield "no arguments", ["simulate"], "STUDY.toml"
    yield "no study there", call(*by_bank, plan=str(folder / "none.toml")), "none.toml"
    yield "a folder for a study", call(*by_bank, plan=str(folder)), "readable file"
    yield "a study that is no TOML", call(*by_bank, plan=str(folder / "no.toml")), "expected TOML"
    yield "a study that is no text", call(*by_bank, plan=str(folder / "bytes.toml")), "UTF-8"
    yield "a study with mistakes", call(*by_bank, plan=str(folder / "bad.toml")), "records.units"
    yield "no records", call(), "say where records are"
    yield "no file there", call("--records", "gone.csv", "--institution-column", "bank"), "gone.csv"
    yield (
        "records that are none",
        call("--records", str(folder / "text.parquet"), "--institution-column", "bank"),
        "text.parquet",
    )
    yield (
        "no such column",
        call("--records", records, "--institution-column", "branch"),
        "branch",
    )
    yield "nobody named", call("--records", records), "--institution-column COL or --institutions"
    yield "two ways", call(*by_bank, "--institutions", "3"), "--institution-column COL or"
    yield "no institutions", call("--records", records, "--institutions", "0"), "--institutions"
    yield "too few", call("--records", records, "--institutions", "2"), "at least 3 institutions"
    yield (
        "a partition of nothing",
        call("--records", records, "--institutions", "3", "--partition", "dirichlet:-1"),
        "--partition",
    )
    yield "a partition alone", call(*by_bank, "--partition", "iid"), "--partition goes with"
    yield "an unknown baseline", call(*by_bank, "--baselines", "best"), "--baselines"
    yield "a negative seed", call(*by_bank, "--seed", "-1"), "--seed"
    yield "a seed too large", call(*by_bank, "--seed", str(2**64)), "--seed"
    yield "a seed that is none", call(*by_bank, "--seed", "x"), "--seed"
    yield "another noise", call(*by_bank, "--noise", "loud"), "--noise"
    yield "an unknown option", call(*by_bank, "--epsilon", "1"), "--epsilon"
    yield "no hold-out there", call(*by_bank, "--holdout-file", "gone.csv"), "gone.csv"
    yield "no audit column", call(*by_bank, "--audit-column", "height"), "height"
    yield "no folder", ["simulate", study, *by_bank], "--out"
    yield (
        "a file for a folder",
        ["simulate", study, *by_bank, "--out", str(folder / "file")],
        "expected a folder",
    )
    yield (
        "one name twice",
        call("--records", f"a={records}", "--records", f"a={records}"),
        "each institution once",
    )
    yield (
        "a budget of almost nothing",
        call(*by_bank, plan=str(write_tiny(work))),
        "privacy.epsilon",
    )


def write_tiny(work: SimulationFolder) -> Path:
    text = work.study_file.read_text("utf-8")
    path = work.folder / "tiny.toml"
    path.write_text(text.replace("= 4.0", "= 1e-9").replace("= 1e-4", "= 1e-12"))
    return path


def test_bad_input_of_every_kind(work: SimulationFolder, capsys: Capture) -> None:
    for name, call, message in bad_calls(work):
        assert run([*call, "--quiet"]) == 2, name
        captured = capsys.readouterr()
        assert message in captured.err, name
        assert captured.out == "", name
        assert "Traceback" not in captured.err, name
        assert all(line.startswith("fieldfare: ") for line in captured.err.splitlines()), name
        assert not (work.folder / "out" / "results.json").exists(), name


# -- refused, failed, interrupted -----------------------------------------------------------


def test_a_refusal_by_policy_is_status_3(
    work: SimulationFolder, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PolicyRefusal(RefusalCode.BUDGET_EXHAUSTED, "expected a budget, found none left")

    monkeypatch.setattr("fieldfare.simulations.cli.simulate.simulate", refuse)
    assert run(given(work)) == 3
    assert capsys.readouterr().err == "fieldfare: expected a budget, found none left\n"


def test_a_disk_that_fails_is_status_1(
    work: SimulationFolder, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("fieldfare.simulations.report.page.write_report", full)
    assert run(given(work)) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "fieldfare: report.html: expected room on its disk, found: No space left"
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("noise", ["exact", *night("simulated")])
def test_an_interrupted_run_ends_at_once_and_cleans_up(work: SimulationFolder, noise: str) -> None:
    work.write_study(training={"steps": "5000"})
    out = work.folder / "out"
    with subprocess.Popen(
        [*COMMAND, *given(work, "--noise", noise)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        begun = f".ledgers-{process.pid}-*"
        begun += "/ledger-*.sqlite" if noise == "exact" else ""
        wait_for(MEMORY, begun, process)  # the federation is there; its steps follow
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.strip() == "fieldfare: interrupted; nothing more was released"
    assert output == ""
    assert [*out.parent.glob("out"), *MEMORY.glob(begun)] == []


def test_help_names_every_option(capsys: Capture) -> None:
    assert run(["simulate", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in (
        *("--records", "--institution-column", "--institutions", "--partition", "--holdout-file"),
        *("--audit-column", "--baselines", "--seed", "--noise", "--quiet", "--json", "--out"),
    ):
        assert option in shown
    assert len(BANKS) == 3


# -- what is not installed ------------------------------------------------------------------


def test_a_study_that_needs_torch_is_refused_with_the_command_that_installs_it(
    work: SimulationFolder, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with work.study_file.open("a") as file:
        file.write('\n[model]\nkind = "mlp"\nhidden = [8]\n')
    without_torch(monkeypatch)
    for call in (given(work), ["study", "check", str(work.study_file)]):
        assert run(call) == 2
        assert "pip install 'fieldfare[torch]'" in capsys.readouterr().err
    assert list((work.folder / "out").glob("*")) == []


@pytest.mark.promises
def test_everything_that_a_deployment_runs_works_without_torch(work: SimulationFolder) -> None:
    """All baselines, exact noise, masks, ledgers and the page, where torch cannot be found."""
    all_of_them = "alone,alone-dp,local-dp,central,central-dp"
    call = given(work, "--noise", "exact", "--quiet", baselines=all_of_them)
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.system.packages import Absent
sys.meta_path.insert(0, Absent("torch", "opacus", "captum"))
from fieldfare.shared.cli.root import run
sys.exit(run({call!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (work.folder / "out" / "report.html").stat().st_size > 10_000
