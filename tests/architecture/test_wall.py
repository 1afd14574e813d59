"""Each process loads what its work needs: no more lines of ours than its ceiling, at import."""

import pytest
from tests.support.system.loaded import CEILINGS, SLACK, loaded_at_import, own_lines


@pytest.mark.parametrize("process", CEILINGS)
def test_a_process_stays_below_its_ceiling(process: str) -> None:
    """Where it is far below: lower the ceiling, so that it stays there."""
    ceiling = CEILINGS[process]
    found = own_lines(loaded_at_import(ceiling.module))
    assert ceiling.lines * (1 - SLACK) <= found <= ceiling.lines


def test_what_is_counted_is_our_own_source() -> None:
    assert own_lines(["json", "flwr", "fieldfare.client.wire.frame_pb2"]) == 0
    both = ["fieldfare", "fieldfare.shared.errors"]
    assert own_lines(both) > own_lines(both[:1]) > 0
