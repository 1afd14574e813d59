"""`fieldfare institution import FILE`: take in a file from the coordinator.

Errors pass through: the root command turns them into exit codes.
"""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.institution.building import Institution, open_institution, open_journal
from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.cli_studies import receive_study
from fieldfare.client.institution.inbox import HomeInbox
from fieldfare.client.institution.journal import Journal
from fieldfare.client.institution.journal_decisions import JournalDecisions
from fieldfare.client.institution.kept_models import kept_model
from fieldfare.client.institution.screen import SHORT
from fieldfare.shared.clock import utc_now
from fieldfare.shared.delivery import Delivery
from fieldfare.shared.delivery_file import (
    DELIVERY_FILE_TYPE,
    LARGEST_DELIVERY_FILE,
    DeliveryFile,
)
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, UsageError
from fieldfare.shared.next_command import at_home
from fieldfare.shared.offers import RosterOffer, StudyOffer

ELSEWHERE: Final = {
    RosterOffer.TYPE: "fieldfare institution roster accept FILE",
    "fieldfare.transcript.v1": "fieldfare institution transcript verify FILE",
}
FIRST_LINE: Final = 1024  # bytes: what says of a file of lines what it is

import_app = typer.Typer(add_completion=False)


@import_app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="The file that the coordinator sent.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Take a file from the coordinator: a signed study, or a finished model."""
    content = _read(file)
    kind = type_of(content)
    if kind == StudyOffer.TYPE:
        receive_study(file, home)
    elif kind == DELIVERY_FILE_TYPE:
        _take_delivery(open_institution(home), content)
    elif kind in ELSEWHERE:
        raise UsageError(
            f"{file}: expected a study or a delivery, found a file for {ELSEWHERE[kind]}"
        )
    else:
        raise UsageError(
            f"{file}: expected a signed study or a delivery file, found something else: ask the "
            "coordinator for the file again"
        )


def type_of(content: bytes) -> str:
    """Return what a file says that it is; empty where it says nothing. Nothing is believed yet."""
    for part in (content, content[:FIRST_LINE].partition(b"\n")[0]):
        try:
            kind = json.loads(part).get("type", "")
        except (ValueError, RecursionError, AttributeError):
            continue
        return kind if isinstance(kind, str) else ""
    return ""


def _take_delivery(institution: Institution, content: bytes) -> None:
    journal = open_journal(institution.home, utc_now)
    try:
        delivery, new = _deliver(institution, journal, content)
    except (PolicyRefusal, ProtocolError) as error:
        # As a custodian does with what comes over the network: the log knows what was refused.
        JournalDecisions(journal).refused(error.code, str(error))
        raise
    done = "kept the model" if new else "the model is here already:"
    typer.echo(f"{done} of study {delivery.study[:SHORT]}, run {delivery.run}")
    typer.echo(at_home(f"Next: fieldfare institution model show {delivery.run}"))


def _deliver(institution: Institution, journal: Journal, content: bytes) -> tuple[Delivery, bool]:
    home, roster = institution.home, institution.roster
    file = DeliveryFile.from_bytes(content)
    delivery = file.open(roster)
    inbox = HomeInbox(home, roster, journal, utc_now)
    before = _has(institution, delivery)
    inbox.delivered(delivery, file.envelope, file.model, file.card)
    return delivery, not before


def _has(institution: Institution, delivery: Delivery) -> bool:
    try:
        return kept_model(institution.home, delivery.study, delivery.run) is not None
    except UsageError:
        return False  # no name for a folder: the inbox refuses it


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_DELIVERY_FILE + 1)
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if len(content) > LARGEST_DELIVERY_FILE:
        raise UsageError(f"{path}: expected at most {LARGEST_DELIVERY_FILE} bytes, found more")
    return content.rstrip(b"\r\n")  # mail and editors add one
