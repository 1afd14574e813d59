"""The ClientApp of a stock node finds its custodian; a whole node is in tests/deployment."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from tests.support.federations.bench import Bench
from tests.support.network.calling import Caller
from tests.support.network.served import serving

from fieldfare.client.stock_node import app, custodian_of
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.system.sockets import UnixSocket


def context(**configuration: Any) -> Context:
    """A node with a configuration of its own, in a run that would have another."""
    return Context(
        run_id=1,
        node_id=2,
        node_config=configuration,
        state=RecordDict(),
        run_config={"custodian": "/run/of/the/coordinator"},
    )


def test_it_asks_the_custodian_that_its_node_names(bench: Bench, room: Path) -> None:
    custodian = bench.custodian("bank-b")
    with serving(custodian, UnixSocket(room)):
        far = custodian_of(context(custodian=str(room)))
        assert Caller(far).describe(bench.study.id) == custodian.describe(bench.study.id)
    assert custodian_of(context(custodian=str(room))) is far


@pytest.mark.parametrize("configuration", [{}, {"custodian": 1}, {"custodian": "run/c.sock"}])
def test_a_node_that_names_none(configuration: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="absolute path of the custodian's socket"):
        custodian_of(context(**configuration))


def test_it_answers_every_call() -> None:
    registered = repr(vars(app))
    for call in Call:
        assert call.value in registered
