"""An `EvidenceSource` knows its own homes, and gathers nothing of what is not there."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import Coordinator

from fieldfare.client.cli.ledger import InstitutionEvidence
from fieldfare.server.cli.evidence import CoordinatorEvidence
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.cli.evidence import EvidenceSource, GivenEvidence
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.evidence.facts import SoftwareFacts

GIVEN: Final = GivenEvidence(
    None, None, datetime(2026, 1, 2, tzinfo=UTC), SoftwareFacts("1", "3", (), "", b"{}")
)
SOURCES: Final[tuple[EvidenceSource, ...]] = (CoordinatorEvidence(), InstitutionEvidence())
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda one: type(one).__name__)


@pytest.fixture
def homes(coordinator: Coordinator, coordinator_home: CoordinatorHome) -> tuple[Path, Path]:
    return coordinator_home.path, coordinator.homes["bank-a"].path


@every_source
def test_each_knows_its_own_homes(source: EvidenceSource, homes: tuple[Path, Path]) -> None:
    assert [source.is_home(path) for path in homes] == [one is source for one in SOURCES]
    assert not source.is_home(homes[0] / "nowhere")
    assert source.variable.startswith("FIELDFARE_")
    assert not source.usual.is_absolute()


@every_source
def test_nothing_is_gathered_of_what_is_not_there(
    source: EvidenceSource, homes: tuple[Path, Path]
) -> None:
    with pytest.raises(FieldfareError):
        source.gather(homes[SOURCES.index(source)], "nothing", GIVEN)
