"""The log of every process: a line for each thing that happened, for people or as JSON.

A process writes to its standard error. Where somebody started it under a supervisor of ours, it
writes JSON lines into a pipe, and the supervisor writes them as its own form says: for people on a
terminal, as JSON into the journal, and both beside it into a file where a home names one.

A JSON line holds: format, time (UTC), level, process, event (which place in the code speaks),
study, run, step and attempt where they are known (`correlated`), and message. Messages are this
project's own sentences: what was raised stands there by its type alone, for its text may hold a
record.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final

from fieldfare.shared.system.private_files import PRIVATE_FILE

LOG_FORMAT: Final = 1
FORM: Final = "FIELDFARE_LOG"  # "json" or "text"; else JSON for the journal, text for anybody else
FILE_BYTES: Final = 8 * 1024 * 1024
OLDER_FILES: Final = 7  # so that all of a home's take 64 MiB at most
LONGEST_MESSAGE: Final = 2000  # characters
SPEAK_FOR: Final = {"runs": ("run",)}  # a child's own children, whose lines come through its pipe

log = logging.getLogger(__name__)

_ABOUT: ContextVar[Mapping[str, str | int]] = ContextVar("about", default={})  # noqa: B039 -- never changed


@contextmanager
def correlated(**about: str | int) -> Iterator[None]:
    """Let every line of this thread say what it is about: study, run, step, attempt."""
    token = _ABOUT.set({**_ABOUT.get(), **about})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def log_line(
    process: str, level: str, event: str, message: str, at: datetime, **about: str | int
) -> str:
    """Return one JSON line, without its end; the same values give the same bytes."""
    line = {
        "format": LOG_FORMAT,
        "time": at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "process": process,
        "event": event,
        **about,
        "message": message[:LONGEST_MESSAGE],
    }
    return json.dumps(line, ensure_ascii=True)


class JsonLines(logging.Formatter):
    """Writes records as JSON lines."""

    def __init__(self, process: str) -> None:
        """Name the process in every line."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's line; of what was raised, the type."""
        message = _said(record)
        event = f"{record.module}.{record.funcName.strip('_')}"
        at = datetime.fromtimestamp(record.created, UTC)
        level = record.levelname.lower()
        return log_line(self._process, level, event, message, at, **_ABOUT.get())


class PeopleLines(logging.Formatter):
    """Writes records for people: a prefix before every line, and no sign that moves a cursor."""

    def __init__(self, prefix: str) -> None:
        """Name the prefix."""
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's lines; of what was raised, the type."""
        return "\n".join(f"{self._prefix}{line}" for line in _plain_lines(_said(record)))


def _said(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[0] is not None:
        return f"{record.getMessage()} ({record.exc_info[0].__name__})"
    return record.getMessage()


def _plain_lines(text: str) -> list[str]:
    return ["".join(c if c.isprintable() else " " for c in line) for line in text.split("\n")]


def show_defects_by_place() -> None:
    """Show a defect by its place and type from here on: its text may hold a record."""

    def show(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say where it was raised (sys.excepthook)."""
        del error
        log.critical("%sa defect: %s", "".join(traceback.format_tb(trace)), kind.__name__)

    def show_threads(failure: threading.ExceptHookArgs) -> None:
        """Say the same of a thread (threading.excepthook)."""
        show(failure.exc_type, failure.exc_value, failure.exc_traceback)

    sys.excepthook, threading.excepthook = show, show_threads


def begin_log(process: str, *, prefix: str = "") -> None:
    """Write this project's lines to stderr, and of libraries' those that warn.

    Args:
        process: how JSON lines name this process.
        prefix: what stands before a line for people.
    """
    handler = logging.StreamHandler()
    people = PeopleLines(prefix)
    handler.setFormatter(JsonLines(process) if writes_json(os.environ) else people)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("fieldfare").setLevel(logging.INFO)


def writes_json(environment: Mapping[str, str]) -> bool:
    """Tell whether this process's lines are JSON: as it was told, or where the journal reads them.

    `JOURNAL_STREAM` holds device and inode of the stream that is connected to the journal
    (systemd.exec(5)); a child that inherits the variable and not the stream writes for people.
    """
    said = environment.get(FORM, "")
    if said in {"json", "text"}:
        return said == "json"
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def in_json(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child whose lines are read by `SupervisedLog`."""
    return {**environment, FORM: "json"}


class SupervisedLog:
    """The lines of children, written on: to stderr, and into a file of the home perhaps."""

    def __init__(self, file: Path | None) -> None:
        """Open the file.

        Raises:
            OSError: the folder refuses it.
        """
        self._lock = Lock()
        self._json = writes_json(os.environ)
        self._file = None if file is None else PrivateLog(file, FILE_BYTES, OLDER_FILES)

    def say(self, process: str, line: str) -> None:
        """Write a line of a child, or of its supervisor about it; called by several threads."""
        text = line.removeprefix(f"fieldfare: {process}: ")
        read = _read_line(text, {process, *SPEAK_FOR.get(process, ())})
        message = text if read is None else str(read["message"])
        if read is None:
            text = log_line(process, "info", "supervisor.say", message, datetime.now(UTC))
        with self._lock:
            with suppress(OSError):  # the reader is gone: that stops nothing
                for shown in [text] if self._json else _for_people(process, message):
                    sys.stderr.write(f"{shown}\n")
                sys.stderr.flush()
            if self._file is not None:
                self._file.write(text)


def _for_people(process: str, message: str) -> list[str]:
    return [f"fieldfare: {process}: {line}" for line in _plain_lines(message)]


def _read_line(text: str, speakers: Collection[str]) -> dict[str, Any] | None:
    """Return a child's line as it was meant; None where it is no line of this log, or another's."""
    if not text.startswith('{"format": '):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or "message" not in found:
        return None
    return found if found.get("process") in speakers else None


class PrivateLog(RotatingFileHandler):
    """A file that is turned over when it is full, and that only its owner may read."""

    def __init__(self, path: Path, most: int, older: int) -> None:
        """Open the file: of `most` bytes, beside so many older ones.

        Raises:
            OSError: the disk or the folder refuses it.
        """
        self._errors: list[BaseException | None] = []
        self._failing = False
        super().__init__(path, maxBytes=most, backupCount=older, encoding="utf-8")

    def write(self, text: str) -> None:
        """Write a line that is already in its form."""
        self.emit(logging.LogRecord("line", logging.INFO, "", 0, text, None, None))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; says once that lines are lost, and once that they no longer are.

        Its process goes on without: a disk that is full must not keep runs from being stopped.
        """
        self._errors.clear()
        super().emit(record)
        if bool(self._errors) != self._failing:
            self._failing = bool(self._errors)
            became = f"cannot be written: {self._errors[0]}" if self._errors else "is written again"
            log.warning("%s: the log %s", self.baseFilename, became)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Keep the error."""
        del record
        self._errors.append(sys.exc_info()[1])

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, PRIVATE_FILE)
        os.fchmod(descriptor, PRIVATE_FILE)
        return os.fdopen(descriptor, "a", encoding="utf-8")
