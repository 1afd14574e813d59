"""Steering runs from outside: start, stop, resume."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.server.studies.proposals import Proposal, shown
from fieldfare.server.studies.run_life import ALIVE, FlowerStatus, Life, RunWatch, inspect_run
from fieldfare.shared.errors import RunError, UsageError

POLL_SECONDS: Final = 0.2
MOST_OF_NAME: Final = 40  # characters of a study's name in a run's id
SUFFIX_BYTES: Final = 3

_RUN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RunControl(RunWatch, Protocol):
    """The part of a SuperLink's control API that is needed here (superlink.Control).

    Every method raises RunError where it cannot be reached.
    """

    def start_run(self, bundle: bytes, configuration: Mapping[str, str]) -> int:
        """Start a Flower run; returns its id."""
        ...

    def stop_run(self, run: int) -> None:
        """End a Flower run."""
        ...

    def nodes(self) -> Sequence[object]:
        """Return every node; of use to ask whether the SuperLink answers at all."""
        ...


def check_startable(store: RunStore, run: str, study: str) -> None:
    """Refuse an id, or a moment, at which no run of a study can begin.

    Raises:
        UsageError: the id is taken or is none, or another run of the study has not ended.
    """
    if not _RUN.fullmatch(run):
        raise UsageError(
            f"--run: expected 1 to 64 letters, digits, dots, dashes or underscores, found "
            f"{shown(run)}"
        )
    store.check_new(run, study)


def schedule(store: RunStore, run: str, study: str, not_before: datetime, now: datetime) -> None:
    """Keep a new run of a study that begins by itself, not before a time.

    Raises:
        UsageError: the id is taken or is none, another run of the study has not ended, or the
            time is over.
    """
    check_startable(store, run, study)
    if not_before <= now:
        raise UsageError(
            f"--not-before: expected a time to come, found {not_before:%Y-%m-%d %H:%M} UTC: leave "
            "the option out to start now"
        )
    with store.together():
        store.create(run, study, now)
        store.schedule(run, not_before)


def start(
    store: RunStore, control: RunControl, bundle: bytes, run: str, study: str, now: datetime
) -> None:
    """Start a new run of a study.

    Raises:
        UsageError: the id is taken or is none, or another run of the study has not ended.
        RunError: it could not be started; the run is kept as failed and can be resumed.
    """
    check_startable(store, run, study)
    with store.together():
        store.create(run, study, now)
        store.note_begun(run, now, automatic=False)
    _launch(store, control, bundle, run, study, now)


def resume(
    store: RunStore,
    control: RunControl,
    bundle: bytes,
    run: str,
    now: datetime,
    *,
    automatic: bool = False,
) -> RunRow:
    """Carry on a run that stopped, failed, was interrupted or is scheduled; returns its row before.

    What is kept first is that it is begun, then it is: a kill in between leaves it interrupted.

    Raises:
        UsageError: it goes on, is finished, or another run of its study has not ended.
        RunError: whether it goes on cannot be found out, or it could not be started.
    """
    seen = inspect_run(store, control, run)
    if seen.life is Life.ALIVE:
        raise UsageError(
            f"run {run}: expected a run that is not going on, found it {seen.word}; a process that "
            f"died is noticed within a minute: see fieldfare coordinator runs {run}"
        )
    if seen.life is Life.UNKNOWN:
        raise RunError(f"run {run}: {seen.note}")
    store.reopen(seen.row, now, automatic=automatic)
    _launch(store, control, bundle, run, seen.row.study, now)
    return seen.row


def stop(
    store: RunStore,
    control: RunControl,
    run: str,
    *,
    grace_seconds: float,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> RunRow:
    """End a run after its step; by force where its process does not answer in time.

    Args:
        store: the run store.
        control: of the SuperLink.
        run: its id.
        grace_seconds: how long the process may take to end by itself.
        now: the present, with a time zone.
        monotonic: seconds that only go forward.
        sleep: waits for so many seconds.

    Raises:
        UsageError: no such run, or it has ended.
        RunError: the SuperLink does not answer; the wish to stop stays.
    """
    store.request_stop(run)
    end = monotonic() + grace_seconds
    while True:
        seen = inspect_run(store, control, run)
        if seen.life is Life.ENDED:
            return seen.row
        if seen.life in {Life.INTERRUPTED, Life.SCHEDULED}:
            return _ended_from_outside(store, run, "its process was gone", now())
        if monotonic() >= end:
            break
        sleep(POLL_SECONDS)
    if seen.life is Life.UNKNOWN:
        raise RunError(
            f"run {run} will stop when it is resumed; {seen.note}: repeat this when the "
            "SuperLink runs"
        )
    if seen.row.flower_run is not None:
        control.stop_run(seen.row.flower_run)
    reason = f"its process did not end within {grace_seconds:g} s and was ended"
    return _ended_from_outside(store, run, reason, now())


def ask_to_stop(store: RunStore, control: RunControl, run: str, now: datetime) -> RunRow:
    """Ask a run to end after its step, without waiting; one without a process ends at once.

    Raises:
        UsageError: no such run, or it has ended.
    """
    store.request_stop(run)
    if inspect_run(store, control, run).life in {Life.INTERRUPTED, Life.SCHEDULED}:
        return _ended_from_outside(store, run, "its process was gone", now)
    return store.row(run)


def say_hello(control: RunControl, bundle: bytes, study: str) -> int:
    """Let institutions hear of a study and say whether they approve; returns the Flower run.

    Raises:
        RunError: the SuperLink cannot be reached.
    """
    return control.start_run(bundle, {"study": study, "run": ""})


def await_end(
    control: RunControl,
    flower_run: int,
    *,
    seconds: float,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> FlowerStatus:
    """Wait until a Flower run is over.

    Raises:
        RunError: the SuperLink cannot be reached, or the run is not over in time.
    """
    end = monotonic() + seconds
    while (status := control.run_status(flower_run)).state in ALIVE:
        if monotonic() >= end:
            raise RunError(
                f"expected answers within {seconds:g} s, found the SuperLink's run {flower_run} "
                f"{status.state}: is `fieldfare coordinator start` running?"
            )
        sleep(POLL_SECONDS)
    return status


def new_run_id(proposal: Proposal, now: datetime, token: bytes) -> str:
    """Return an id that no other run has: date, study, some random digits.

    Args:
        proposal: the study.
        now: with a time zone.
        token: SUFFIX_BYTES random bytes.
    """
    name = proposal.study.name[:MOST_OF_NAME]
    return f"{now.astimezone(UTC):%Y-%m-%d}-{name}-{token.hex()}"


def find_run(store: RunStore, text: str) -> RunRow:
    """Return the run that a person means: by its id, or by the beginning of it.

    Raises:
        UsageError: none or several fit.
    """
    rows = store.rows()
    exact = [row for row in rows if row.run == text]
    found = exact or [row for row in rows if text and row.run.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(row.run for row in found)
        raise UsageError(
            f"RUN: expected one run, found {shown(text)}, which fits {listed}: give more of its id"
        )
    raise UsageError(
        f"RUN: expected a run's id or the beginning of one, found {shown(text)}: see `fieldfare "
        "coordinator runs`"
    )


def _launch(
    store: RunStore, control: RunControl, bundle: bytes, run: str, study: str, now: datetime
) -> None:
    try:
        flower_run = control.start_run(bundle, {"study": study, "run": run})
    except RunError as error:
        store.set_state(run, RunStatus.FAILED, f"not started: {error}", now)
        raise
    store.set_flower_run(run, flower_run)


def _ended_from_outside(store: RunStore, run: str, reason: str, now: datetime) -> RunRow:
    with store.together():
        row = store.row(run)
        if row.state.ended:  # it answered after all
            return row
        store.set_state(run, RunStatus.STOPPED, reason, now)
        return store.row(run)
