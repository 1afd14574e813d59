"""What is shown of a run comes from its study, the roster and everything that was spent."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.keyed_coordinators import BANKS, KeyedCoordinator, progress
from tests.support.system.packages import MODEL, PACKAGE, install

from fieldfare.server.home.initial_setup import build_bundle
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.open_coordinator import open_coordinator
from fieldfare.server.studies.proposing import propose
from fieldfare.server.studies.run_life import Life
from fieldfare.shared.errors import UsageError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.shared.study.allowed_packages import permit
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)


def test_a_picture_holds_study_privacy_and_institutions(keyed: KeyedCoordinator) -> None:
    study = keyed.study
    propose(keyed.home, study, keyed.signer)
    with open_coordinator(keyed.home.path) as opened:
        assert opened.bundle == build_bundle()
        store = opened.store
        for number, spent in ((1, 3_000_000_000), (2, 1_000_000_000)):
            store.create(f"run-{number}", study.id, NOW + timedelta(hours=number))
            store.append(f"run-{number}", (), progress=progress(1, spent=SideCosts(all=spent)))
            store.set_state(f"run-{number}", RunStatus.STOPPED, "", NOW)
        store.create("run-3", "b" * 64, NOW)  # of a study whose file is gone
        store.append("run-3", (), progress=progress(1, spent=SideCosts(all=10**15)))
        store.put_status("run-1", "bank-b", "answered", NOW)
        store.put_status("run-1", "left the roster", "lost", NOW)
        store.put_metrics("run-1", '{"auroc":{"value":0.5}}')
        summaries = {one.inspected.row.run: one for one in opened.summaries(NOW)}
    first, other = summaries["run-1"], summaries["run-3"]
    assert first.name == "payments"
    assert first.promise is not None
    assert (first.promise.epsilon, first.promise.delta) == (0.5, 1e-5)
    # Both runs of the study count, those of another do not.
    assert first.promise.spent == plan_for(study).epsilon(4_000_000_000 / PICOMU2)
    second = summaries["run-2"].promise
    assert second is not None
    assert second.spent == first.promise.spent
    # And each run says what it spent itself.
    assert first.promise.of_run == plan_for(study).epsilon(3_000_000_000 / PICOMU2)
    assert second.of_run == plan_for(study).epsilon(1_000_000_000 / PICOMU2)
    assert list(first.institutions) == [*BANKS, "left the roster"]
    assert first.institutions["bank-b"] == ("answered", NOW)
    assert first.institutions["bank-a"] is None
    assert first.metrics == {"auroc": {"value": 0.5}}
    assert (other.name, other.promise, other.metrics) == ("b" * 12, None, None)


def test_runs_are_shown_where_their_module_is_not_allowed(
    keyed: KeyedCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    permit([PACKAGE])
    data = json.loads(keyed.study.canonical())
    study = Study.model_validate({**data, "model": MODEL})
    propose(keyed.home, study, keyed.signer)
    permit([])
    with open_coordinator(keyed.home.path) as opened:
        opened.store.create("run-1", study.id, NOW)
        (summary,) = opened.summaries(NOW)
    assert summary.promise is not None  # its size stands in the study: nothing is imported


def test_without_a_roster_those_are_shown_that_were_heard(keyed: KeyedCoordinator) -> None:
    keyed.home.roster.unlink()
    with open_coordinator(keyed.home.path) as opened:
        opened.store.create("run-1", keyed.study.id, NOW)
        opened.store.put_status("run-1", "bank-b", "answered", NOW)
        (summary,) = opened.summaries(NOW)
    assert list(summary.institutions) == ["bank-b"]


def test_a_desk_opens_without_a_superlink_and_says_what_it_does_not_know(
    keyed: KeyedCoordinator,
) -> None:
    with open_coordinator(keyed.home.path) as opened:
        opened.store.create("run-1", keyed.study.id, NOW)
        opened.store.set_flower_run("run-1", 7)
        (summary,) = opened.summaries(NOW)
        assert summary.inspected.life is Life.UNKNOWN
        assert "fieldfare coordinator start" in summary.inspected.note
        assert opened.refreshed(summary.inspected).life is Life.UNKNOWN


def test_no_home_opens_no_coordinator(keyed: KeyedCoordinator) -> None:
    with (
        pytest.raises(UsageError, match="fieldfare coordinator init"),
        open_coordinator(keyed.folder / "elsewhere"),
    ):
        pass


def test_the_present_has_a_zone() -> None:
    assert utc_now().tzinfo is UTC
