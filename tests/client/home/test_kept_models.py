"""Kept models: whole folders or none, found by what a person types, checked before they count."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import RUN, delivered, parameters_of

from fieldfare.client.home import models as module
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import (
    CARD,
    ENVELOPE,
    MODEL,
    PAGE,
    check_model,
    find_model,
    keep_files,
    kept_model,
    kept_models,
)
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.messages import NoSigner

STUDY = home_study()
OTHER = home_study(purpose="another")
MADE = delivered(STUDY, NoSigner())
FILES = {ENVELOPE: MADE.envelope, MODEL: MADE.model, CARD: MADE.card, PAGE: b"<!DOCTYPE html>"}


def keep(home: Home, study: str = STUDY.id, run: str = RUN) -> None:
    keep_files(home, study, run, FILES)


def held(home: Home) -> dict[str, bytes]:
    """The files of the run's folder."""
    return {path.name: path.read_bytes() for path in home.model(STUDY.id, RUN).iterdir()}


def test_a_home_without_models_has_none(home: Home) -> None:
    assert kept_models(home) == ()
    assert kept_model(home, STUDY.id, RUN) is None


def test_what_was_kept_is_found_and_read(home: Home) -> None:
    keep(home)
    keep(home, OTHER.id, "run-0")
    assert {(one.study, one.run) for one in kept_models(home)} == {
        (STUDY.id, RUN),
        (OTHER.id, "run-0"),
    }
    kept = kept_model(home, STUDY.id, RUN)
    assert kept is not None
    read = kept.read()
    assert (read.envelope, read.model, read.card) == (MADE.envelope, MADE.model, MADE.card)
    assert kept.page.read_bytes() == FILES[PAGE]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_nobody_else_can_read_them(home: Home, umask: int) -> None:
    before = os.umask(umask)
    try:
        keep(home)
    finally:
        os.umask(before)
    for path in home.models.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def failing_after(files: int) -> Callable[[Path, bytes], None]:
    left = iter(range(files))

    def write(path: Path, content: bytes) -> None:
        if next(left, None) is None:
            no_space()
        path.write_bytes(content)

    return write


def test_after_a_crash_there_is_all_of_it_or_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(len(FILES) + 1):
        with monkeypatch.context() as patched:
            patched.setattr(module, "create_private", failing_after(step))
            patched.setattr(Path, "rename", no_space)
            with pytest.raises(OSError, match="No space"):
                keep(home)
        assert kept_models(home) == ()
        assert kept_model(home, STUDY.id, RUN) is None
    keep(home)
    assert [path.name for path in home.models.glob("*/*")] == [RUN]


def test_a_model_is_replaced_whole_or_stays_as_it_was(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which evidence lets another model in is the inbox's question."""
    keep(home)
    better = {ENVELOPE: MADE.envelope, MODEL: MADE.model, CARD: b"{}"}
    for step in range(len(better) + 1):
        with monkeypatch.context() as patched:
            patched.setattr(module, "create_private", failing_after(step))
            patched.setattr(module, "exchange", no_space)
            with pytest.raises(OSError, match="No space"):
                keep_files(home, STUDY.id, RUN, better)
        assert held(home) == FILES
    keep_files(home, STUDY.id, RUN, better)
    assert held(home) == better
    assert [path.name for path in home.models.glob("*/*")] == [RUN]


BETTER: Final = {ENVELOPE: b"newer", MODEL: b"newer", CARD: b"newer", PAGE: b"newer"}
DIED: Final = 77


def killed(home: Home, line: int) -> bool:
    """Keep a better model in a child that dies before its n-th line; False: it came to its end."""
    child, left = os.fork(), iter(range(line))
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DIED

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if Path(frame.f_code.co_filename).name not in {"models.py", "private_files.py"}:
            return None
        if event == "line" and next(left, None) is None:
            os._exit(DIED)
        return trace

    try:
        sys.settrace(trace)
        keep_files(home, STUDY.id, RUN, BETTER)
    finally:
        os._exit(0)  # a child must never run on into the tests


@pytest.mark.parametrize(
    ("exchanges", "step"),
    [
        (True, 7),
        pytest.param(True, 1, marks=pytest.mark.promises),
        pytest.param(False, 1, marks=pytest.mark.faults),
    ],
)
def test_a_kill_at_any_line_leaves_the_old_model_or_the_new_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, *, exchanges: bool, step: int
) -> None:
    if not exchanges:  # on a file system of few words there may be none in between
        monkeypatch.setattr(module, "exchange", lambda *_: False)
    found = list[dict[str, bytes]]()
    for line in range(0, 1000, step):
        keep(home)
        alive = not killed(home, line)
        if exchanges or home.model(STUDY.id, RUN).exists():
            found.append(held(home))
        if alive:
            break
    assert alive
    assert {one[ENVELOPE] for one in found} == {MADE.envelope, b"newer"}
    assert all(one in (FILES, BETTER) for one in found)
    keep(home)
    assert held(home) == FILES
    assert [path.name for path in home.models.glob("*/*")] == [RUN]


@pytest.mark.parametrize("text", [RUN, STUDY.id, STUDY.id[:4], RUN[:4]])
def test_a_person_finds_a_model_by_run_or_study(home: Home, text: str) -> None:
    keep(home)
    assert find_model(home, text).study == STUDY.id


def test_the_whole_run_id_wins_over_the_beginning_of_another(home: Home) -> None:
    keep(home, run="run-1")
    keep(home, run="run-11")
    assert find_model(home, "run-1").run == "run-1"
    for ambiguous in ("run-", STUDY.id[:8]):
        with pytest.raises(UsageError, match="fits 2"):
            find_model(home, ambiguous)


@pytest.mark.parametrize("text", ["", "run", "nowhere", "../..", "\x1b[2J"])
def test_nothing_found_says_where_to_look(home: Home, text: str) -> None:
    keep(home)
    with pytest.raises(UsageError, match="fits none: see `fieldfare institution models`") as error:
        find_model(home, text)
    assert "\x1b" not in str(error.value)


def test_missing_and_grown_files_are_named(home: Home) -> None:
    keep(home)
    kept = find_model(home, RUN)
    (kept.folder / ENVELOPE).write_bytes(b"x" * 20_000)
    with pytest.raises(UsageError, match=r"delivery\.signed: expected at most"):
        kept.read()
    (kept.folder / ENVELOPE).unlink()
    with pytest.raises(UsageError, match="No such file"):
        kept.read()


def test_a_model_that_fits_comes_with_its_card() -> None:
    checked = check_model(STUDY, MADE.delivery, MADE.model, MADE.card)
    assert checked.parameters.tobytes() == parameters_of(STUDY).tobytes()
    assert checked.card.run == RUN


def test_a_model_that_does_not_fit_is_refused() -> None:
    other = delivered(STUDY, NoSigner(), seed=1)
    later = delivered(STUDY, NoSigner(), run="run-2")
    for study, model, card in (
        (OTHER, MADE.model, MADE.card),
        (STUDY, other.model, MADE.card),
        (STUDY, MADE.model, other.card),
        (STUDY, MADE.model, later.card),
    ):
        with pytest.raises(ProtocolError, match="expected"):
            check_model(study, MADE.delivery, model, card)
