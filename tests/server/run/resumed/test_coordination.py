"""One run's process over real custodians: what it keeps, and how the next one goes on."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flwr.app import Message
from tests.support.federations.conducted import NODES, RUN, Coordinator
from tests.support.federations.settings import BANKS, to_bank

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.closing import LEFT_SECONDS
from fieldfare.server.run.conduct import CLOSING_SECONDS
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import FieldfareError, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.protocol.messages import open_envelope


def test_a_run_ends_with_a_signed_log_and_a_model_at_everybody(coordinator: Coordinator) -> None:
    coordinator.carry_out()
    row = coordinator.row()
    assert (row.state, row.reason) == (RunStatus.FINISHED, "")
    assert row.progress is not None
    assert row.progress.step == coordinator.setting.federation.study.training.steps
    assert coordinator.kinds()[-2:] == ["model", "end"]
    with coordinator.store() as store:
        assert set(store.cosignatures(RUN)) == set(BANKS)
        assert all(store.undelivered(name) == () for name in BANKS)
        assert set(store.last_replies()) == set(BANKS)
    roster = coordinator.setting.federation.identities.roster
    content = (coordinator.home.model(RUN) / "delivery.signed").read_bytes()
    delivery = open_envelope(content, Delivery, roster, Protection.EXACT).body
    assert (delivery.study, delivery.run) == (coordinator.setting.federation.study.id, RUN)
    card = json.loads((coordinator.home.model(RUN) / "card.json").read_bytes())
    assert card["run"] == RUN


def test_a_hello_without_a_run_brings_approvals_back_and_starts_nothing(
    coordinator: Coordinator,
) -> None:
    coordinator.carry_out(run="")
    study = coordinator.setting.federation.study.id
    with coordinator.store() as store:
        approvals = store.approvals(study)
        assert {name: row.text for name, row in approvals.items()} == dict.fromkeys(
            BANKS, "approved"
        )
        assert all(row.envelope for row in approvals.values())
        assert store.leaves(RUN) == ()
    assert coordinator.row().state is RunStatus.WAITING


def test_a_stop_ends_between_two_steps_and_the_next_process_goes_on(
    coordinator: Coordinator,
) -> None:
    def stop_at(message: Message) -> bool:
        if message.metadata.message_type == "query.release":
            with coordinator.store() as store:
                if store.row(RUN).state is RunStatus.RUNNING and store.checkpoint(RUN):
                    store.request_stop(RUN)
        return False

    coordinator.carry_out(drop=stop_at)
    stopped = coordinator.row()
    assert stopped.state is RunStatus.STOPPED
    assert "resume" in stopped.reason
    assert coordinator.kinds()[-1] == "end"
    done = stopped.progress.step if stopped.progress else 0
    assert 0 < done < coordinator.setting.federation.study.training.steps
    with coordinator.store() as store:
        store.reopen(store.row(RUN), datetime.now(UTC))
    coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FINISHED
    releases = coordinator.setting.federation.study.training.steps + 1
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, releases)  # nothing was paid twice


def test_too_few_institutions_end_a_run_with_a_reason_and_it_can_go_on(
    coordinator: Coordinator,
) -> None:
    lost = [to_bank(name, after=2) for name in BANKS[:2]]
    with pytest.raises(RunError, match="at least 3 institutions"):
        coordinator.carry_out(drop=lambda message: any(each(message) for each in lost))
    failed = coordinator.row()
    assert failed.state is RunStatus.FAILED
    with coordinator.store() as store:
        assert not store.restarts(RUN).needs_person
    assert all(name in failed.reason for name in BANKS[:2])
    assert coordinator.kinds()[-1] == "end"
    with coordinator.store() as store:
        store.reopen(store.row(RUN), datetime.now(UTC))
    coordinator.carry_out()  # both are back: all are asked the same again
    assert coordinator.row().state is RunStatus.FINISHED
    releases = coordinator.setting.federation.study.training.steps + 1
    # Who had answered sent the same bytes again, for nothing.
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, releases)


def test_a_run_that_went_on_without_somebody_does_not_wait_for_it_at_the_end(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Call, set[str], float]] = []
    ask = GridChannel.ask

    def recorded(channel: GridChannel, call: Call, contents: Any, seconds: float) -> Any:
        asked.append((call, {NODES[node] for node in contents}, seconds))
        return ask(channel, call, contents, seconds)

    monkeypatch.setattr(GridChannel, "ask", recorded)
    coordinator.carry_out(drop=to_bank(BANKS[0], after=2))
    assert coordinator.row().state is RunStatus.FINISHED
    waited = [(names, seconds) for call, names, seconds in asked if call is Call.DELIVER]
    assert waited[-2:] == [(set(BANKS[1:]), CLOSING_SECONDS), ({BANKS[0]}, LEFT_SECONDS)]
    with coordinator.store() as store:
        # It did not stay to the evaluation, so it takes the model as a file alone.
        assert store.undelivered(BANKS[0]) == (RUN,)


def test_what_is_missing_in_the_home_fails_the_run_with_a_reason(coordinator: Coordinator) -> None:
    coordinator.home.roster.unlink()
    with pytest.raises(FieldfareError):
        coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FAILED
    with coordinator.store() as store:
        assert store.restarts(RUN).needs_person  # another try would not mend it
    assert "roster.signed" in coordinator.row().reason


def test_a_model_that_was_not_handed_over_is_handed_over_at_the_next_occasion(
    coordinator: Coordinator,
) -> None:
    def no_delivery_to_bank_d(message: Message) -> bool:
        metadata = message.metadata
        return metadata.message_type == "query.deliver" and NODES[metadata.dst_node_id] == BANKS[3]

    import fieldfare.server.run.conduct as module

    before, module.CLOSING_SECONDS = module.CLOSING_SECONDS, 0.5  # type: ignore[misc]
    try:
        coordinator.carry_out(drop=no_delivery_to_bank_d)
    finally:
        module.CLOSING_SECONDS = before  # type: ignore[misc]
    with coordinator.store() as store:
        assert store.undelivered(BANKS[3]) == (RUN,)
        assert store.undelivered(BANKS[0]) == ()
    coordinator.carry_out(run="")
    with coordinator.store() as store:
        assert store.undelivered(BANKS[3]) == ()


def test_a_process_that_died_while_handing_over_is_followed_by_one_that_does(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fieldfare.server.run.conduct as module

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(module, "keep_delivery", killed)
    with pytest.raises(Killed):
        coordinator.carry_out()
    assert coordinator.row().state is RunStatus.RUNNING
    monkeypatch.undo()
    before = coordinator.kinds()
    coordinator.carry_out()
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.kinds() == before  # the log says once that the model is made
    with coordinator.store() as store:
        assert all(store.undelivered(name) == () for name in BANKS)
