"""A process that decides is killed at any moment: nothing is lost, and nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from tests.client.alerts.test_alert_store import alert
from tests.support.homes import journals

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.home.layout import Home

DECISIONS = 60
KILLS = 8
DECIDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.alert_queue import open_queue
for at in range(int(sys.argv[2])):
    queue, name = open_queue(Path(sys.argv[1])), f"{at:08x}"
    said = (Disposition.EDD, PartyRole.BYSTANDER, Confidence.HIGH, "why", True, f"key-{at}")
    done = queue.act(Feedback(name, datetime.now(UTC), "ana", *said), 0)
    if not done.repeated:
        print(name, flush=True)
"""


@pytest.mark.faults
def test_a_killed_decision_is_there_once_after_it_is_sent_again(home: Home) -> None:
    with open_queue(home.path).store() as store:
        store.put([alert(f"{at:08x}", f"u{at}") for at in range(DECISIONS)])
    command = [sys.executable, "-c", DECIDER, str(home.path), str(DECISIONS)]
    told: list[str] = []
    for _ in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told += [process.stdout.readline().strip()]
            time.sleep(int.from_bytes(os.urandom(1)) / 2000)
            process.send_signal(signal.SIGKILL)
            told += process.stdout.read().split()
    told += subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    with open_queue(home.path).store() as store:
        assert {one.version for one in store.all()} == {1}
        assert all(one.status.state == "in_review" for one in store.all())
    logged = [one for one in journals.logged(home.log_folder) if one["event"] == "feedback"]
    assert len(logged) == DECISIONS
    assert max(Counter(one["details"]["fingerprint"] for one in logged).values()) == 1
    assert max(Counter(one for one in told if one).values()) == 1
