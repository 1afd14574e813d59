"""A backup of an institution's home, and the home that comes of it."""

import errno
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import rfc8785
from tests.support.homes.institutions import (
    NAMES,
    Coordinator,
    OpenCustody,
    all_bytes,
    approve_all,
    clock,
    home_study,
)
from tests.support.homes.runs import finished_run

from fieldfare.client.approvals.approval_status import ApprovalStatus
from fieldfare.client.desk.study_reading import list_studies
from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.client.home.keys import former_identities, public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import pin_roster
from fieldfare.client.institution import backing_up, restored_home
from fieldfare.client.institution.backing_up import back_up, take_recovery_key
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.institution.open import open_custody
from fieldfare.client.institution.restored_home import RestoreTerms, rehearse, restore
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import compare_heads, read, read_heads
from fieldfare.client.oversight.study_evidence import study_evidence
from fieldfare.shared.errors import FieldfareError, KeysError, LedgerError, UsageError
from fieldfare.shared.evidence.facts import SoftwareFacts
from fieldfare.shared.evidence.values import values_of
from fieldfare.shared.party import home_copies
from fieldfare.shared.party import home_files as files
from fieldfare.shared.party.home_copies import BackupSource, WrittenBackup
from fieldfare.shared.party.home_files import files_in
from fieldfare.shared.party.recovery_key import RecoveryPrivate
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.sqlite.copies import check_database

NAME: Final = NAMES[0]
KEY: Final = RecoveryPrivate.generate()
SOFTWARE: Final = SoftwareFacts("0.0.0", "3.11.9", (), "", b"{}")
TERMS: Final = RestoreTerms(user="ines", reason="the disk failed", as_planned=True)


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    found = coordinator.homes[NAME]
    take_recovery_key(found, KEY.public.content, "recovery.pub", "ines", clock)
    return found


@pytest.fixture
def finished(coordinator: Coordinator, home: Home, custody_of: OpenCustody) -> Home:
    """A home after a run, while its custodian still runs."""
    finished_run(coordinator, [custody_of(name) for name in NAMES], home_study())
    return home


def backed_up(home: Home, folder: Path) -> tuple[Path, WrittenBackup]:
    return folder / "a.backup", back_up(home, folder / "a.backup", "ines", clock)


