"""What is wrong in a home is found, with a remedy; no value of a record is shown."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    home_study,
)
from tests.support.homes.journals import rewrite_entries
from tests.support.homes.runs import finished_run
from tests.support.network.certificates import Authority

from fieldfare.client.daemon.process import admin_socket, administration, socket_of
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.home.keys import rotate_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.peers import Fork
from fieldfare.client.oversight.checks import HomeChecks, Preflight
from fieldfare.client.oversight.preflight import CheckOutcome, CheckResult, findings
from fieldfare.client.wire.service import data_plane, serving_calls
from fieldfare.shared.desk.answering import serving_desk

NAME = NAMES[0]
STUDY = home_study()


def look(home: Home, **changes: Any) -> dict[str, CheckResult]:
    given: dict[str, Any] = {
        "home": home.path,
        "node_settings": home.path / "node.toml",
        "passphrase": None,
        "environment": {},
        "now": NOW,
    }
    checks = HomeChecks(Preflight(**given | changes))
    return {
        one.topic: one for one in [*findings(checks.checks()), *findings(checks.record_checks())]
    }


@pytest.fixture
def home(coordinator: Coordinator, custody_of: OpenCustody) -> Home:
    """A home with an approved study."""
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], STUDY)
    custody.ledger.close()
    return coordinator.homes[NAME]


def failing(found: dict[str, CheckResult]) -> set[str]:
    return {topic for topic, one in found.items() if one.outcome is CheckOutcome.FAIL}


ELSEWHERE = ("/dev/shm", "/var/tmp")  # noqa: S108 -- a folder of its own is made there


def test_a_home_that_is_in_order(home: Home) -> None:
    found = look(home)
    assert found.pop("witness").outcome is CheckOutcome.WARN  # beside the ledger, as it begins
    assert found.pop("swap").outcome is not CheckOutcome.FAIL  # of whatever machine this is
    assert {one.outcome for one in found.values()} == {CheckOutcome.PASS, CheckOutcome.SKIP}
    skipped = {topic for topic, one in found.items() if one.outcome is CheckOutcome.SKIP}
    assert skipped == {"node", "custodian", "casework"}
    assert found["records"].text == (
        f"{STUDY.id[:12]}: 200 rows, rows of one unit: 1 at most, 1 in the median; everything fits"
    )


def test_a_witness_on_another_file_system_is_not_warned_of(home: Home) -> None:
    here = home.settings.stat().st_dev
    elsewhere = next(one for one in ELSEWHERE if Path(one).stat().st_dev != here)
    with TemporaryDirectory(dir=elsewhere) as folder:
        witness = Path(folder) / "witness"
        shutil.move(home.ledger.with_name("ledger.sqlite.witness"), witness)
        Coordinator.edit(home.settings, 'witness = ""', f'witness = "{witness}"')
        found = look(home)["witness"]
    assert (found.outcome, "another file system" in found.text) == (CheckOutcome.PASS, True)


def test_a_peer_whose_home_was_copied_is_named(home: Home) -> None:
    assert look(home)["ledger"].outcome is CheckOutcome.PASS
    with open_ledger(home) as ledger, ledger.peers() as rows:
        rows.put_fork(Fork("bank-b", 1, 7, b"one", b"other"))
    found = look(home)["ledger"]
    assert found.outcome is CheckOutcome.WARN
    assert "bank-b signed two replies as entry 7 of its ledger's epoch 1" in found.text


def test_swap_in_the_clear_is_warned_of(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at = "fieldfare.client.oversight.checks.unencrypted_swap"
    monkeypatch.setattr(at, lambda: ("/dev/sda2",))
    found = look(home)["swap"]
    assert (found.outcome, "/dev/sda2" in found.text) == (CheckOutcome.WARN, True)


def test_a_log_that_lacks_the_ledgers_releases_is_warned_of(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    home, custodies = coordinator.homes[NAME], [custody_of(name) for name in NAMES]
    finished_run(coordinator, custodies, STUDY)
    assert look(home)["log"].outcome is CheckOutcome.PASS
    custodies[0].journal.close()
    shutil.rmtree(home.log_folder)
    home.log_folder.mkdir(mode=0o700)
    with Journal.open(home.log_folder, clock=clock) as journal:
        journal.append(Event.START, "ines")
    found = look(home)["log"]
    assert found.outcome is CheckOutcome.WARN
    assert "releases of the ledger are not in it" in found.text


@pytest.mark.parametrize(
    ("topic", "harm"),
    [
        ("home", lambda home: home.policy.chmod(0o666)),
        ("settings", lambda home: home.settings.write_text("nonsense")),
        ("policy", lambda home: home.policy.write_text("nonsense")),
        ("coordinator", lambda home: home.coordinator_key.write_text("0" * 64)),
        ("identity", lambda home: home.identity_key.write_text("nonsense")),
        ("node key", lambda home: shutil.copy(home.identity_key, home.node_key)),
        ("roster", lambda home: home.roster.unlink()),
        ("roster", lambda home: rotate_identity(home, NAME, None)),
        ("node", lambda home: (home.path / "node.toml").write_text("nonsense")),
        ("sockets", lambda home: home.admin_socket.write_text("")),
        ("ledger", lambda home: (home.ledger.write_bytes(b"x"), home.ledger.chmod(0o600))),
        ("log", lambda home: rewrite_entries(home.log_folder)),
        ("records", lambda home: (home.path / "records.csv").unlink()),
        ("records", lambda home: (home.path / "records.csv").write_text("customer\nsecret-1\n")),
    ],
)
def test_what_is_wrong_is_found(home: Home, topic: str, harm: Callable[[Home], Any]) -> None:
    harm(home)
    found = look(home)
    assert topic in failing(found)
    assert "expected" in found[topic].text or "missing" in found[topic].text
    assert all("secret" not in one.text for one in found.values())


def test_the_public_half_of_another_node_key_is_found(coordinator: Coordinator, home: Home) -> None:
    shutil.copy(coordinator.homes[NAMES[1]].node_public, home.node_public)
    assert "the public half" in look(home)["node key"].text


def test_a_group_that_nobody_made_is_found(coordinator: Coordinator, home: Home) -> None:
    coordinator.edit(home.settings, 'group = ""', 'group = "no-such-group"')
    assert "no-such-group" in look(home)["sockets"].text


def test_an_identity_under_a_passphrase_is_tried_when_it_is_given(tmp_path: Path) -> None:
    home = create_institution(tmp_path / "home", NAME, passphrase=b"a long passphrase")
    assert look(home)["identity"].outcome is CheckOutcome.SKIP
    assert look(home, passphrase=b"a long passphrase")["identity"].outcome is CheckOutcome.PASS
    assert look(home, passphrase=b"another passphrase")["identity"].outcome is CheckOutcome.FAIL


def test_a_node_is_shown_with_what_it_answers(coordinator: Coordinator, home: Home) -> None:
    authority = Authority.make(coordinator.folder).folder / "authority.pem"
    authority.rename(home.path / "authority.pem")
    settings = home.path / "node.toml"
    settings.write_text(f'superlink = "hub:8000"\nbundles = ["{"ab" * 32}"]\n')
    assert look(home)["node"].text == "SuperLink hub:8000, answers runs of the bundles abababababab"
    settings.write_text(settings.read_text() + 'custodian = "elsewhere.sock"\n')
    assert look(home)["node"].outcome is CheckOutcome.WARN


@pytest.fixture
def reloader(home: Home) -> Iterator[CustodianReloader]:
    inputs = CustodianInputs(home=home.path, passphrase=None, environment={}, clock=clock)
    with (
        custodian_reloader(inputs) as made,
        serving_desk(administration(made), admin_socket(made.institution)),
    ):
        yield made


def test_a_custodian_that_runs_is_asked(home: Home, reloader: CustodianReloader) -> None:
    assert "expected a custodian that listens" in look(home)["custodian"].text
    with serving_calls(data_plane(reloader.answer), socket_of(reloader.institution)):
        found = look(home)["custodian"]
        assert (found.outcome, found.text) == (CheckOutcome.PASS, "serving 1 approved")
    kept = home.roster.read_bytes()
    home.roster.unlink()
    reloader.reload()
    assert "it serves nothing" in look(home)["custodian"].text
    home.roster.write_bytes(kept)


def test_a_study_that_is_left_out_is_said(
    coordinator: Coordinator, home: Home, reloader: CustodianReloader
) -> None:
    coordinator.pin(coordinator.roster(version=2))
    reloader.reload()
    found = look(home)["custodian"]
    # After each roster it is so, of studies whose runs have ended as well: nothing is broken.
    assert found.outcome is CheckOutcome.WARN
    assert f"left out {STUDY.id[:12]}: approved under an earlier roster" in found.text
    assert "approve STUDY" in found.remedy


def test_a_study_whose_records_went_is_left_out_and_that_fails(
    home: Home, reloader: CustodianReloader
) -> None:
    (home.path / "records.csv").write_text("nothing,of,it\n")
    home.settings.write_text(home.settings.read_text() + "\n# read again\n")
    reloader.reload()
    found = look(home)["custodian"]
    assert found.outcome is CheckOutcome.FAIL
    assert "records.csv" in found.text
    assert "start it" not in found.remedy


def test_records_may_be_left_alone(home: Home) -> None:
    (home.path / "records.csv").unlink()
    assert look(home, records=False)["records"].outcome is CheckOutcome.SKIP


def test_a_new_home_says_what_is_next(tmp_path: Path) -> None:
    home = create_institution(tmp_path / "home", NAME)
    found = look(home)
    assert failing(found) == {"coordinator"}
    assert "join" in found["coordinator"].remedy
    assert found["log"].outcome is CheckOutcome.SKIP


def test_no_home_is_one_mistake(tmp_path: Path) -> None:
    found = look(Home(tmp_path / "nowhere"))
    assert failing(found) == {"home"}
