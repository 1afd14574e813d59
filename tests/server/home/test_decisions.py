"""Who decided what, and when, stands in the log before it takes effect."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.homes.papers import Applicant

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.initial_setup import renew_server
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.enrolment import examine, keep, members, remove
from fieldfare.server.members.publication import invite, publish
from fieldfare.shared.system.private_files import os_user

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lines(home: CoordinatorHome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.decisions.read_text().splitlines()]


def test_a_line_says_who_and_when(coordinator_home: CoordinatorHome) -> None:
    write_down(
        coordinator_home, DecisionKind.REMOVAL, {"institution": "bank\na", "user": "x"}, lambda: AT
    )
    assert lines(coordinator_home)[-1] == {
        "event": "removal",
        "institution": "bank\na",
        "time": "2026-03-01T12:00:00.000+00:00",
        "user": os_user(),  # no fact takes its place
    }
    assert coordinator_home.decisions.stat().st_mode & 0o777 == 0o600


def test_everything_that_changes_who_takes_part_is_written_down(
    coordinator_home: CoordinatorHome,
) -> None:
    key = load_roster_key(coordinator_home, None)
    bank, other = Applicant("bank-a", coordinator_home), Applicant("bank-b", coordinator_home)
    invite(coordinator_home, key)
    for content in (bank.enrolment(), other.enrolment(), bank.enrolment()):
        keep(coordinator_home, examine(coordinator_home, content, "sent"))
    first = publish(coordinator_home, key)
    publish(coordinator_home, key)  # nothing changed: nothing to write down
    for content in (bank.rotate(), other.revocation()):
        keep(coordinator_home, examine(coordinator_home, content, "sent"))
    remove(coordinator_home, "bank-b")
    renew_server(coordinator_home, AT)
    found = lines(coordinator_home)
    assert [line["event"] for line in found] == [
        *("founding", "invitation", "enrolment", "enrolment", "roster"),
        *("rotation", "revocation", "removal", "certificate"),
    ]
    assert found[0]["coordinator"] == signing_public(coordinator_home)
    assert (found[4]["version"], found[4]["roster"]) == (1, first.roster.hash)
    assert (found[5]["institution"], found[5]["identity"]) == ("bank-a", bank.public)


def test_what_cannot_be_written_down_is_not_done(coordinator_home: CoordinatorHome) -> None:
    bank = Applicant("bank-a", coordinator_home)
    keep(coordinator_home, examine(coordinator_home, bank.enrolment(), "sent"))
    coordinator_home.decisions.unlink()
    coordinator_home.decisions.mkdir()
    for attempt in (
        lambda: remove(coordinator_home, "bank-a"),
        lambda: publish(coordinator_home, load_roster_key(coordinator_home, None)),
    ):
        with pytest.raises(OSError, match="directory"):
            attempt()
    assert [member.institution for member in members(coordinator_home)] == ["bank-a"]
    assert not coordinator_home.roster.exists()


def test_lines_of_several_commands_do_not_mix(coordinator_home: CoordinatorHome) -> None:
    facts = {"institution": "x" * 5000}
    writers = [
        threading.Thread(target=write_down, args=(coordinator_home, DecisionKind.ENROLMENT, facts))
        for _ in range(20)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(lines(coordinator_home)) == 21  # with the founding
