"""Facts of kept runs of real processes, read once."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.evidence.facts import EvidenceFacts, Package, SoftwareFacts
from fieldfare.shared.evidence.recomputed import auditors_facts, recomputed_run
from fieldfare.shared.protocol.signed_files import read_roster

KEPT: Final = Path(__file__).parents[2] / "golden" / "transcripts"
MADE: Final = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PACKAGES: Final = (Package("made-up", "4.5.6", "MIT"), Package("other", "0.7", ""))


def software(version: str = "0.9.8") -> SoftwareFacts:
    return SoftwareFacts(version, "3.11.9", PACKAGES, "ab" * 32, b'{"bomFormat":"CycloneDX"}')


@cache
def kept_facts(name: str) -> EvidenceFacts:
    path, roster = KEPT / name / "run.transcript", KEPT / name / "roster.signed"
    with path.open("rb") as file:
        found = recomputed_run(file, Trust.in_roster(read_roster(roster)))
    return auditors_facts(found, bytes_hash(path.read_bytes()), software(), MADE)


@pytest.fixture
def facts() -> EvidenceFacts:
    """A run that trained and evaluated."""
    return kept_facts("training")


@pytest.fixture
def facts_of() -> Callable[[str], EvidenceFacts]:
    """Facts of a kept run by its name."""
    return kept_facts
