"""A network over features, many rows a unit, over real processes: trained, audited, scored."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.federations.beds import running
from tests.support.federations.network_beds import check_learned, network_bed

from fieldfare.simulations.demo.testbed import Bed

pytestmark = pytest.mark.faults  # slow: a whole federation of processes starts


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with running(network_bed(tmp_path, "hidden = [8, 8]")) as made:
        yield made


def test_a_network_is_learned_audited_and_scored(bed: Bed) -> None:
    check_learned(bed, bed.run(bed.agree()))
