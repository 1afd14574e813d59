"""The drawing of a training request is what a step does: each function, in that order."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
import pytest
from tests.simulations.conftest import BANKS, SimulationFolder
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

ROOT: Final = Path(__file__).parents[3]
ROW: Final = re.compile(r"^\| \d+ \| `([a-z_/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)
MOST_FILES: Final = 24
MOST_ROOMS: Final = 10
BESIDE: Final = {"ExactNoise.sample"}  # another thread's: before or after what stands beside it

Step = tuple[str, str]  # a file and a function's qualified name


def drawn() -> list[Step]:
    text = (ROOT / "docs/architecture.md").read_text()
    return ROW.findall(text[text.index("## A training request") : text.index("## Rooms")])


class Walk:
    """What was entered first, of functions of this source, while one sum was collected."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._here = False

    def note(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if not self._here or event != "call" or not name.startswith(f"{ROOT}/"):
            return
        step = name.removeprefix(f"{ROOT}/"), frame.f_code.co_qualname
        if step not in self.steps:
            self.steps.append(step)

    @contextmanager
    def noted(self) -> Iterator[None]:
        self._here = True
        try:
            yield
        finally:
            self._here = False


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    """A walk through the second step of training, which follows from a sum."""
    walk, collect = Walk(), SecureSums.collect

    def collected(self: SecureSums, release: Release, *given: Any) -> DecodedSum:
        one = (release.terms.kind, release.step) == (ReleaseKind.TRAINING, 2)
        if not one:
            return collect(self, release, *given)
        with walk.noted():
            return collect(self, release, *given)

    monkeypatch.setattr(SecureSums, "collect", collected)
    before = sys.getprofile()
    threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    yield walk
    sys.setprofile(before)
    threading.setprofile(None)


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
    wanted = drawn()
    assert set(wanted) <= set(walk.steps)
    ordered = [step for step in wanted if step[1] not in BESIDE]
    found = [step for step in walk.steps if step in ordered]
    assert found == ordered


def test_the_way_is_short() -> None:
    files = {file for file, _ in drawn()}
    assert len(files) <= MOST_FILES
    assert len({Path(file).parent for file in files}) <= MOST_ROOMS
