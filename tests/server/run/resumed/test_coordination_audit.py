"""Whatever happens to a run, the transcript that its coordinator leaves behind fits."""

from pathlib import Path

import pytest
from flwr.app import Message
from tests.support.federations.conducted import RUN, Coordinator, Killed, audited, resume
from tests.support.federations.settings import BANKS, to_bank

from fieldfare.shared.audit.audit import AuditReport
from fieldfare.shared.errors import RunError


def finished(coordinator: Coordinator, report: AuditReport) -> None:
    """The audit recomputed what the coordinator has, and what institutions have debited."""
    steps = coordinator.setting.federation.study.training.steps
    assert (report.state, report.steps, report.sums) == ("finished", steps, steps + 2)
    assert report.recomputed == report.sums
    for name, found in report.institutions.items():
        position = coordinator.setting.federation.ledgers[name].position()
        assert found.spent.debits <= position.cumulative <= found.spent.asked.total


def test_a_finished_run_fits_and_everybody_has_cosigned_it(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    coordinator.carry_out()
    report = audited(coordinator, tmp_path)
    finished(coordinator, report)
    assert report.metrics is not None
    assert report.cosigned == dict.fromkeys(BANKS, report.leaves)
    spent = {name: found.spent.debits for name, found in report.institutions.items()}
    ledgers = coordinator.setting.federation.ledgers
    assert spent == {name: ledgers[name].position().cumulative for name in BANKS}


def test_a_stopped_run_fits_before_and_after_it_goes_on(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    def stop_at(message: Message) -> bool:
        if message.metadata.message_type == "query.release":
            with coordinator.store() as store:
                if store.checkpoint(RUN):
                    store.request_stop(RUN)
        return False

    coordinator.carry_out(drop=stop_at)
    assert audited(coordinator, tmp_path).state == "stopped"
    resume(coordinator)
    finished(coordinator, audited(coordinator, tmp_path))


@pytest.mark.promises
def test_a_run_that_lost_too_many_fits_before_and_after(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    lost = [to_bank(name, after=2) for name in BANKS[:2]]
    with pytest.raises(RunError, match="at least 3 institutions"):
        coordinator.carry_out(drop=lambda message: any(each(message) for each in lost))
    assert audited(coordinator, tmp_path).state == "failed"
    resume(coordinator)
    finished(coordinator, audited(coordinator, tmp_path))


def test_a_run_that_nobody_came_to_fits_before_and_after(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    with pytest.raises(RunError):
        coordinator.carry_out(drop=lambda message: message.metadata.message_type == "query.hello")
    assert audited(coordinator, tmp_path).state == "failed"
    resume(coordinator)
    finished(coordinator, audited(coordinator, tmp_path))


def test_a_run_that_failed_to_agree_fits_before_and_after(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    with pytest.raises(RunError):
        coordinator.carry_out(drop=lambda message: message.metadata.message_type == "query.agree")
    assert audited(coordinator, tmp_path).state == "failed"
    resume(coordinator)
    finished(coordinator, audited(coordinator, tmp_path))


@pytest.mark.promises
def test_an_institution_that_is_gone_for_good_is_counted(
    coordinator: Coordinator, tmp_path: Path
) -> None:
    coordinator.carry_out(drop=to_bank(BANKS[3], after=2))
    report = audited(coordinator, tmp_path)
    finished(coordinator, report)
    assert report.failed_attempts == 1
    gone = report.institutions[BANKS[3]]
    assert gone.at_most == gone.epsilon  # who did not even commit has surely paid nothing


@pytest.mark.parametrize("moment", [9, 20, 26])
def test_a_run_that_was_killed_anywhere_fits_before_and_after(
    coordinator: Coordinator, tmp_path: Path, moment: int
) -> None:
    seen = 0

    def kill(message: Message) -> bool:
        nonlocal seen
        seen += 1
        if seen == moment + 1:
            raise Killed
        return False

    with pytest.raises(Killed):
        coordinator.carry_out(drop=kill)
    with coordinator.store() as store:
        begun = bool(store.leaves(RUN))
    if begun:
        assert audited(coordinator, tmp_path).state == "unfinished"
    resume(coordinator)
    finished(coordinator, audited(coordinator, tmp_path))
