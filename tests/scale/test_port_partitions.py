"""Whoever adds parts up as `Partitions` gives the same bytes, local or on Ray, killed or not."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.sums.conftest import Whole, whole
from tests.simulations.engines.conftest import STUDIES, records_file
from tests.support.runs.every_release import every_release

from fieldfare.client.sums.local_workers import LocalWorkers
from fieldfare.client.sums.partitioned_sums import WholeUnits, Workplace
from fieldfare.client.sums.partitions import InOneProcess, Partitions, part_sum
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.study.study import Study
from fieldfare.simulations.engines.cluster import cluster
from fieldfare.simulations.engines.ray_actors import RayPartitions

__all__ = ["records_file", "whole"]

pytestmark = pytest.mark.promises

EVERY: tuple[type[Partitions], ...] = (InOneProcess, LocalWorkers, RayPartitions)
CUTS = (1, 4, 16)


@pytest.fixture(scope="module")
def ray_here() -> Iterator[int]:
    with cluster(None, 2) as cores:
        yield cores


def assert_equal(study: Study, units: WholeUnits, parts: Partitions) -> None:
    one = StudySums.prepare(study, units.data, units.holdout, units.asked)
    for asked in every_release(study, one):
        assert parts.added(asked).tobytes() == part_sum(one, asked).tobytes()


@pytest.mark.parametrize("parts", CUTS)
@pytest.mark.parametrize("name", STUDIES)
def test_workers_and_one_process_agree(name: str, parts: int, whole: Whole, tmp_path: Path) -> None:
    assert len(EVERY) == 3
    study, units = whole(name)
    assert_equal(study, units, InOneProcess(study, units.cut(study, parts)))
    found = units.sums(study, Workplace(tmp_path / "spill", workers=2, parts=parts)).partitions
    assert isinstance(found, LocalWorkers)
    assert_equal(study, units, found)
    os.kill(found.processes[-1], signal.SIGKILL)
    assert_equal(study, units, found)
    found.close()


@pytest.mark.parametrize("name", ["plain", "groups", "questions", "whitened", "network", "texts"])
def test_actors_of_ray_agree(name: str, whole: Whole, ray_here: int) -> None:
    study, units = whole(name)
    for parts in (1, 4):
        assert_equal(study, units, RayPartitions(study, units.cut(study, parts)))
    assert ray_here == 2