def restored(
    file: Path, folder: Path, name: str = "", **changes: Any
) -> restored_home.RestoredHome:
    terms = replace(TERMS, **changes)
    return restore(BackupSource(file, KEY, name), folder / "new", terms, clock)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_writers_do_not_wait_while_copies_are_checked(
    home: Home, custody_of: OpenCustody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custody_of(NAME)
    written = []

    def check_and_write(path: Path) -> None:
        check_database(path)
        with closing(sqlite3.connect(home.ledger, timeout=0)) as link:
            link.execute("BEGIN IMMEDIATE")
            link.rollback()
        written.append(path.name)

    monkeypatch.setattr(home_copies, "check_database", check_and_write)
    backed_up(home, tmp_path)
    assert {"ledger.sqlite", "log.sqlite"} <= set(written)


def test_a_backup_holds_no_key_that_signs_and_shows_nothing_without_its_own(
    finished: Home, tmp_path: Path
) -> None:
    strangers = {path for path, kind in files_in(finished.path, INSTITUTION_FILES) if kind is None}
    assert strangers == {"records.csv"}  # every file that a run makes is in the table
    file, done = backed_up(finished, tmp_path)
    assert set(done.strangers) == strangers
    paths = {one.path for one in done.header.files}
    assert {"ledger/ledger.sqlite", "log/log.sqlite", "keys/holdout", "policy.toml"} <= paths
    assert not paths & {"keys/identity.pem", "keys/node", "ledger/ledger.sqlite.witness"}
    for secret in (NAME.encode(), public_identity(finished).encode(), b"ledger", b"SQLite"):
        assert secret in all_bytes(finished)
        assert secret not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (finished.path / ".backup").exists()
    written = [one for one in read(finished.log_folder) if one.event is Event.BACKUP]
    assert [one.details["kind"] for one in written] == ["written"]


def test_a_restored_home_has_spent_all_and_counts_nothing_of_before(
    coordinator: Coordinator, finished: Home, tmp_path: Path
) -> None:
    file, _ = backed_up(finished, tmp_path)
    with open_ledger(finished) as ledger:
        before = ledger.position()
    done = restored(file, tmp_path)
    home = done.home
    assert public_identity(home) != public_identity(finished)
    assert former_identities(home) == (public_identity(finished),)
    with open_ledger(home) as ledger:
        ledger.verify()
        after = ledger.position()
        # Planned is at least what was spent: the whole study counts, and nothing comes back.
        assert ledger.costs(home_study().id).total == plan_for(home_study()).study_limit
    assert after.epoch == before.epoch + 1
    assert after.debited >= before.debited
    assert after.sequence == before.sequence + 1

    # What was said is logged, and signed by the new identity.
    heads = read_heads(
        (home.log_folder / "restored.heads").read_bytes(), NAME, [public_identity(home)]
    )
    assert compare_heads(home.log_folder, heads).sequence == heads[0].entries
    said = [one for one in read(home.log_folder) if one.event is Event.BACKUP][-1]
    assert (said.details["kind"], said.details["reason"]) == ("restored", "the disk failed")

    # The roster of before has another key, so nothing opens; with a new one no approval counts.
    with pytest.raises(UsageError, match="own key"):
        open_institution(home.path)
    coordinator.homes[NAME] = home
    shutil.copy(finished.path / "records.csv", home.path)
    pin_roster(home, coordinator.signed_roster(coordinator.roster(version=2)))
    institution = open_institution(home.path)
    with open_custody(institution, None, clock) as custody:
        stands = [one.status for one in list_studies(institution, custody.ledger)]
    assert stands == [ApprovalStatus.OUTDATED]


def test_a_witness_elsewhere_says_what_was_spent_since(
    coordinator: Coordinator, home: Home, custody_of: OpenCustody, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    coordinator.edit(home.settings, 'witness = ""', f'witness = "{elsewhere}/w"')
    custodies = [custody_of(name) for name in NAMES]
    file, _ = backed_up(home, tmp_path)
    finished_run(coordinator, custodies, home_study())
    with open_ledger(home) as ledger:
        lost = ledger.position()
    assert lost.debited > 0
    done = restored(file, tmp_path, as_planned=False)
    position = done.statement.position
    assert (position.epoch, position.debited) == (lost.epoch + 1, lost.debited)
    with pytest.raises(LedgerError):  # the home of before is behind now, should it still run
        open_ledger(home)


def backed_up_before_a_run(
    coordinator: Coordinator, home: Home, custody_of: OpenCustody, folder: Path
) -> Path:
    """A backup of a home with an approved study, whose run it made after that."""
    custodies = [custody_of(name) for name in NAMES]
    approve_all(coordinator, custodies, home_study())
    file, _ = backed_up(home, folder)
    finished_run(coordinator, custodies, home_study())
    return file


def test_a_pack_of_evidence_says_that_releases_were_lost(
    coordinator: Coordinator, home: Home, custody_of: OpenCustody, tmp_path: Path
) -> None:
    """It said that none had left, beside what they cost."""
    file = backed_up_before_a_run(coordinator, home, custody_of, tmp_path)
    witness = home.ledger.with_name("ledger.sqlite.witness")
    new = restored(file, tmp_path, as_planned=False, witness=witness).home
    coordinator.homes[NAME] = new
    pin_roster(new, coordinator.signed_roster(coordinator.roster(version=2)))
    for path, lost in ((home.path, False), (new.path, True)):
        facts = study_evidence(path, home_study().name, SOFTWARE, clock())
        values = values_of(facts)
        assert facts.lost is values["own"]["lost"] is lost
        assert (facts.times == ()) is lost
        assert facts.spent > 0
        told = (values["loss"]["spent_of"], values["run"]["times_words"])
        assert all(("lost" in words) is lost for words in told)


def test_nothing_was_lost_and_the_epoch_is_new_all_the_same(
    coordinator: Coordinator, home: Home, custody_of: OpenCustody, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    coordinator.edit(home.settings, 'witness = ""', f'witness = "{elsewhere}/w"')
    finished_run(coordinator, [custody_of(name) for name in NAMES], home_study())
    with open_ledger(home) as ledger:
        before = ledger.position()
    file, _ = backed_up(home, tmp_path)
    position = restored(file, tmp_path, as_planned=False).statement.position
    assert (position.epoch, position.debited) == (before.epoch + 1, before.debited)


def test_as_planned_is_never_below_what_was_spent_since(
    coordinator: Coordinator, home: Home, custody_of: OpenCustody, tmp_path: Path
) -> None:
    file = backed_up_before_a_run(coordinator, home, custody_of, tmp_path)
    with open_ledger(home) as ledger:
        lost = ledger.position()
    assert restored(file, tmp_path).statement.position.cumulative >= lost.cumulative > 0


def test_what_was_spent_since_must_be_known_or_said(finished: Home, tmp_path: Path) -> None:
    file, done = backed_up(finished, tmp_path)
    with pytest.raises(UsageError, match="--as-planned, which is"):
        restored(file, tmp_path, as_planned=False)
    assert names_in(tmp_path) == {"a.backup"}
    shown = int(done.header.facts["debited"])
    with pytest.raises(LedgerError, match="of at least"):
        restored(file, tmp_path, as_planned=False, spent=shown - 1)
    rescued = tmp_path / "rescued"
    shutil.copy(finished.ledger.with_name("ledger.sqlite.witness"), rescued)
    found = restored(file, tmp_path, as_planned=False, witness=rescued)
    assert found.statement.position.debited == shown


def test_a_home_that_released_nothing_is_restored_too(home: Home, tmp_path: Path) -> None:
    file, _ = backed_up(home, tmp_path)
    assert restored(file, tmp_path).statement.position.epoch > 1


def test_a_lost_place_of_the_witness_is_said(
    coordinator: Coordinator, home: Home, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    coordinator.edit(home.settings, 'witness = ""', f'witness = "{gone}/w"')
    file, _ = backed_up(home, tmp_path)
    gone.rmdir()
    with pytest.raises(UsageError, match="mount its disk"):
        restored(file, tmp_path)
    done = restored(file, tmp_path, witness_here=True)
    assert (done.home.ledger.parent / "ledger.sqlite.witness").exists()


def test_a_wrong_key_institution_party_or_place_leaves_nothing(home: Home, tmp_path: Path) -> None:
    file, _ = backed_up(home, tmp_path)
    with pytest.raises(KeysError, match="that this recovery key opens"):
        restore(BackupSource(file, RecoveryPrivate.generate()), tmp_path / "new", TERMS, clock)
    with pytest.raises(UsageError, match="expected a backup of bank-b, found one of bank-a"):
        restored(file, tmp_path, name="bank-b")
    with pytest.raises(UsageError, match="never restored over a home"):
        restore(BackupSource(file, KEY), home.path, TERMS, clock)
    with pytest.raises(UsageError, match="expected a new file"):
        backed_up(home, tmp_path)
    assert names_in(tmp_path) == {"a.backup"}


def test_a_changed_or_cut_backup_leaves_nothing(home: Home, tmp_path: Path) -> None:
    file, _ = backed_up(home, tmp_path)
    content = file.read_bytes()
    for changed in (content[:-1], content[: len(content) // 2], content + b"x"):
        file.write_bytes(changed)
        with pytest.raises(UsageError, match="changed or cut off"):
            restored(file, tmp_path)
    for at in range(5, len(content), len(content) // 20):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(FieldfareError):
            rehearse(BackupSource(file, KEY), tmp_path / "new")
    assert names_in(tmp_path) == {"a.backup"}


def test_a_rehearsal_checks_everything_and_leaves_nothing(home: Home, tmp_path: Path) -> None:
    file, done = backed_up(home, tmp_path)
    assert rehearse(BackupSource(file, KEY, NAME), tmp_path / "new") == done.header
    assert names_in(tmp_path) == {"a.backup"}


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("step", ["create_signing_keys", "accept_restore", "verify"])
def test_a_full_disk_or_an_interrupt_in_the_middle_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, step: str
) -> None:
    file, _ = backed_up(home, tmp_path)

    def failing(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(restored_home, step, failing)
        with pytest.raises(type(fault)):
            restored(file, tmp_path)
    assert names_in(tmp_path) == {"a.backup"}
    (tmp_path / ".new.restoring").mkdir()  # as a kill leaves it
    (tmp_path / ".new.restoring" / "institution.toml").write_text("half")
    restored(file, tmp_path)
    assert names_in(tmp_path) == {"a.backup", "new"}


@pytest.mark.parametrize("known", [False, True])
def test_a_restore_that_fails_late_leaves_a_witness_elsewhere_as_it_was(
    coordinator: Coordinator,
    finished: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    known: bool,
) -> None:
    """It kept what the failed one had been told, so that a rescued witness was turned away."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rescued = finished.ledger.with_name("ledger.sqlite.witness")
    coordinator.edit(finished.settings, 'witness = ""', f'witness = "{elsewhere}/w"')
    file, done = backed_up(finished, tmp_path)
    if known:
        shutil.copy(rescued, elsewhere / "w")

    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(restored_home, "_sign_what_was_said", failing)
        with pytest.raises(OSError, match="No space"):
            restored(file, tmp_path, as_planned=False, spent=int(done.header.facts["debited"]) + 9)
    assert names_in(elsewhere) == ({"w"} if known else set())
    if known:
        assert (elsewhere / "w").read_bytes() == rescued.read_bytes()
    told = restored(file, tmp_path, as_planned=False, witness=None if known else rescued)
    assert told.statement.position.debited == done.header.facts["debited"]


def test_a_restore_that_is_refused_never_takes_a_witness_back(
    coordinator: Coordinator, finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that was not lost after all debits meanwhile: an older witness knows less."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rescued = finished.ledger.with_name("ledger.sqlite.witness").read_bytes()
    coordinator.edit(finished.settings, 'witness = ""', f'witness = "{elsewhere}/w"')
    file, _ = backed_up(finished, tmp_path)
    (elsewhere / "w").write_bytes(b"older")

    def debited_meanwhile(*_: object) -> None:
        (elsewhere / "w").write_bytes(rescued)
        raise UsageError("expected a witness of the lost home, found one that is older")

    monkeypatch.setattr(restored_home, "_check_spend_is_known", debited_meanwhile)
    with pytest.raises(UsageError, match="older"):
        restored(file, tmp_path)
    assert (elsewhere / "w").read_bytes() == rescued


def test_an_interrupted_backup_leaves_no_file(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fieldfare.client.institution.backing_up.write_archive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backed_up(home, tmp_path)
    assert names_in(tmp_path) == set()
    assert not (home.path / ".backup").exists()


@pytest.mark.parametrize("lost", ["spill", "models"])
def test_a_folder_that_passes_is_missed_by_no_backup(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """A load that ended while a home was listed took its kept parts away, and failed the backup."""
    folder = home.path / lost / "kept-1"
    folder.mkdir(parents=True)
    (folder / "part.arrow").touch()
    plain = files._refuse_links

    def looked(path: Path, folders: Any, table: Any) -> None:
        plain(path, folders, table)
        if folder in folders:
            shutil.rmtree(folder)

    monkeypatch.setattr(files, "_refuse_links", looked)
    if lost == "models":
        with pytest.raises(FileNotFoundError):
            backed_up(home, tmp_path)
    else:
        backed_up(home, tmp_path)
    assert (tmp_path / "a.backup").exists() is (lost == "spill")


def test_without_a_recovery_key_there_is_no_backup(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    home = coordinator.homes[NAME]
    with pytest.raises(KeysError, match="fieldfare recovery key FILE"):
        backed_up(home, tmp_path)
    take_recovery_key(home, KEY.public.content, "recovery.pub", "ines", clock)
    other = RecoveryPrivate.generate().public.content
    with pytest.raises(UsageError, match="move it away first"):
        take_recovery_key(home, other, "recovery.pub", "ines", clock)
    with pytest.raises(KeysError, match="the public half of a recovery key"):
        take_recovery_key(home, KEY.content, "recovery.key", "ines", clock)


def test_a_restored_home_is_backed_up_and_restored_again(finished: Home, tmp_path: Path) -> None:
    first = restored(backed_up(finished, tmp_path)[0], tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    second = restored(backed_up(first.home, again)[0], again)
    assert second.statement.position.epoch == first.statement.position.epoch + 1
    keys = [public_identity(second.home), *former_identities(second.home)]
    assert (
        len(read_heads((second.home.log_folder / "restored.heads").read_bytes(), NAME, keys)) == 2
    )


def test_a_witness_that_is_older_than_the_backup_says_nothing(
    coordinator: Coordinator, finished: Home, tmp_path: Path
) -> None:
    """Nor is it left on its disk by the restore that it fails, where it would forbid the next."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    coordinator.edit(finished.settings, 'witness = ""', f'witness = "{elsewhere}/w"')
    with closing(sqlite3.connect(f"file:{finished.ledger}?mode=ro", uri=True)) as link:
        cost, total, head = link.execute(
            "SELECT cost, cumulative, head FROM entries WHERE sequence = 1"
        ).fetchone()
    found = json.loads(finished.ledger.with_name("ledger.sqlite.witness").read_bytes())
    found |= {"sequence": 1, "debited": cost, "cumulative": total, "head": head}
    (tmp_path / "stale").write_bytes(rfc8785.dumps(found))
    file, done = backed_up(finished, tmp_path)
    with pytest.raises(UsageError, match="older than the backup"):
        restored(file, tmp_path, as_planned=False, witness=tmp_path / "stale")
    assert names_in(elsewhere) == set()
    spent = int(done.header.facts["debited"]) + 7
    told = restored(file, tmp_path, as_planned=False, spent=spent, witness=tmp_path / "stale")
    assert told.statement.position.debited == spent


def test_what_is_no_witness_is_told(home: Home, tmp_path: Path) -> None:
    file, _ = backed_up(home, tmp_path)
    for content, said in ((b"[" * 60_000, "a witness of format"), (b"[" * 70_000, "at most")):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(FieldfareError, match=said):
            restored(file, tmp_path, witness=tmp_path / "other")
    with pytest.raises(UsageError, match="a pipe or a device"):
        restored(file, tmp_path, witness=Path("/dev/zero"))
    assert names_in(tmp_path) == {"a.backup", "other"}


def test_a_witness_of_an_epoch_before_the_backup_says_nothing(
    home: Home, coordinator: Coordinator, custody_of: OpenCustody, tmp_path: Path
) -> None:
    """It had more entries than a backup of the next epoch, and passed for the newest."""
    file, _ = backed_up(home, tmp_path)
    finished_run(coordinator, [custody_of(name) for name in NAMES], home_study())
    former = tmp_path / "former"
    shutil.copy(home.ledger.with_name("ledger.sqlite.witness"), former)
    second = restored(file, tmp_path, as_planned=False, witness=former)
    (tmp_path / "next").mkdir()
    file, done = backed_up(second.home, tmp_path / "next")
    assert json.loads(former.read_bytes())["sequence"] > done.header.facts["sequence"]
    with pytest.raises(UsageError, match="one that is older than the backup"):
        restored(file, tmp_path / "next", as_planned=False, witness=former)
    assert names_in(tmp_path / "next") == {"a.backup"}


def test_a_folder_that_is_a_link_is_never_left_out_unsaid(finished: Home, tmp_path: Path) -> None:
    (finished.path / "ledger").rename(tmp_path / "disk")
    (finished.path / "ledger").symlink_to(tmp_path / "disk")
    with pytest.raises(UsageError, match="found a link to one"):
        backed_up(finished, tmp_path)
    assert names_in(tmp_path) == {"disk"}


def test_a_header_names_no_file_outside(
    finished: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the public half alone can write a backup that opens."""
    honest = backing_up._facts
    lie = {"identity": "../../../outside"}
    monkeypatch.setattr(backing_up, "_facts", lambda *told: honest(*told) | lie)
    file, _ = backed_up(finished, tmp_path)
    with pytest.raises(KeysError, match="hexadecimal"):
        restored(file, tmp_path)
    assert names_in(tmp_path) == {"a.backup"}
