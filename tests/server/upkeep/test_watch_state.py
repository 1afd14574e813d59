"""What a coordinator tells of itself, from its own files."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from tests.support.homes.keyed_coordinators import KeyedCoordinator, progress
from tests.support.homes.papers import Applicant
from tests.support.homes.superlinks import add_flower_run, add_node
from tests.support.system.loaded import CEILINGS, own_lines

from fieldfare.server.members.enrolment import examine, keep
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.proposing import propose
from fieldfare.server.upkeep.watch_state import CoordinatorState
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.watch import metrics
from fieldfare.shared.watch.exposition import exposition

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
SCRAPED: Final = """
import json, sys
from pathlib import Path
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.upkeep import watch_process as process
from fieldfare.shared.watch.exposition import exposition

state = process.coordinator_state(CoordinatorHome.open(Path(sys.argv[1])))
said = exposition(list(state.samples())).decode()
print(json.dumps([said, len(state.probes()), sorted(sys.modules)]))
"""


def told(keyed: KeyedCoordinator, now: datetime | None = None) -> dict[tuple[str, str], float]:
    state = CoordinatorState(keyed.home, lambda: now or utc_now())
    samples = list(state.samples())
    assert {one.metric for one in samples} <= set(metrics.OF_COORDINATOR)
    return {
        (sample.name.removeprefix("fieldfare_"), "/".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition(samples).decode())
        for sample in family.samples
    }


def test_an_empty_home_tells_of_nothing_and_is_not_ready(keyed: KeyedCoordinator) -> None:
    found = told(keyed)
    assert found["coordinator_runs", "running"] == 0
    assert found["coordinator_superlink_up", ""] == 0
    assert 360 < found["certificate_days", "server"] <= 366
    probes = {one.part: one.good for one in CoordinatorState(keyed.home).probes()}
    assert probes == {
        "run store": True,
        "superlink": False,
        "runner": False,
        "certificates": True,
    }


def test_a_runner_that_asks_for_no_work_makes_it_not_ready(keyed: KeyedCoordinator) -> None:
    """As one that died or stands still: its SuperLink answers on."""

    def ready(at: datetime) -> bool:
        probes = CoordinatorState(keyed.home, lambda: at).probes()
        return {one.part: one.good for one in probes}["runner"]

    now = utc_now()
    assert not ready(now)
    keyed.home.run.mkdir(exist_ok=True)
    keyed.home.runner_beat.touch()
    assert ready(now)
    assert ready(now + timedelta(seconds=50))
    assert not ready(now + timedelta(seconds=70))
    assert not ready(now - timedelta(days=1))  # its time is of a clock that was put back


def test_runs_and_steps_are_counted(keyed: KeyedCoordinator) -> None:
    study = propose(keyed.home, keyed.study, keyed.signer).id
    assert told(keyed)["coordinator_studies_waiting", ""] == 1
    keyed.approve()
    assert told(keyed)["coordinator_studies_ready", ""] == 1
    with keyed.store() as store:
        store.create("run-1", study, NOW)
        store.set_flower_run("run-1", 1)
        store.set_state("run-1", RunStatus.RUNNING, "", NOW)
        with store.together():
            store.append("run-1", [], progress=progress(step=2))
        store.add_losses("run-1", ["bank-a"], debited=True)
    add_flower_run(keyed.home, 1, running=NOW, until=NOW + timedelta(minutes=1))
    found = told(keyed, NOW)
    assert found["coordinator_runs", "running"] == 1
    assert found["coordinator_steps_total", ""] == 2
    assert found["coordinator_steps_open", ""] == 2
    assert found["coordinator_runs_interrupted", ""] == 0
    assert found["coordinator_lost_attempts_total", "bank-a"] == 1
    assert found["coordinator_studies_ready", ""] == 0
    assert found["coordinator_spare_releases_left", ""] >= 0
    later = told(keyed, NOW + timedelta(hours=1))
    assert later["coordinator_runs_interrupted", ""] == 1  # its process told nothing since


def test_a_store_that_cannot_be_read_hides_no_certificate(keyed: KeyedCoordinator) -> None:
    keyed.home.runs_database.write_bytes(b"no database at all")
    keyed.home.runs_database.chmod(0o600)
    found = told(keyed)
    assert ("coordinator_runs", "running") not in found
    assert ("certificate_days", "server") in found
    probes = {one.part: one.good for one in CoordinatorState(keyed.home).probes()}
    assert probes["run store"] is False


def test_certificates_that_ended_make_it_not_ready(keyed: KeyedCoordinator) -> None:
    later = utc_now() + timedelta(days=400)
    assert told(keyed, later)["certificate_days", "server"] < 0
    probes = {one.part: one.good for one in CoordinatorState(keyed.home, lambda: later).probes()}
    assert probes["certificates"] is False


def test_members_are_there_or_not(keyed: KeyedCoordinator) -> None:
    for name in ("bank-a", "bank-b"):
        one = Applicant(name, keyed.home)
        keep(keyed.home, examine(keyed.home, one.enrolment(), "sent"))
        until = NOW + timedelta(seconds=60)
        if name == "bank-a":
            add_node(keyed.home, one.node, since=NOW, until=until)
    found, later = told(keyed, NOW), told(keyed, NOW + timedelta(minutes=5))
    assert [found["coordinator_node_connected", name] for name in ("bank-a", "bank-b")] == [1, 0]
    assert [later["coordinator_node_connected", name] for name in ("bank-a", "bank-b")] == [0, 0]


def test_a_watch_that_was_scraped_has_loaded_at_most_what_it_may(keyed: KeyedCoordinator) -> None:
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRAPED, str(keyed.home.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    said, probes, found = json.loads(done.stdout)
    assert "fieldfare_coordinator_studies_ready 1.0" in said
    assert probes == 4
    assert 0 < own_lines(found) <= CEILINGS["coordinator's watch"].served
