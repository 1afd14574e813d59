"""A simulation's result in MLflow, on this machine, without its telemetry.

MLflow asks two hosts of its makers at its first call unless `MLFLOW_DISABLE_TELEMETRY` is set when
it is imported (mlflow 3.17, telemetry/client.py); nothing else turns that off by itself.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fieldfare.shared.errors import UsageError

_SWITCHES: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}


def log_to_mlflow(results: Mapping[str, Any], folder: Path) -> str:
    """Log a result as a run of MLflow in a folder, and return the run's id.

    Parameters are the study, its privacy and the seed; metrics are those of every model, and of
    models of others, each of which has a tag that says what its maker sees; results.json is kept
    whole. The experiment bears the study's name.

    Args:
        results: the content of results.json.
        folder: of MLflow's files; made where there is none.

    Raises:
        UsageError: mlflow-skinny is not installed.
    """
    os.environ.update(_SWITCHES)
    try:
        import mlflow  # noqa: PLC0415 -- an optional library, and after the switches
        from mlflow.telemetry import set_telemetry_client  # noqa: PLC0415 -- the same
    except ModuleNotFoundError:
        raise UsageError(
            "--mlflow: expected mlflow-skinny, found none here: pip install 'fieldfare[peers]'"
        ) from None
    set_telemetry_client()  # whoever imported it before has a client: now there is none
    study, privacy, others = results["study"], results["privacy"], results.get("others") or []
    models = {**results["models"], **{f"others/{one['name']}": one for one in others}}
    store = mlflow.MlflowClient(tracking_uri=folder.absolute().as_uri())
    known = store.get_experiment_by_name(study["name"])
    experiment = known.experiment_id if known else store.create_experiment(study["name"])
    run = store.create_run(experiment, run_name=f"seed {results['seed']}")
    facts = {"study": study["id"], "seed": results["seed"], "version": results["version"]}
    for key, value in {**facts, **privacy}.items():
        if not isinstance(value, dict):
            store.log_param(run.info.run_id, key, value)
    for name, figures in models.items():
        for key, value in figures.items():
            if isinstance(value, float):
                store.log_metric(run.info.run_id, f"{name}/{key}".replace("+", " "), value)
    for one in others:
        store.set_tag(run.info.run_id, f"sees/{one['name']}".replace("+", " "), one["sees"])
    store.log_dict(run.info.run_id, dict(results), "results.json")
    store.set_terminated(run.info.run_id)
    return str(run.info.run_id)
