"""`RunWatch`: the SuperLink itself and whoever looks at its file say the same of a run.

`ControlClient` asks the SuperLink with its token; `SuperlinkView` reads the rows, and has none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.support.network.coordinator import RunningSuperlink, new_home, running_superlink

from fieldfare.server.home.initial_setup import build_bundle
from fieldfare.server.studies.run_life import RunWatch
from fieldfare.server.superlink.control import control_target
from fieldfare.server.superlink.state_view import SuperlinkView
from fieldfare.server.superlink.superlink import (
    ControlClient,
    Tasks,
    control,
    fail_task,
    server_task,
    tasks,
)
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.clock import utc_now

CONFIGURATION: Final = {"study": "ab" * 32, "run": "r-1"}


@pytest.fixture(scope="module")
def superlink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuperlink]:
    with running_superlink(new_home(tmp_path_factory.mktemp("coordinator") / "home")) as running:
        yield running


@contextmanager
def runner(superlink: RunningSuperlink) -> Iterator[Tasks]:
    secret = superlink.home.runtime_token.read_bytes()
    with tasks(superlink.local, superlink.home.authority.read_bytes(), secret) as opened:
        yield opened


def both(superlink: RunningSuperlink, link: ControlClient, run: int) -> tuple[str, str]:
    """What both say of a run: its state, and its reason."""
    view = SuperlinkView(superlink.home.superlink_database, utc_now)
    watches: tuple[RunWatch, RunWatch] = (link, view)
    one, other = ((said.state, said.reason) for said in (w.run_status(run) for w in watches))
    assert one == other
    return one


def test_both_say_the_same_from_its_start_to_its_end(superlink: RunningSuperlink) -> None:
    with control(control_target(superlink.home)) as link, runner(superlink) as source:
        first = link.start_run(build_bundle(), CONFIGURATION)
        assert both(superlink, link, first)[0] == "pending"
        taken = source.acquire()
        assert taken is not None
        assert both(superlink, link, first)[0] == "starting"
        authority = superlink.home.authority.read_bytes()
        with server_task(superlink.local, authority, taken.token) as task:
            assert both(superlink, link, first)[0] == "running"
            task.finish(None)
        assert both(superlink, link, first)[0] == "completed"

        stopped = link.start_run(build_bundle(), CONFIGURATION)
        link.stop_run(stopped)
        assert both(superlink, link, stopped)[0] == "stopped"

        killed = link.start_run(build_bundle(), CONFIGURATION)
        again = source.acquire()
        assert again is not None
        fail_task(superlink.local, authority, again, "killed")
        assert both(superlink, link, killed) == ("failed", "killed")


def test_of_a_run_whose_row_is_gone_both_say_that_it_failed(superlink: RunningSuperlink) -> None:
    with control(control_target(superlink.home)) as link:
        assert both(superlink, link, 5) == ("failed", "the SuperLink does not know it")
        link.stop_run(5)  # nothing to do


def test_where_nothing_can_be_found_out_neither_says_a_state(
    superlink: RunningSuperlink, tmp_path: Path
) -> None:
    (tmp_path / "state").write_bytes(b"no database at all")
    with pytest.raises(RunError):
        SuperlinkView(tmp_path / "state", utc_now).run_status(1)
    away = replace(control_target(superlink.home), address="127.0.0.1:9")
    with control(away) as link, pytest.raises(RunError):
        link.run_status(1)
