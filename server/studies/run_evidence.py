"""The facts of a run for a pack of evidence, from the coordinator's own store."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from io import BufferedRandom
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.run.closing import kept_delivery
from fieldfare.server.store.export import write_signed
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import RunStore, run_store_to_read
from fieldfare.server.studies.run_control import find_run
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.evidence.facts import (
    EvidenceFacts,
    LogMark,
    MakerRole,
    PersonDecision,
    RunTimes,
    SoftwareFacts,
)
from fieldfare.shared.evidence.recomputed import RecomputedRun, auditors_facts, recomputed_run
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.flower_record import bytes_of
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.terminal.texts import counted

NEWEST: Final = 30  # decisions that are shown
CARD: Final = "model-card.json"


def run_evidence(
    home: CoordinatorHome, text: str, software: SoftwareFacts, now: datetime
) -> EvidenceFacts:
    """Audit a run as its store holds it, and return the facts of its pack.

    Args:
        home: the coordinator's.
        text: the run's id, or the beginning of it.
        software: that makes the pack.
        now: the present, with a time zone.

    Raises:
        UsageError: none or several fit, or a log that was not signed to its end.
        RunError: the store cannot be read.
        ProtocolError: the log does not fit.
    """
    with run_store_to_read(home.runs_database) as store, tempfile.TemporaryFile() as file:
        row = find_run(store, text)
        found, digest = _recomputed(store, row, file, Trust(roster_public(home)))
    card = _card(home, row.run)
    days = load_settings(home).retention_days
    return replace(
        auditors_facts(found, digest, software, now),  # what anybody can make of the transcript
        role=MakerRole.COORDINATOR,
        maker=COORDINATOR,
        card=card,
        times=(RunTimes(row.run, row.created, row.ended),),
        retention_days=days,
        decisions=tuple(_decisions(home, row)),
        logs=tuple(_logs(home, found, days)),
        papers=found.papers | ({CARD: card.to_bytes()} if card else {}),
    )


def _recomputed(
    store: RunStore, row: RunRow, file: BufferedRandom, trust: Trust
) -> tuple[RecomputedRun, str]:
    write_signed(store, row.run, file)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return recomputed_run(file, trust), digest


def _card(home: CoordinatorHome, run: str) -> ModelCard | None:
    """Return the card of the run's model, where it finished one."""
    folder = home.model(run)
    if not folder.is_dir():
        return None
    return ModelCard.from_bytes(bytes_of(kept_delivery(folder), "card"))


def _lines(home: CoordinatorHome) -> list[dict[str, str]]:
    if not home.decisions.exists():
        return []
    text = home.decisions.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def _decisions(home: CoordinatorHome, row: RunRow) -> Iterator[PersonDecision]:
    """Yield what was decided of the federation, and of the run's study: no other study's."""
    for line in [one for one in _lines(home) if _is_of(one, row)][-NEWEST:]:
        about = line.get("institution") or line.get("act") or ""
        what = f"{line['event']} {about}".strip()
        # Of an act in the console the user is the account that runs it.
        yield PersonDecision(str(line.get("person") or line["user"]), what, str(line["time"]))


def _is_of(line: Mapping[str, str], row: RunRow) -> bool:
    if "study" in line:
        return line["study"] == row.study
    return line.get("run", row.run) == row.run


def _logs(home: CoordinatorHome, found: RecomputedRun, days: int) -> Iterator[LogMark]:
    yield LogMark(
        "transcript of the run",
        "every request, reply, sum, step, model and metric, signed by those who sent them",
        found.report.leaves,
        found.root,
        f"hashes and signatures for good, masked vectors {counted(days, 'day')} after the end",
    )
    yield LogMark(
        "decisions",
        "members let in and removed, keys, rosters, acts in the console: who and when",
        len(_lines(home)),
        "",
        "for good",
    )
    with run_store_to_read(home.runs_database) as store:
        deleted = store.deletion_statements()
    yield LogMark(
        "deletions",
        "signed statements of what was deleted, when and under which rule; hashes, no content",
        len(deleted),
        "",
        "for good",
    )
    yield LogMark("calls", "every call to the SuperLink: who, what, when", None, "", "as rotated")
