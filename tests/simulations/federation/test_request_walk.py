"""The drawing of a training request is what a step does: each function, in that order."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.simulations.conftest import BANKS, SimulationFolder
from tests.support.federations.walks import Walk, drawn, files_of, walking
from tests.support.network.served import serving

from fieldfare.client.node.client_app import client_app
from fieldfare.client.node.remote_custodian import connected
from fieldfare.client.records import read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import DecodedSum
from fieldfare.server.run.rounds import SecureSums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.run.kinds.kind import Release
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.simulations.federation.federation import LocalFederation
from fieldfare.simulations.federation.grid import InProcessGrid

TITLE: Final = "A training request, there and back"
MOST_FILES: Final = 24
MOST_ROOMS: Final = 10


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    """A walk through the second step of training, which follows from a sum."""
    collect = SecureSums.collect
    with walking() as found:

        def collected(self: SecureSums, release: Release, *given: Any) -> DecodedSum:
            one = (release.terms.kind, release.step) == (ReleaseKind.TRAINING, 2)
            if not one:
                return collect(self, release, *given)
            with found.noted():
                return collect(self, release, *given)

        monkeypatch.setattr(SecureSums, "collect", collected)
        yield found


def test_a_step_goes_the_way_that_is_drawn(work: SimulationFolder, walk: Walk) -> None:
    study = work.write_study()
    records = read_records([work.records_file], study, institution_column="bank")
    assert records.institutions is not None
    held = np.arange(len(records)) % 5 == 0
    sums = {
        name: StudySums.prepare(study, records.data.select(own), held[own])
        for name, own in ((name, records.institutions == name) for name in BANKS)
    }
    with ExitStack() as stack:
        federation = stack.enter_context(
            LocalFederation(study, sums, Protection.EXACT, seed=0, directory=work.folder)
        )
        ports = {}
        for name, custodian in federation.custodians.items():
            path = work.folder / name / "s"
            stack.enter_context(serving(custodian, UnixSocket(path)))
            ports[name] = stack.enter_context(connected(path))
        app = client_app(lambda context: ports[str(context.node_config["institution"])])
        federation.run(federation.job(), InProcessGrid(app, federation.nodes))
    wanted = drawn(TITLE)
    assert set(wanted) <= set(walk.steps)
    assert [step for step in walk.steps if step in wanted] == wanted


def test_the_way_is_short() -> None:
    files = files_of(drawn(TITLE))
    assert len(files) <= MOST_FILES
    assert len({Path(file).parent for file in files}) <= MOST_ROOMS
