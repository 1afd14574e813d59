"""Homes, ledgers, stores, transcripts and backups of earlier versions open in this one."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.operation.upgrade.recorded import VERSIONS, Recorded, at_that_time, unpacked
from tests.support.federations.beds import UNITS

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.server.home.initial_setup import build_bundle, bundle_hash
from fieldfare.shared.party.home_files import files_in

USERS_OWN = {"keys/tickets-hook"}  # named in notices.toml
IDLE = {"connection", "witness"}  # nothing was started: no member was asked what it remembers


@pytest.fixture(scope="module", params=VERSIONS)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    with pytest.MonkeyPatch.context() as patch:
        homes = unpacked(request.param, tmp_path_factory.mktemp("ff"))
        at_that_time(homes.said, patch)
        yield homes


def test_every_file_is_in_the_table(recorded: Recorded) -> None:
    for home, table in (
        (recorded.bank, INSTITUTION_FILES),
        (recorded.coordinator, COORDINATOR_FILES),
    ):
        found = dict(files_in(home, table))
        assert {path for path, kind in found.items() if kind is None} == USERS_OWN
        assert len(found) > 25


def test_a_bank_looks_at_itself(recorded: Recorded) -> None:
    found = json.loads(recorded.typed("institution", "check", "--json")[1])["findings"]
    assert {one["topic"] for one in found if one["outcome"] == "fail"} <= IDLE, found
    (witness,) = (one for one in found if one["topic"] == "witness")
    assert "no member was asked what it remembers" in witness["found"]
    assert {"ledger", "policy", "roster", "records"} <= {
        one["topic"] for one in found if one["outcome"] == "pass"
    }
    said = recorded.done("institution", "status")
    assert "whole" in said
    assert "6 entries, epoch 1" in said


def test_a_bank_reads_its_ledger_and_its_log(recorded: Recorded) -> None:
    assert "ledger verified: 6 entries" in recorded.done("institution", "verify", "ledger")
    assert "training step 3" in recorded.done("institution", "ledger")
    assert "log verified" in recorded.done("institution", "verify", "log")
    exported = recorded.done("institution", "log").splitlines()
    assert {json.loads(line)["format"] for line in exported} == {1}


def test_a_bank_reads_its_alerts_and_persons(recorded: Recorded) -> None:
    alerts = json.loads(recorded.done("institution", "alerts", "--json"))
    assert "rang the branch" in recorded.done("institution", "alerts", alerts[0]["alert"])
    assert "otto" in recorded.done("institution", "desk", "person", "list")
    assert "anna" in recorded.done("institution", "console", "account", "list")
    assert "lena" in recorded.done("coordinator", "console", "account", "list")
    for party in ("institution", "coordinator"):
        recorded.done(party, "notices", "list")


def test_a_bank_scores_with_its_model(recorded: Recorded, tmp_path: Path) -> None:
    """In a copy of the homes: a scoring opens alerts."""
    homes, ranked = unpacked(recorded.said["version"], tmp_path), tmp_path / "ranked.parquet"
    (model,) = json.loads(homes.done("institution", "models", "--json"))
    before = {one["alert"] for one in json.loads(homes.done("institution", "alerts", "--json"))}
    homes.done("institution", "score", "--model", model["run"], "--out", str(ranked))
    after = {one["alert"] for one in json.loads(homes.done("institution", "alerts", "--json"))}
    assert before <= after
    assert pq.read_table(ranked).num_rows == UNITS


def test_a_coordinator_reads_its_runs(recorded: Recorded) -> None:
    (run,) = json.loads(recorded.done("coordinator", "runs", "--json"))
    assert run["state"] == "finished"
    assert "small-again" in recorded.done("coordinator", "studies")
    assert "bank-a" in recorded.done("coordinator", "members")
    again = recorded.folder / "again.transcript"
    recorded.done("coordinator", "export", "transcript", run["run"], "--out", str(again))
    leaves = (recorded.folder / "run.transcript").read_bytes().splitlines()
    assert again.read_bytes().splitlines()[:-1] == leaves[:-1]


def test_a_transcript_is_audited(recorded: Recorded) -> None:
    transcript, roster = recorded.folder / "run.transcript", recorded.coordinator / "roster.signed"
    said = recorded.done("audit", "transcript", str(transcript), "--roster", str(roster), "--json")
    assert json.loads(said)["verified"]
    own = recorded.done("institution", "verify", str(transcript), "--json")
    assert json.loads(own)["own"]["lost"] == 0


def test_backups_are_restored(recorded: Recorded, tmp_path: Path) -> None:
    """Under the usual umask too: folders above a model's were once left open to others."""
    before = os.umask(0o022)
    try:
        restore_both(recorded, tmp_path)
    finally:
        os.umask(before)


def restore_both(recorded: Recorded, tmp_path: Path) -> None:
    """Restore the bank and the coordinator, and read both."""
    key = ("--recovery-key", str(recorded.folder / "recovery.key"))
    why = ("--reason", "the disk failed")
    backup, bank = recorded.folder / "bank-a.backup", tmp_path / "bank"
    said = recorded.done(*("restore", str(backup), *key, *why, "--home", str(bank)), "--as-planned")
    assert "epoch 2 begins" in said
    assert "verified" in recorded.done("institution", "verify", "ledger", "--home", str(bank))
    backup, coordinator = recorded.folder / "coordinator.backup", tmp_path / "coordinator"
    recorded.done("restore", str(backup), *key, *why, "--home", str(coordinator))
    runs = recorded.done("coordinator", "runs", "--json", "--home", str(coordinator))
    assert json.loads(runs)[0]["state"] == "finished"


def test_a_backup_is_made(recorded: Recorded, tmp_path: Path) -> None:
    for party in ("institution", "coordinator"):
        recorded.done(party, "backup", str(tmp_path / f"{party}.backup"))


def test_its_bundle_is_still_the_one_that_runs_begin_with(recorded: Recorded) -> None:
    """Members list its hash: with another one, each would need a new invitation."""
    assert (recorded.coordinator / "bundle.sha256").read_text().strip() == bundle_hash(
        build_bundle()
    )
