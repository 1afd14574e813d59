"""A small world and its accounts, made once."""

import pyarrow as pa
import pytest

from fieldfare.simulations.world import World, accounts, make_world

SMALL = 6_000


@pytest.fixture(scope="session")
def world() -> World:
    return make_world(seed=7, customers=SMALL, prevalence=0.05)


@pytest.fixture(scope="session")
def table(world: World) -> pa.Table:
    return accounts(world)
