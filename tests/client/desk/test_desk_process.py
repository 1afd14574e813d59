"""The desk as a process: where it listens, for whom, and what it takes over by itself."""

import json
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from tests.support.homes import journals
from tests.support.homes.institutions import Coordinator, home_study
from tests.support.homes.reported import reported_alert
from tests.support.system.loaded import CEILINGS, own_lines
from tests.support.system.processes import until

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.alert_queue import casework_store, open_queue
from fieldfare.client.alerts.casework import Casework, CaseworkTerms, make_casework
from fieldfare.client.console.place import desk_of
from fieldfare.client.desk.calls import STUDIES
from fieldfare.client.desk.place import desk_users
from fieldfare.client.desk.process import Collector
from fieldfare.client.home.layout import Home
from fieldfare.shared.desk.asking import DeskClient
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

ALERT: Final = reported_alert()
COMMAND: Final = (sys.executable, "-m", "fieldfare", "institution", "desk")


@pytest.fixture
def bank(coordinator: Coordinator) -> Home:
    return coordinator.homes["bank-a"]


@pytest.fixture
def casework(bank: Home) -> Iterator[Casework]:
    with TemporaryDirectory(prefix="ff-") as outside:
        terms = CaseworkTerms(institution="bank-a", analysts=("anna",), console=os_user())
        made = make_casework(Path(outside) / "cases", os.getgid(), terms)
        with casework_store(made) as store:
            store.put([ALERT])
        with bank.settings.open("a") as file:
            file.write(f'\n[casework]\nfolder = "{made.path}"\n')
        yield made


@contextmanager
def running(home: Home, client: DeskClient) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([*COMMAND, "--home", str(home.path)]) as process:
        try:
            until(client.runs)
            yield process
        finally:
            process.kill()


@pytest.mark.faults
def test_it_answers_beside_a_home_to_its_user_alone(coordinator: Coordinator, bank: Home) -> None:
    kept, client = coordinator.receive(home_study()), desk_of(open_queue(bank.path))
    with running(bank, client) as process:
        assert stat.S_IMODE(client.path.stat().st_mode) == 0o600
        (told,) = client.ask(STUDIES, Nothing()).studies
        assert told.id == kept.study.id
        process.kill()
        process.wait()
    with running(bank, client):  # also where a killed one left its socket
        assert client.ask(STUDIES, Nothing()).studies == [told]


@pytest.mark.faults
def test_it_answers_and_collects_beside_a_casework_folder(bank: Home, casework: Casework) -> None:
    queue = open_queue(casework.path)
    client = desk_of(queue)
    assert client.path.parent == casework.path / "run"
    with running(bank, client):
        assert stat.S_IMODE(client.path.stat().st_mode) == 0o660
        assert client.ask(STUDIES, Nothing()).studies == []
        queue.act(CaseAct(ALERT.alert, utc_now(), "anna", CaseActKind.TAKE))
        until(lambda: any(one["actor"] == "anna" for one in journals.logged(bank.log_folder)))
        with pytest.raises(UsageError, match="may ask the desk"):
            _as_nobody(client)


def _as_nobody(client: DeskClient) -> None:
    """Ask as another user, to whom the modes would not even let the socket appear."""
    if os.geteuid() != 0:
        raise UsageError("expected root for this part, found a user who may ask the desk")
    client.path.chmod(0o666)
    for folder in (client.path.parent, client.path.parent.parent, client.path.parent.parent.parent):
        folder.chmod(0o755)
    number = pwd.getpwnam("nobody").pw_uid
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(number)
        try:
            client.ask(STUDIES, Nothing())
        except UsageError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    said = os.read(read, 4096).decode()
    os.close(read)
    if said:
        raise UsageError(said)


def test_who_may_ask_is_the_operator_and_the_console(casework: Casework) -> None:
    own = os.geteuid()
    assert desk_users(None) == {own}
    assert desk_users(casework) == {own}
    nobody = pwd.getpwnam("nobody")
    for named, users in (("nobody", {own, nobody.pw_uid}), ("no-such-user", {own}), ("", {own})):
        terms = casework.terms.model_copy(update={"console": named})
        assert desk_users(Casework(casework.path, terms, own)) == users


def test_what_is_signed_is_taken_over_once(bank: Home, casework: Casework) -> None:
    said: list[str] = []
    collector, queue = Collector(bank, said.append), open_queue(casework.path)
    queue.act(CaseAct(ALERT.alert, utc_now(), "anna", CaseActKind.TAKE))
    for _ in range(3):
        collector.look()
    assert [one["actor"] for one in journals.logged(bank.log_folder)].count("anna") == 1
    terms = casework.path / "casework.toml"
    content = terms.read_text()
    terms.write_text("odd")
    for _ in range(3):
        collector.look()
    assert len(said) == 1  # what is wrong is said once
    terms.write_text(content)
    queue.act(CaseAct(ALERT.alert, utc_now(), "anna", CaseActKind.COMMENT, "seen"))
    collector.look()
    assert [one["actor"] for one in journals.logged(bank.log_folder)].count("anna") == 2


# -- what it has loaded ----------------------------------------------------------------------------

ASKED: Final = """
import json, sys
from pathlib import Path
from fieldfare.client.desk.process import desk_lines
from fieldfare.client.home.layout import Home

lines = {one.call.name: one for one in desk_lines(Home.open(Path(sys.argv[1])))}
for name, words in json.loads(sys.argv[2]).items():
    lines[name].reply(json.dumps(words).encode(), 0)
print(json.dumps(sorted(sys.modules)))
"""


def test_a_desk_that_was_asked_has_loaded_at_most_what_it_may(
    coordinator: Coordinator, bank: Home
) -> None:
    """And nothing that decides, whatever of it was read."""
    kept = coordinator.receive(home_study())
    asked = {"studies": {}, "study": {"digits": kept.study.id}, "budget": {}, "log": {"most": 9}}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ASKED, str(bank.path), json.dumps(asked | {"check": {}})],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    assert "fieldfare.client.desk.check_reading" in found
    assert "fieldfare.client.desk.deciding" not in found
    assert 0 < own_lines(found) <= CEILINGS["institution's desk"].served
