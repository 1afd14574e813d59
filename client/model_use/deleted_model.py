"""A model that a person has deleted, with what was tuned from it: never one that is in use."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import REPLACED, KeptModel, kept_models
from fieldfare.client.home.studies import State, deciding, read_decision
from fieldfare.client.institution.file_deletion import say_deleted
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.usable import tuned_path
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.system.private_files import sync_folder

OF: Final = "model of run "


@dataclass(frozen=True)
class LeavingModel:
    """A model that may go.

    Attributes:
        kept: where it is.
        digest: SHA-256 of its file, which its delivery binds too.
        tuned: what was tuned from it here; it goes along, without a hash: it was made of records.
    """

    kept: KeptModel
    digest: str
    tuned: Path | None


def leaving_model(home: Home, kept: KeptModel) -> LeavingModel:
    """Return what goes with a model.

    Raises:
        UsageError: it is needed, or cannot be read.
    """
    _check_not_needed(home, kept)
    path = tuned_path(home, kept.study, kept.run)
    digest = bytes_hash(kept.read().model)
    return LeavingModel(kept, digest, path if path.is_file() else None)


def delete_model(
    home: Home, model: LeavingModel, user: str, reason: str, clock: Callable[[], datetime]
) -> None:
    """Delete a model; its hash and why stay in the log.

    Raises:
        UsageError: it is needed by now, or the reason may not stand in the log.
        LedgerError: the log cannot be written; the model stays.
        OSError: the disk refuses it.
    """
    folder, old = model.kept.folder, model.kept.folder.parent / REPLACED
    with deciding(home), Journal.open(home.log_folder, clock=clock) as journal:
        _check_not_needed(home, model.kept)
        what = f"{OF}{model.kept.run}"
        say_deleted(journal, user, what, model.digest, reason, model.kept.study)
        if model.tuned is not None:
            model.tuned.unlink(missing_ok=True)
        if old.exists():  # left behind by a crash, never in use
            shutil.rmtree(old)
        folder.rename(old)  # at once: a half of it is no model
        shutil.rmtree(old)
        sync_folder(old.parent)
        with suppress(OSError):  # others of the study are there
            old.parent.rmdir()


def finish_deletions(home: Home) -> bool:
    """Delete what an interruption left of models that the log says are gone; tell whether any was.

    Raises:
        OSError: the disk refuses it.
    """
    left = [path for path in home.models.glob(f"*/{REPLACED}") if path.is_dir()]
    for path in left:
        shutil.rmtree(path)
        sync_folder(path.parent)
        with suppress(OSError):  # others of the study are there
            path.parent.rmdir()
    return bool(left)


def _finished(kept: KeptModel) -> str:
    """Return when a model's run finished (ISO 8601), as its card says; empty: it says nothing."""
    try:
        return ModelCard.from_bytes(kept.read().card).finished
    except (UsageError, ProtocolError):
        return ""


def _check_not_needed(home: Home, kept: KeptModel) -> None:
    """Refuse the newest model of a study that goes on, and one with open alerts.

    Raises:
        UsageError: says what to do first.
    """
    others = [one for one in kept_models(home) if one.study == kept.study]
    approved = (
        home.study(kept.study).exists() and read_decision(home, kept.study).state is State.APPROVED
    )
    if approved and kept.run == max(others, key=_finished).run:
        raise UsageError(
            f"{kept.run}: expected a model that nobody needs, found the newest one of a study that "
            "is approved here: withdraw the study first"
        )
    if not (home.scoring / STORE).exists():
        return
    with open_store(home) as store:
        waiting = set(store.open_ids().values())
        of_it = {one.alert.alert for one in store.all() if _came_of(one.alert, kept)}
    if waiting & of_it:
        raise UsageError(
            f"{kept.run}: expected a model that nobody needs, found open alerts that came of it: "
            "decide on them first, or score with a newer one"
        )


def _came_of(alert: Alert, kept: KeptModel) -> bool:
    return (alert.study, alert.run) == (kept.study, kept.run)
