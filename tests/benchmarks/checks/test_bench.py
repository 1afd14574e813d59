"""`make bench`: that it runs what it says, and holds figures against what is promised."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.benchmarks import everything as bench
from tests.benchmarks.everything import amlsim, promises, show
from tests.benchmarks.kept.machine import machine


def found(**changes: float) -> dict[str, Any]:
    """Figures that hold every promise with room to spare, then changed."""
    figures = {"exact": 5.0, "simulated": 3.0, "peak": 700.0, "messages": 0.5, "ratio": 1.1}
    figures = {**figures, "growth": 4.0, "network": 1.5, "step": 0.5, "asked": 1.0}
    figures |= {"dense": 1.0, "moments": 59.0, "moments_peak": 900.0, "whitened": 1.2}
    figures |= {"making": 3.0, "making_peak": 400.0, "alerts": 0.5}
    figures |= {"scoring": 40.0, "scoring_peak": 1300.0, **changes}
    row = {"records": "generated", "banks": 6, "units": 40_000, "steps": 60}
    whole = figures["growth"] * 0.1
    plain = whole / figures["ratio"]
    return {
        "machine": {"cores": 2},
        "simulations": [
            {**row, "noise": noise, "seconds": figures[noise], "limit": bench.SECONDS[noise]}
            for noise in bench.SECONDS
        ],
        "questions": {"questions": 12, "banks": 6, "units": 200_000, "seconds": figures["asked"]},
        "federations": {
            "limit": 0.7,
            "deployed": [
                {
                    "institutions": 3,
                    "load_before": 0.1,
                    "median_seconds": figures["step"],
                    "most_seconds": 1.0,
                    "superlink_processor_seconds": 0.2,
                    "run_processor_seconds": 0.1,
                }
            ],
            "stock": {
                "institutions": 3,
                "load_before": 0.1,
                "median_seconds": 6.0,
                "most_seconds": 7.0,
            },
        },
        "networks": [
            {
                "units": 4096,
                "seconds": {"exact": 0.02, "plain": 0.01, "ghost": 0.03, "hooks": 0.5},
                "megabytes": {"exact": 9.0, "plain": 1.0, "ghost": 2.0, "hooks": 80.0},
            }
        ],
        "mlp": [
            {
                "units": 4096,
                "seconds": {
                    "private": figures["network"] * 0.01,
                    "plain": 0.01,
                    "ghost": 0.03,
                    "hooks": 0.5,
                },
                "megabytes": {"private": 9.0, "plain": 1.0, "ghost": 2.0, "hooks": 80.0},
            }
        ],
        "world": {
            "transactions": 2_000_000,
            "seconds": 2 * figures["making"],
            "peak_bytes": int(figures["making_peak"] * 1e6),
        },
        "scoring": {
            "units": 1_000_000,
            "features": 48,
            "reading": figures["scoring"] - 30,
            "ranking": 20.0,
            "writing": 10.0,
            "processor": 30.0,
            "peak_bytes": int(figures["scoring_peak"] * 1e6),
            "file_bytes": 10**8,
        },
        "alerts": [
            {
                "name": "the list of alerts",
                "customers": 20_000,
                "seconds": figures["alerts"],
                "most": 1.0,
            }
        ],
        "geometry": {
            "units": 1_000_000,
            "features": 40,
            "moments_seconds": figures["moments"] / 3,
            "matrix_seconds": 9.0,
            "norms_seconds": figures["moments"] * 2 / 3,
            "peak_megabytes": figures["moments_peak"],
            "private_seconds": figures["whitened"],
            "plain_seconds": 1.0,
        },
        "institution": {
            "units": 4000,
            "features": 40,
            "loading_seconds": 3.0,
            "peak_megabytes": figures["peak"],
            "message_milliseconds": figures["messages"],
            "dense_torch_seconds": figures["dense"],
            "steps": [
                {"units": 1000, "private_seconds": 0.1, "plain_seconds": 0.1},
                {"units": 4000, "private_seconds": whole, "plain_seconds": plain},
            ],
        },
    }


def test_figures_within_every_promise_hold() -> None:
    rows = promises(found())
    assert len(rows) == 18
    assert all(holds for *_, holds in rows)


@pytest.mark.parametrize(
    ("change", "value", "broken"),
    [
        ("exact", 15.1, "exact noise"),
        ("simulated", 8.1, "simulated noise"),
        ("messages", 10.1, "messages"),
        ("asked", 3.1, "12 questions"),
        ("ratio", 1.31, "private step /"),
        ("dense", 0.3, "dense torch: private step /"),
        ("network", 2.01, "private step of a network, 4,096 units"),
        ("peak", 2000.1, "memory, loading"),
        ("moments", 60.1, "moments and norms, 1,000,000 x 40"),
        ("moments_peak", 1000.1, "memory, moments"),
        ("whitened", 1.31, "whitened private step /"),
        ("making", 6.1, "a million transactions"),
        ("making_peak", 1000.1, "memory, making"),
        ("scoring", 60.1, "1,000,000 customers scored"),
        ("scoring_peak", 2000.1, "memory, scoring"),
        ("alerts", 1.01, "the list of alerts"),
        ("growth", 5.1, "4 x the units"),
        ("step", 0.71, "step of 3 deployed"),
    ],
)
def test_a_broken_promise_is_said(change: str, value: float, broken: str) -> None:
    rows = promises(found(**{change: value}))
    assert [what.startswith(broken) for what, _, _, holds in rows if not holds] == [True]
    console = Console(record=True, width=140, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 -- read back from the record
    show(found(**{change: value}), console)
    lines = [line for line in console.export_text().splitlines() if " no " in line]
    assert len(lines) == 1
    assert broken in lines[0]


@pytest.mark.promises  # two minutes
def test_a_bench_runs_without_outside_data_and_prints_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes on few units: what is printed is measured, and says on what machine."""
    monkeypatch.setenv("FIELDFARE_DATA", "")
    monkeypatch.setattr(bench, "STEPS", 5)
    monkeypatch.setattr(bench, "FEATURES", 4)
    monkeypatch.setattr(bench, "ASKED_UNITS", 1000)
    small = {
        "units": 1000,
        "large": 1000,
        "people": 600,
        "scored": 500,
        "customers": 100,
        "networks": "64",
        "counts": "",
    }
    bench.main(as_json=True, runs=1, **small)  # type: ignore[arg-type]
    figures = json.loads(capsys.readouterr().out)
    parts = {"simulations", "questions", "institution", "networks", "world", "scoring", "alerts"}
    parts |= {"mlp", "federations", "geometry"}
    assert set(figures) == {"format", "machine", *parts}
    assert (figures["questions"]["questions"], figures["questions"]["units"]) == (12, 1000)
    assert [row["units"] for row in figures["networks"]] == [64]
    assert [row["units"] for row in figures["mlp"]] == [64]
    assert figures["federations"] is None  # minutes: tests/deployment has such federations
    assert set(figures["machine"]) == set(machine())
    runs = [(r["noise"], r["banks"], r["units"], r["steps"]) for r in figures["simulations"]]
    assert runs == [("exact", 6, 1000, 5), ("simulated", 6, 1000, 5)]
    for row in figures["simulations"]:
        assert row["seconds"] > row["training_seconds"] > 0  # start-up is included
    assert figures["institution"]["units"] == 1000
    assert figures["world"]["transactions"] > 1000
    assert figures["scoring"]["units"] == 500
    assert len(promises(figures)) == 23


