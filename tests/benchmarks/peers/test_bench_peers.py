"""The benchmark beside peers: sums are right, what does not install is left out with a note."""

import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks.peers import environments
from tests.benchmarks.peers.environments import Peer, PeerError, environment, rounds
from tests.benchmarks.peers.ours import one_pass_seconds, round_seconds, secure_sum
from tests.benchmarks.peers.peers import (
    BEGIN,
    END,
    OWN_SECURE,
    OWN_SUMS,
    PEERS,
    SECAGG,
    ahead,
    promises,
    tables,
    within,
)
from tests.benchmarks.peers.secagg_plus import secagg_plus

from fieldfare.shared.privacy.protection import Protection


def took(seconds: float) -> dict[str, float]:
    return {"processor": seconds, "wall": seconds + 1}


FOUND = {
    "rounds": [{"institutions": 10, OWN_SUMS: took(1.0), "pfl-research": took(2.0)}],
    "sums": [{"institutions": 5, OWN_SECURE: took(1.0), SECAGG: took(20.0)}],
    "steps": {"seconds": {"private": 1.0, "hooks": 30.0, "ghost": 2.0}},
    "notes": ["FLARE: left out: no wheel"],
}


def test_both_secure_sums_are_of_the_same_vectors() -> None:
    random = np.random.default_rng(0)
    vectors = [random.integers(-4096, 4096, 50) for _ in range(3)]
    each = (*secure_sum(vectors), secagg_plus([vector / 1024 for vector in vectors]))
    assert all(took.wall > 0 and took.processor > 0 for took in each)


def test_a_round_is_of_real_custodians() -> None:
    took, entries = round_seconds(3, Protection.SIMULATED)
    assert min(one.processor for one in took) > 0
    assert entries > 100


def test_a_round_in_one_pass_takes_less() -> None:
    assert 0 < statistics.median(one.processor for one in one_pass_seconds(3)) < 1


@pytest.mark.faults
def test_what_does_not_install_is_left_out_and_says_why(tmp_path: Path) -> None:
    peer = Peer("nobody", str(tmp_path / "no-such.whl"), "pfl_rounds")
    with pytest.raises(PeerError, match=r"pip install .* did not end well"):
        environment(peer, tmp_path)


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    place = tmp_path / PEERS[0].program
    place.mkdir()
    (place / "installed").write_text(PEERS[0].requirement)
    assert environment(PEERS[0], tmp_path) == place / "bin" / "python"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import time; time.sleep(60)", "not at its end after 1 s"),
        ("raise SystemExit('out of memory')", "status 1: out of memory"),
        ("print('[]')", "expected seconds of rounds, found none"),
    ],
)
def test_a_program_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    (tmp_path / "program.py").write_text(text)
    monkeypatch.setattr(environments, "PROGRAMS", tmp_path)
    python = Path(sys.executable)
    with pytest.raises(PeerError, match=why):
        rounds(Peer("one", "", "program"), python, (1, 2, 3), 1.0 if "sleep" in text else 20.0)


def test_ten_times_is_what_holds() -> None:
    assert ahead("one", 1.0, 10.0).holds
    assert not ahead("one", 1.0, 9.9).holds
    assert [row.holds for row in promises(FOUND)] == [False, True, True, False]


def test_a_page_says_how_far_ahead_and_what_was_left_out() -> None:
    page = within(f"above\n{BEGIN}\nold\n{END}\nbelow\n", tables(FOUND))
    assert page.startswith(f"above\n{BEGIN}\n\n| a round | 10 |")
    assert page.endswith(f"\nFLARE: left out: no wheel\n\n{END}\nbelow\n")
    assert "| pfl-research | 2 s (clock 3 s), 2 x |" in page
    assert "| Flower's SecAgg+ | 20 s (clock 21 s), 20 x |" in page
    assert "| Opacus, hooks | 30 s | 30.0 |" in page
    assert "old" not in page
    assert within(page, tables(FOUND)) == page
    with pytest.raises(ValueError, match="expected <!-- written"):
        within("no marks", [])


def test_processor_time_is_of_those_below_too() -> None:
    text = "import time, subprocess, sys\nfrom process_tree import processor_seconds as spent\n"
    busy = "import time\nwhile time.process_time() < .3: pass"
    text += f"before = spent()\nsubprocess.run([sys.executable, '-c', {busy!r}])\n"
    text += "print(spent() - before)"
    path = {"PYTHONPATH": str(environments.PROGRAMS)}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, env=path
    )
    assert 0.25 < float(done.stdout) < 1
