"""For every test: what takes long on a busy machine is no failure; in CI a skip is one."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import HealthCheck, settings

# Their fixtures are at hand in every test.
pytest_plugins = (
    "tests.support.system.left_behind",
    "tests.support.homes.coordinators",
    "tests.support.homes.keyed_coordinators",
    "tests.support.homes.consoles",
    "tests.support.homes.coordinator_desks",
    "tests.support.homes.institutions",
    "tests.support.federations.bench",
    "tests.support.federations.settings",
    "tests.support.federations.conducted",
    "tests.support.network.served",
    "tests.support.runs.transcripts",
    "tests.support.system.tokens",
)

MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- in it pytest makes a folder that others cannot read
ROOM: Final = 4 << 30


def write_to_memory() -> None:
    """Let tests write to memory, where there is room for it.

    Every commit of a ledger waits for the disk: more than half of the time that tests took.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    runs_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # some tests write one
    if runs_programs and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ["TMPDIR"], tempfile.tempdir = str(MEMORY), None


write_to_memory()
settings.register_profile("fieldfare", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fieldfare")


def pytest_configure() -> None:
    """Take ctrl-C again where a shell started the tests in the background, deaf to it.

    Processes that tests start would be deaf to it as well, and would not end when they are told to.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Leave garbage alone while 15,000 tests are collected: nearly all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage again, and never in what was collected: a look at it took 1.2 s."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Leave what hypothesis repeats a hundred times out of the coverage: tracing it takes minutes.

    Lines that only a property reaches then count as uncovered, so the floor asks for no less.
    """
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in CI that skipped a test: what it needs is to be installed there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or not isinstance(reporter, TerminalReporter):
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI=true: expected no test to skip, found {len(skipped)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