@pytest.mark.faults  # slow: a study is drafted from six banks
def test_amlsim_is_used_where_it_is(tmp_path: Path) -> None:
    assert amlsim(tmp_path, None) is None
    assert amlsim(tmp_path, "") is None
    assert amlsim(tmp_path, str(tmp_path)) is None
    data = Path(os.environ.get("FIELDFARE_DATA") or Path(__file__).parents[4] / "shared" / "data")
    if not (data / "amlsim" / "bank_a").is_dir():
        pytest.skip("AMLSim is not at hand: name its folder in FIELDFARE_DATA")
    records = amlsim(tmp_path, str(data))
    assert records is not None
    assert (records.name, records.column) == ("amlsim", "institution")
    assert records.file.is_file()
    assert "[[features]]" in records.study.read_text("utf-8")


@pytest.mark.parametrize("inside", ["", "amlsim"])
def test_its_own_folder_or_the_one_above_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    (tmp_path / inside / "bank_a").mkdir(parents=True)
    called: list[list[str]] = []

    def record(arguments: list[object]) -> tuple[float, str]:
        called.append([str(argument) for argument in arguments])
        return 0.0, "a study"

    monkeypatch.setattr(bench, "run_process", record)
    assert amlsim(tmp_path, str(tmp_path)) is not None
    assert str(tmp_path / inside) in called[0]


def test_a_machine_is_named() -> None:
    facts = machine()
    assert facts["cores"] >= 1
    assert facts["memory_gigabytes"] > 0
    assert facts["processor"]
    assert facts["flwr"].startswith("1.42.")
