"""The commands of a coordinator about notices, and the process under `coordinator start`."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.receivers import web_server
from tests.support.system.processes import until

from fieldfare.server.studies.proposing import propose
from fieldfare.shared.system.private_files import PRIVATE_FILE, create_private

COMMAND: Final = Path(sys.executable).with_name("fieldfare")
PATIENCE: Final = 90.0


def settings(keyed: KeyedCoordinator, url: str) -> None:
    if not (keyed.home.keys / "hook").exists():
        create_private(keyed.home.keys / "hook", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    keyed.home.notices.write_text(
        f'[[webhook]]\nname = "tickets"\nurl = "{url}"\nsecret_file = "keys/hook"\n'
    )
    keyed.home.notices.chmod(PRIVATE_FILE)


def test_addresses_are_tried_and_notices_listed(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    with web_server() as hook:
        settings(keyed, hook.url)
        assert keyed.command("notices", "test") == 0
        hook.status = 302
        assert keyed.command("notices", "test") == 1
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "webhook tickets: sent",
        "webhook tickets: not sent: it answered 302: redirects are not followed",
    ]
    assert keyed.command("notices", "list") == 0
    assert capsys.readouterr().out == "no notice yet\n"


@pytest.mark.faults
def test_start_sends_notices_where_there_are_settings(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    propose(keyed.home, keyed.study, keyed.signer)
    keyed.approve()
    with web_server() as hook:
        settings(keyed, hook.url)
        process = subprocess.Popen(
            [COMMAND, "coordinator", "start", "--home", keyed.home.path],
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        until(lambda: len(hook.posted) == 1, PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert b"A study has the approvals that it needs" in hook.posted[0][2]
    assert keyed.command("notices", "list", "--json") == 0
    assert '"state": "sent"' in capsys.readouterr().out
