"""A coordinator whose runs were signed, with witnesses in its settings."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.shared.transcript.leaves import EndRecord

Grow = Callable[..., None]


@pytest.fixture
def store(keyed: KeyedCoordinator) -> Iterator[RunStore]:
    with keyed.store() as opened:
        yield opened


@pytest.fixture
def grow(keyed: KeyedCoordinator, store: RunStore) -> Grow:
    """Make a run longer by so many leaves, and sign its head."""

    def grown(run: str = "run-1", leaves: int = 1) -> None:
        if not store.is_known(run):
            store.create(run, keyed.study.id, datetime.now(UTC))
        for index in range(leaves):
            store.append(run, [EndRecord(state="stopped", reason=str(index)).leaf()])
        keyed.head_signer.sign(store, keyed.study.id, run, store.leaf_hashes(run))
        store.set_state(run, RunStatus.STOPPED, "", datetime.now(UTC))

    return grown
