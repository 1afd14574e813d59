"""A result in MLflow: what is kept, and that no other host is asked for anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulations.report.conftest import MakeRun

pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")

TAPPED = """\
import json, os, socket, sys, time
from pathlib import Path
asked = []
def tap(*arguments, **_):
    asked.append(str(arguments[0]))
    raise OSError("no network")
socket.getaddrinfo = tap
results, folder, early = json.loads(sys.stdin.read()), Path(sys.argv[1]), sys.argv[2]
if early == "bare":
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    import mlflow
    mlflow.set_tracking_uri(folder.as_uri())
    mlflow.set_experiment("one")
    with mlflow.start_run():
        mlflow.log_metric("one", 1.0)
    end = time.monotonic() + 60
    while not asked and time.monotonic() < end:  # a thread of its own asks
        time.sleep(0.05)
else:
    if early == "imported before":
        import mlflow
        time.sleep(0.5)
        asked.clear()  # what a user's own import asks is the user's
    from fieldfare.simulations.report.mlflow_logger import log_to_mlflow
    log_to_mlflow(results, folder)
    time.sleep(1.0)
print(json.dumps(asked))
"""


def tapped(results: object, folder: Path, early: str) -> list[str]:
    """Run in a process that looks like no test and no CI, where MLflow would be silent anyway."""
    hidden = ("CI", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
    plain = {key: value for key, value in os.environ.items() if key not in hidden}
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", TAPPED, str(folder / "mlflow"), early],
        input=json.dumps(results),
        capture_output=True,
        text=True,
        env=plain | home,
        check=True,
    )
    asked: list[str] = json.loads(done.stdout.splitlines()[-1])
    return asked


@pytest.mark.faults
def test_mlflow_itself_asks_another_host(make_run: MakeRun, tmp_path: Path) -> None:
    assert tapped(make_run().results, tmp_path, "bare")


@pytest.mark.faults
@pytest.mark.parametrize("early", ["never before", "imported before"])
def test_no_other_host_is_asked(make_run: MakeRun, tmp_path: Path, early: str) -> None:
    results = make_run().results | {"seed": 1, "version": "0.1.0"}
    assert tapped(results, tmp_path, early) == []
    assert (tmp_path / "mlflow").is_dir()


def test_a_run_keeps_figures_and_what_makers_see(make_run: MakeRun, tmp_path: Path) -> None:
    import mlflow

    from fieldfare.simulations.report.mlflow_logger import log_to_mlflow

    other = {"name": "fedavg+server-fixed", "sees": "every update", "auroc": 0.75, "epsilon": None}
    results = make_run().results | {"seed": 3, "version": "0.1.0", "others": [other]}
    runs = {log_to_mlflow(results, tmp_path / "mlflow") for _ in range(2)}
    store = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    found = store.get_run(runs.pop())
    assert len(runs) == 1
    assert found.data.metrics["federated/auroc"] == results["models"]["federated"]["auroc"]
    assert found.data.metrics["others/fedavg server-fixed/auroc"] == 0.75
    assert found.data.tags["sees/fedavg server-fixed"] == "every update"
    assert found.data.params["epsilon"] == "1.0"
    kept = store.download_artifacts(found.info.run_id, "results.json", str(tmp_path))
    assert json.loads(Path(kept).read_text()) == results
