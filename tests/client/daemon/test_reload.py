"""The serving custodian follows the home; what cannot be trusted any more serves nothing."""

import shutil
from collections.abc import Callable, Iterator
from threading import Event as Gate
from threading import Thread
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
from tests.support.homes.journals import logged_text
from tests.support.network.calling import Caller
from tests.support.system.processes import until

from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.daemon import reload as reload_module
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.home.keys import rotate_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import State, read_decision
from fieldfare.client.institution.open import open_custody
from fieldfare.client.journal.journal import Journal, verify
from fieldfare.shared.errors import RefusalCode, UsageError
from fieldfare.shared.protocol.messages import Refusal

NAME = NAMES[0]
STUDY = home_study()
module: Any = reload_module


def inputs(home: Home) -> CustodianInputs:
    return CustodianInputs(home=home.path, passphrase=None, environment={}, clock=clock)


def approve(coordinator: Coordinator, custody_of: OpenCustody, study: Any = STUDY) -> None:
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], study)


@pytest.fixture
def reloader(coordinator: Coordinator, custody_of: OpenCustody) -> Iterator[CustodianReloader]:
    approve(coordinator, custody_of)
    with custodian_reloader(inputs(coordinator.homes[NAME])) as made:
        yield made


def describe(reloader: CustodianReloader, study: str = STUDY.id) -> bytes | RefusalCode:
    """The approval, or the code of the refusal."""
    answer = Caller(reloader.answer).describe(study)
    return answer.code if isinstance(answer, Refusal) else answer.approval


def serves(reloader: CustodianReloader, study: str = STUDY.id) -> bool:
    found = describe(reloader, study)
    assert isinstance(found, bytes) or found is RefusalCode.UNKNOWN_STUDY
    return isinstance(found, bytes)


def test_it_begins_with_what_is_approved(reloader: CustodianReloader) -> None:
    assert serves(reloader)
    assert not serves(reloader, "0" * 64)
    assert not reloader.changed()
    assert reloader.reload().changed == []
    status = reloader.status()
    assert [(one.id, one.serving) for one in status.studies] == [(STUDY.id, True)]
    assert (status.roster, status.trouble, status.releases) == (1, "", 0)
    assert status.refusals == {"unknown_study": 1}
    assert status.ledger is not None
    assert status.ledger.entries == 0
    assert 0 < status.ledger.yearly_left <= status.ledger.lifetime_left


