"""Whatever a coordinator or a member sends, nothing is given for it that was not agreed."""

import pytest
from tests.bench import MakeBench, make_study
from tests.security.hostile_keys import HOSTILE

from fieldfare.shared.messages import Refusal


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_call_is_refused_with_its_code_and_costs_nothing(
    name: str, make_bench: MakeBench
) -> None:
    hostile = HOSTILE[name]
    bench = make_bench(make_study(**hostile.study))
    send = hostile.build(bench.open_run(), "bank-b")
    before = bench.ledger("bank-b").position()
    assert send() == Refusal(hostile.code)
    assert bench.ledger("bank-b").position() == before
