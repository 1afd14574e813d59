"""Who fails is asked less and less often, and said once; the others go on."""

from collections.abc import Callable
from itertools import pairwise

from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.witnesses import SpecWitness

from fieldfare.server.store.store import RunStore
from fieldfare.server.upkeep.publication import log_key
from fieldfare.server.upkeep.witnesses_process import LONGEST_PAUSE, PAUSE_SECONDS, WitnessRounds

Grow = Callable[..., None]


def test_a_witness_that_fails_is_asked_less_and_less_often(
    keyed: KeyedCoordinator, store: RunStore, grow: Grow
) -> None:
    here, away = (SpecWitness(f"w.example/{n}").knows(log_key(keyed.home)) for n in (1, 2))
    named = "".join(
        f'[[witnesses.witness]]\nurl = "https://{n}.example/"\nkey = "{one.key.text}"\n'
        for n, one in (("here", here), ("away", away))
    )
    keyed.home.settings.write_text(f"{keyed.home.settings.read_text()}\n{named}")
    now, said, asked, away.down = [0.0], list[str](), list[float](), True

    def post(url: str, body: bytes) -> object:
        mine = away if url.startswith("https://away") else here
        asked.extend([now[0]] if mine is away else [])
        return mine.post("https://witness.example/add-checkpoint", body)

    rounds = WitnessRounds(keyed.home, post, lambda: now[0], said.append)  # type: ignore[arg-type]
    grow()
    while now[0] < 20_000:
        rounds.round(store)
        now[0] += PAUSE_SECONDS
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses[0] == PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert len(asked) < 20
    assert said == ["witness w.example/2 did not sign: it gave no answer in time"]
    away.down = False
    now[0] += LONGEST_PAUSE
    rounds.round(store)
    assert said[1:] == ["witness w.example/2 signs again: 1 heads"]
    assert len(store.cosigned_sizes(log_key(keyed.home).name)) == 2
