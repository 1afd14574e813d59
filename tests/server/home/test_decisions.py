"""Who decided what, and when, stands in the log before it takes effect."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.homes.coordinators import coordinator
from tests.support.homes.papers import Applicant

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.founding import load_signing_key, renew_server, signing_public
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.enrolment import examine, keep, members, remove
from fieldfare.server.members.publication import invite, publish
from fieldfare.shared.system.private_files import os_user

__all__ = ["coordinator"]

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lines(home: CoordinatorHome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.decisions.read_text().splitlines()]


def test_a_line_says_who_and_when(coordinator: CoordinatorHome) -> None:
    write_down(
        coordinator, DecisionKind.REMOVAL, {"institution": "bank\na", "user": "x"}, lambda: AT
    )
    assert lines(coordinator)[-1] == {
        "event": "removal",
        "institution": "bank\na",
        "time": "2026-03-01T12:00:00.000+00:00",
        "user": os_user(),  # no fact takes its place
    }
    assert coordinator.decisions.stat().st_mode & 0o777 == 0o600


def test_everything_that_changes_who_takes_part_is_written_down(
    coordinator: CoordinatorHome,
) -> None:
    key = load_signing_key(coordinator, None)
    bank, other = Applicant("bank-a", coordinator), Applicant("bank-b", coordinator)
    invite(coordinator, key)
    for content in (bank.enrolment(), other.enrolment(), bank.enrolment()):
        keep(coordinator, examine(coordinator, content, "sent"))
    first = publish(coordinator, key)
    publish(coordinator, key)  # nothing changed: nothing to write down
    for content in (bank.rotate(), other.revocation()):
        keep(coordinator, examine(coordinator, content, "sent"))
    remove(coordinator, "bank-b")
    renew_server(coordinator, AT)
    found = lines(coordinator)
    assert [line["event"] for line in found] == [
        *("founding", "invitation", "enrolment", "enrolment", "roster"),
        *("rotation", "revocation", "removal", "certificate"),
    ]
    assert found[0]["coordinator"] == signing_public(coordinator)
    assert (found[4]["version"], found[4]["roster"]) == (1, first.roster.hash)
    assert (found[5]["institution"], found[5]["identity"]) == ("bank-a", bank.public)


def test_what_cannot_be_written_down_is_not_done(coordinator: CoordinatorHome) -> None:
    bank = Applicant("bank-a", coordinator)
    keep(coordinator, examine(coordinator, bank.enrolment(), "sent"))
    coordinator.decisions.unlink()
    coordinator.decisions.mkdir()
    for attempt in (
        lambda: remove(coordinator, "bank-a"),
        lambda: publish(coordinator, load_signing_key(coordinator, None)),
    ):
        with pytest.raises(OSError, match="directory"):
            attempt()
    assert [member.institution for member in members(coordinator)] == ["bank-a"]
    assert not coordinator.roster.exists()


def test_lines_of_several_commands_do_not_mix(coordinator: CoordinatorHome) -> None:
    facts = {"institution": "x" * 5000}
    writers = [
        threading.Thread(target=write_down, args=(coordinator, DecisionKind.ENROLMENT, facts))
        for _ in range(20)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(lines(coordinator)) == 21  # with the founding
