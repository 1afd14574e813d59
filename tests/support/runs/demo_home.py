"""What the demo left in a bank's home, set beside the run: its model, its queue, its ledger."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.open import open_institution_ledger
from fieldfare.client.model_use.usable import usable_model
from fieldfare.shared.console.accounts import open_accounts
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.study.study import Study

PICO: Final = 1e12
SIMULATED: Final = "simulation"

Values = np.ndarray[Any, Any]


def untrue_home(
    program: str, home: Path, held: dict[str, int], folder: Path, run: tuple[Study, dict[str, Any]]
) -> Iterator[str]:
    """Yield what is not as the screen's last line promises.

    Args:
        program: that the line names.
        home: that it names.
        held: label of each held-out customer of the bank.
        folder: of the run's files.
        run: the study, and results.json.
    """
    study, results = run
    if shutil.which(program) is None:
        yield f"{program}: no such command here"
    institution = open_institution(home)
    model = usable_model(institution, results["home"]["run"])
    shared = model_from_bytes((folder / "model.safetensors").read_bytes(), study, SIMULATED)
    if not np.array_equal(model.parameters, shared) or model.study != study:
        yield "the home's model is not the run's"
    if "recomputed here step by step" not in model.verified:
        yield f"the home's model: {model.verified}"
    with open_institution_ledger(institution, lambda: datetime.now(UTC)) as ledger:
        ledger.verify()
        if abs(ledger.spent() / PICO - results["privacy"]["mu2_spent"]) > 1e-9:
            yield f"the home's ledger has {ledger.spent()}"
    yield from _ranking(home, held, results)
    yield from _queue(home, study, results)
    with open_accounts(home / "console", lambda: datetime.now(UTC), lambda _: b"") as book:
        names = [(one.name, one.enrolled) for one in book.uninvited()]
    if names != [(results["home"]["person"], False)]:
        yield f"waiting for a link: {names}"


def _ranking(home: Path, held: dict[str, int], results: dict[str, Any]) -> Iterator[str]:
    """The home's ranking finds as many held-out cases as the table says of the bank at home."""
    table = pq.read_table(home / "ranked.parquet", columns=["unit", "score", "label"])
    scores = dict(zip(table["unit"].to_pylist(), table["score"].to_pylist(), strict=True))
    own = results["models"]["at_home"]["per_institution"][home.name]["own"]
    if not set(held) <= set(scores):
        yield "held-out customers are not ranked"
        return
    values, labels = (np.array([one[unit] for unit in held]) for one in (scores, held))
    top = np.argsort(-values, kind="stable")[: max(1, round(0.02 * len(held)))]
    found = float(labels[top].sum() / labels.sum())
    if abs(found - own["recall_at_budget"]) > 1.01 / labels.sum():  # one at the edge, by a tie
        yield f"the home's ranking finds {found:.3f}, the table {own['recall_at_budget']:.3f}"


def _queue(home: Path, study: Study, results: dict[str, Any]) -> Iterator[str]:
    queue = open_queue(home)
    customers = pq.read_table(home / "customers.parquet", columns=["customer", "label"])
    known = {
        row["customer"] for row in customers.to_pylist() if row["label"] == 1
    }  # fmt: skip
    with queue.store() as store:
        kept = store.all()
        without = [one for one in kept if not _has_entries(store, queue, one)]
    top = [one for one in kept if one.alert.selected == "alert"]
    wanted = round(study.evaluation.alert_budget * len(customers))
    if abs(len(top) - wanted) > 1 or len(kept) != results["home"]["alerts"]:
        yield f"{len(top)} and {len(kept) - len(top)} alerts, expected {wanted} from the top"
    if any(one.alert.unit in known for one in kept):
        yield "somebody is an alert whom the bank knows already"
    if any(not one.alert.tuned or one.decisions for one in kept):
        yield "an alert is not of the model used at home, or was decided on"
    if without:
        yield f"{len(without)} alerts without the customer's own entries"
    if (Home.open(home).path / "invented").stat().st_size == 0:
        yield "nothing says that the home is invented"


def _has_entries(store: Any, queue: Any, kept: StoredAlert) -> bool:
    found = store.entries(kept.alert.alert)
    return found is not None and queue.entry_keys.open(found[1], kept.alert.alert, found[0])