def test_without_a_roster_there_is_no_beginning(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    home.roster.unlink()
    with pytest.raises(UsageError, match="roster"), custodian_reloader(inputs(home)):
        pass


def test_a_new_approval_reads_no_other_studys_records(
    reloader: CustodianReloader,
    coordinator: Coordinator,
    custody_of: OpenCustody,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = home_study(name="other")
    approve(coordinator, custody_of, other)
    loaded: list[str] = []
    prepare = monkeypatch_loader(monkeypatch, loaded)
    assert reloader.changed()
    assert reloader.reload().changed == [f"study {other.id[:12]} is served"]
    assert loaded == ["other"]
    assert serves(reloader, other.id)
    assert serves(reloader)
    prepare.undo()


def monkeypatch_loader(monkeypatch: pytest.MonkeyPatch, loaded: list[str]) -> pytest.MonkeyPatch:
    """Take down the names of studies whose records are read."""
    real = module.records_loader

    def watched(*arguments: Any) -> Callable[..., Any]:
        load = real(*arguments)

        def read(study: Any) -> Any:
            loaded.append(study.name)
            return load(study)

        return read

    monkeypatch.setattr(module, "records_loader", watched)
    return monkeypatch


def test_a_withdrawal_is_report(reloader: CustodianReloader, coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    journal = Journal.open(home.log_folder, clock=clock)
    with open_custody(coordinator.institution(NAME), None, clock) as custody:
        Rejecter(home, custody.ledger, journal, "tester", NOW).withdraw(STUDY.id, "")
    assert not serves(reloader)  # at once: its keys are gone
    assert reloader.reload().changed == [f"study {STUDY.id[:12]} is no longer served"]
    assert reloader.status().studies == []


def test_under_a_new_roster_nothing_runs_until_it_is_approved_again(
    reloader: CustodianReloader, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    first = describe(reloader)
    coordinator.pin(coordinator.roster(version=2))
    assert reloader.changed()
    report = reloader.reload()
    assert report.changed[0] == "roster version 2 (was 1)"
    assert [one.id for one in report.left_out] == [STUDY.id]
    assert not serves(reloader)
    assert reloader.status().roster == 2

    approve(coordinator, custody_of)
    reloader.reload()
    assert serves(reloader)
    assert describe(reloader) != first


def test_another_identity_closes_the_door_until_a_roster_carries_it(
    reloader: CustodianReloader, coordinator: Coordinator
) -> None:
    home = coordinator.homes[NAME]
    rotate_identity(home, NAME, None)
    report = reloader.reload()
    assert "nothing is served" in report.changed
    assert "own key" in report.trouble
    assert not serves(reloader)

    coordinator.pin(coordinator.roster(version=2))
    report = reloader.reload()
    assert (report.trouble, reloader.trouble) == ("", "")
    assert "studies are served again" in report.changed
    assert "another identity signs" in report.changed


@pytest.mark.parametrize(
    "harm",
    [
        lambda home: home.roster.write_bytes(b"{}"),
        lambda home: home.roster.unlink(),
        lambda home: home.policy.write_text("nonsense"),
        lambda home: home.policy.chmod(0o666),
        lambda home: home.coordinator_key.write_text("0" * 64),
        lambda home: home.settings.write_text(home.settings.read_text() + "surprise = 1\n"),
        lambda home: home.identity_key.write_text("nonsense"),
        lambda home: shutil.rmtree(home.keys),
    ],
)
def test_what_cannot_be_trusted_serves_nothing_until_it_is_mended(
    reloader: CustodianReloader, coordinator: Coordinator, harm: Callable[[Home], None]
) -> None:
    home = coordinator.homes[NAME]
    kept = home.path.with_name("kept")
    shutil.copytree(home.path, kept)
    harm(home)
    report = reloader.reload()
    assert report.trouble
    assert not serves(reloader)
    assert reloader.status().trouble == report.trouble
    assert reloader.status().studies == []
    assert '"rule":"nothing is served: ' in logged_text(home.log_folder)

    for name in ("keys", "policy.toml", "roster.signed", "coordinator.pub", "institution.toml"):
        restore(kept / name, home.path / name)
    report = reloader.reload()
    assert report.trouble == ""
    assert serves(reloader)
    verify(home.log_folder)


def restore(kept: Any, path: Any) -> None:
    if kept.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(kept, path)
    else:
        path.unlink(missing_ok=True)
        shutil.copy2(kept, path)


def test_a_ledger_that_was_put_back_closes_the_door(
    reloader: CustodianReloader, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    home = coordinator.homes[NAME]
    copy = home.ledger.with_name("copy")
    copy.write_bytes(b"no database")
    copy.chmod(0o600)
    copy.replace(home.ledger)
    assert reloader.changed()
    assert reloader.reload().trouble
    assert not serves(reloader)


def test_a_tighter_policy_counts_without_a_restart(
    reloader: CustodianReloader, coordinator: Coordinator
) -> None:
    home = coordinator.homes[NAME]
    before = reloader.status()
    coordinator.edit(home.policy, "yearly_epsilon = 2.0", "yearly_epsilon = 1.5")
    assert reloader.changed()
    assert reloader.reload().changed == [
        "the policy changed: its budget holds from the next release on"
    ]
    after = reloader.status()
    assert before.ledger is not None
    assert after.ledger is not None
    assert after.ledger.yearly_left < before.ledger.yearly_left
    assert serves(reloader)


def test_records_that_do_not_load_are_tried_again_when_they_change(
    coordinator: Coordinator,
) -> None:
    home = coordinator.homes[NAME]
    with open_custody(coordinator.institution(NAME), None, clock) as custody:
        approve_all(coordinator, [custody], STUDY)
    records = home.path / "records.csv"
    kept = records.read_bytes()
    records.write_text("customer\n1\n")
    with custodian_reloader(inputs(home)) as reloader:
        assert not serves(reloader)
        (one,) = reloader.status().studies
        assert (one.id, one.serving) == (STUDY.id, False)
        assert not reloader.changed()
        records.write_bytes(kept)
        assert reloader.changed()
        reloader.reload()
        assert serves(reloader)
        records.write_bytes(kept + b"\n")  # while it runs, an extract that changes stops nothing
        assert not reloader.changed()


@pytest.mark.parametrize("what", ["extract", "damaged", "settings"])
def test_a_run_is_not_refused_while_its_records_are_read_again(
    reloader: CustodianReloader,
    coordinator: Coordinator,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """It was, for as long as reading took: a new policy after a new extract cost runs attempts."""
    home, begun, gate, real = coordinator.homes[NAME], Gate(), Gate(), module.records_loader

    def slow(*arguments: Any) -> Callable[..., Any]:
        load = real(*arguments)

        def read(study: Any) -> Any:
            begun.set()
            assert gate.wait(60)
            return load(study)

        return read

    monkeypatch.setattr(module, "records_loader", slow)
    records = home.path / "records.csv"
    records.write_bytes(b"customer\n1\n" if what == "damaged" else records.read_bytes() + b"\n")
    if what == "settings":
        coordinator.edit(home.settings, 'path = "records.csv"', 'path = "./records.csv"')
    home.policy.write_text(home.policy.read_text() + "\n")
    follower = Thread(target=reloader.reload)
    follower.start()
    assert begun.wait(60)
    during, served = serves(reloader), [one.serving for one in reloader.status().studies]
    gate.set()
    follower.join(60)
    assert during is (what != "settings")  # of another source nobody answers from the former one
    assert served == [during] * len(served)
    assert serves(reloader) is (what != "damaged")
    assert [one.serving for one in reloader.status().studies] == [what != "damaged"]


def test_a_call_in_work_is_finished_by_whoever_began_it(
    reloader: CustodianReloader, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate, real = Gate(), Gate(), module.answer

    def slow(custodian: Any, call: str, frame: bytes) -> bytes:
        begun.set()
        assert gate.wait(60)
        return real(custodian, call, frame)  # type: ignore[no-any-return]

    answers: list[bytes | RefusalCode] = []
    monkeypatch.setattr(module, "answer", slow)
    caller = Thread(target=lambda: answers.append(describe(reloader)))
    caller.start()
    assert begun.wait(60)
    coordinator.pin(coordinator.roster(version=2))
    follower = Thread(target=reloader.reload)
    follower.start()
    until(lambda: reloader.status().busy)
    follower.join(0.5)
    assert follower.is_alive()  # it waits for the call
    gate.set()
    caller.join(60)
    follower.join(60)
    (answered,) = answers
    assert isinstance(answered, bytes)
    assert answered
    monkeypatch.undo()
    assert not serves(reloader)


def test_what_looks_brought_is_told_once(
    reloader: CustodianReloader, coordinator: Coordinator
) -> None:
    assert list(reloader.told()) == []
    coordinator.pin(coordinator.roster(version=2))
    report = reloader.reload()
    assert report.changed == ["roster version 2 (was 1)", *report.changed[1:]]
    assert [told.changed for told in reloader.told()] == [report.changed[:1]]
    assert list(reloader.told()) == []


def test_a_study_that_arrives_waits_for_a_person(
    reloader: CustodianReloader, coordinator: Coordinator
) -> None:
    other = home_study(name="other")
    coordinator.receive(other, NAME)
    assert reloader.reload().left_out == []
    assert not serves(reloader, other.id)
    assert read_decision(coordinator.homes[NAME], other.id).state is State.RECEIVED


def test_rows_that_count_as_zero_are_told_and_served(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    file = coordinator.homes[NAME].path / "records.csv"
    header, *rows = file.read_text().splitlines()
    rows[0] = rows[0].replace(",1,", ",,").replace(",0,", ",,")  # no label
    file.write_text("\n".join([header, *rows, ""]))
    approve(coordinator, custody_of)
    with custodian_reloader(inputs(coordinator.homes[NAME])) as made:
        assert serves(made)
        (now,) = made.status().studies
        assert (now.serving, now.records) == (True, "1 of 200 rows counts as zero (0.5 %)")
        other = home_study(name="other")
        approve(coordinator, custody_of, other)
        records = made.reload().records
    assert records == [f"study {other.id[:12]}: 1 of 200 rows counts as zero (0.5 %)"]
