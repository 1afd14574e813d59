"""A running federation goes from a recorded version to this one: its coordinator, then each bank.

Real processes of both versions, in `make nightly PART=operate`; needs the history of the commit.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from tests.operation.upgrade.record import bed_of, home_in
from tests.operation.upgrade.recorded import VERSIONS, recorded_as
from tests.support.federations.beds import check_audited, folder_elsewhere, resume_by_itself
from tests.support.federations.outages import SECONDS, begin, picture, resume
from tests.support.system.earlier import earlier_version, in_history
from tests.support.system.processes import until

from fieldfare.simulations.demo.testbed import COMMAND, COORDINATOR, Bed, in_a_process

STEPS: Final = 8

pytestmark = [pytest.mark.promises, pytest.mark.timeout(1800)]  # PART=operate alone


@pytest.fixture(params=VERSIONS)
def earlier(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """A federation of a recorded version that runs, under a short path: sockets lie below it."""
    commit = recorded_as(request.param)["commit"]
    if not in_history(commit):
        pytest.skip(f"the history has no {commit}: fetch it whole (git fetch --unshallow)")
    folder = Path(mkdtemp(prefix="ff-"))
    elsewhere = folder_elsewhere(folder)
    bed = bed_of(earlier_version(commit, folder / "earlier"), folder)
    bed.found()
    for name in bed.names:  # members of an earlier version cannot be asked what they remember
        settings, place = bed.home(name) / "institution.toml", elsewhere / f"{name}.witness"
        text = settings.read_text()
        assert text.count('\nwitness = ""') == 1
        settings.write_text(text.replace('\nwitness = ""', f'\nwitness = "{place}"'))
    resume_by_itself(bed, on=False)  # it is carried on at the moment that the test chooses
    try:
        bed.start()
        yield bed
    finally:
        bed.stop()
        shutil.rmtree(folder)
        shutil.rmtree(elsewhere)


def install(bed: Bed, name: str) -> None:
    """From now on, what is typed on a home is of this version, and so is all that starts."""
    earlier = bed.command

    def command(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return (in_a_process if home_in(words) == name else earlier)(words)

    bed.command, bed.program = command, COMMAND


def has_made(bed: Bed, run: str, steps: int) -> bool:
    """Whether a run has made so many steps, as the coordinator's own version says.

    To open its store by ours would bring the tables up to date under the process that writes there.
    """
    progress = picture(bed, run)["progress"]
    return bool(progress and progress["step"] >= steps)


def whole(bed: Bed, run: str, steps: int) -> None:
    """A run ended well, with everybody: audited, and every bank's ledger recomputed.

    Each by its home's own version: ours would bring the tables up to date under an earlier one.
    """
    report = check_audited(bed, bed.until_ended(run))
    assert report["steps"] == steps
    assert len(report["institutions"]) == len(bed.names)
    for name in bed.names:
        assert "ledger verified" in bed.institution(name, "verify", "ledger")


def test_a_federation_is_upgraded_while_it_runs(earlier: Bed) -> None:
    """A run that is under way goes on, and no invitation, roster or approval is made anew."""
    bed = earlier
    kept = {
        path: path.read_bytes()
        for path in (
            bed.coordinator_home / "invitation.json",
            bed.coordinator_home / "roster.signed",
            *(bed.home(name) / "node.toml" for name in bed.names),
        )
    }
    run = begin(bed, "under-way", steps=STEPS)
    until(lambda: has_made(bed, run, 2), SECONDS)
    bed.stop_one(COORDINATOR)
    install(bed, COORDINATOR)
    bed.start_coordinator()
    bed.until_connected()
    resume(bed, run)
    whole(bed, run, STEPS)  # begun by one version, finished by the other, all banks earlier ones

    for number, name in enumerate(bed.names):
        bed.stop_one(name)
        install(bed, name)
        bed.start_institution(name)
        bed.until_connected()
        whole(bed, begin(bed, f"mixed-{number}", steps=3), 3)
    for path, content in kept.items():
        assert path.read_bytes() == content, path
