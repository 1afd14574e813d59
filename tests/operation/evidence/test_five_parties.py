"""A federation of five parties, each with the packs it can make: banks, an NGO and a hotline.

Real processes train and evaluate; then the coordinator, an institution of each kind and an auditor
with the transcript alone each make their pack, and a byte that is changed in one is found.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.support.federations.beds import check_whole, running, small_bed

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.cli.root import run as typed
from fieldfare.shared.evidence.pack import (
    MANIFEST,
    PackSigner,
    check_pack,
    listed_files,
    open_manifest,
    pack_bytes,
    packed_files,
)
from fieldfare.shared.evidence.writing import PROGRAMS, RECORD
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.simulations.demo.testbed import Bed, in_this_process

NAMES: Final = ("bank-a", "bank-b", "bank-c", "hotline-e", "ngo-d")
STEPS: Final = 3
POSITIONS: Final = 200
pytestmark = [
    pytest.mark.promises,
    pytest.mark.skipif(
        not os.environ.get("FIELDFARE_OPERATE_LONG"), reason="a part of make nightly PART=operate"
    ),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bed, str]:
    """A bed of the five, with a run that all of them finished; nothing of it runs any more."""
    bed = small_bed(tmp_path_factory.mktemp("five"), names=NAMES, steps=STEPS)
    bed.command = in_this_process
    with running(bed):
        run = bed.run(bed.agree())
        check_whole(bed, bed.until_ended(run))
    return bed, run


@pytest.fixture(scope="module")
def packs(finished: tuple[Bed, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packs of all: the coordinator's, the institutions' and an auditor's."""
    bed, run = finished
    folder, transcript = tmp_path_factory.mktemp("packs"), str(bed.folder / f"{run}.transcript")
    made = {name: folder / f"{name}.zip" for name in (COORDINATOR, *NAMES, "auditor")}
    home = str(bed.coordinator_home)
    pack(made[COORDINATOR], run, "--home", home)
    for name in NAMES:
        pack(made[name], run, "--home", str(bed.home(name)), "--transcript", transcript)
    pack(made["auditor"], "--transcript", transcript, "--roster", str(roster(bed)))
    return made


def roster(bed: Bed) -> Path:
    return CoordinatorHome(bed.coordinator_home).roster


def pack(out: Path, *words: str) -> None:
    assert typed(["evidence", "pack", *words, "--out", str(out)]) == 0


def told(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(packed_files(path.read_bytes())[PROGRAMS])
    return found


def test_each_pack_is_verified_and_is_its_makers(
    finished: tuple[Bed, str], packs: dict[str, Path]
) -> None:
    bed, run = finished
    for name, path in packs.items():
        check = check_pack(path.read_bytes())
        assert (check.problems, check.signer) == ((), "" if name == "auditor" else name)
        assert check.manifest is not None
        assert check.manifest.run == run
        signed = ["evidence", "verify", str(path), "--roster", str(roster(bed))]
        assert typed(signed) == (1 if name == "auditor" else 0)  # nobody signs an auditor's
        assert typed(["evidence", "verify", str(path)]) == 0


def test_all_say_the_same_of_the_run(packs: dict[str, Path]) -> None:
    facts = {name: told(path)["facts"] for name, path in packs.items()}
    for name, found in facts.items():
        run, loss = found["run"], found["loss"]
        assert run["institutions"] == list(NAMES), name
        assert (run["state"], run["recomputed"]) == ("finished", run["sums"])
        assert [one["colluders"] for one in loss["beside"]] == list(range(len(NAMES)))
        assert {one["name"]: one["releases"] for one in loss["institutions"]} == dict.fromkeys(
            NAMES, STEPS + 1
        )
    signed = facts[COORDINATOR]
    for name, found in facts.items():
        same = ("loss", "sizes", "delta", "noise", "study")
        said = {key: dict(found[key]) for key in same}
        for one in (said, wanted := {key: dict(signed[key]) for key in same}):
            one["loss"].pop("spent_of")
        assert said == wanted, name
        if name in NAMES:
            (own,) = found["run"]["times"]
            assert own["releases"] == STEPS + 1
            assert found["own"]["lifetime_spent"] == pytest.approx(loss_of(found), rel=1e-3)


def loss_of(facts: dict[str, Any]) -> float:
    return float(facts["loss"]["spent"]["epsilon"])


def test_each_question_is_answered_or_a_persons(packs: dict[str, Path]) -> None:
    for path in packs.values():
        parts = {part["name"]: part["blocks"] for part in told(path)["parts"]}
        questions = [one for one in parts["questions"] if one["kind"] == "question"]
        assert len(questions) == 23
        assert sum("answer" in one for one in questions) == 22
        assert all(("answer" in one and "proof" in one) or "whose" in one for one in questions)


@pytest.mark.parametrize("name", [COORDINATOR, "ngo-d", "auditor"])
def test_a_byte_changed_anywhere_is_found(
    packs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    content = packs[name].read_bytes()
    drawn = np.random.default_rng(len(name)).choice(len(content), POSITIONS, replace=False)
    places = drawn.tolist()
    for place in places:
        assert check_pack(changed(content, place)).problems, place
    for place in places[:3]:
        path = tmp_path / f"{place}.zip"
        path.write_bytes(changed(content, place))
        assert typed(["evidence", "verify", str(path)]) == 1


def test_every_byte_of_a_small_pack_counts(
    finished: tuple[Bed, str], packs: dict[str, Path]
) -> None:
    """The coordinator's manifest and registry record alone, signed by its own key."""
    key = load_signing_key(CoordinatorHome.open(finished[0].coordinator_home), None)
    by = PackSigner(COORDINATOR, public_hex(key), IdentitySigner(key))
    whole = packed_files(packs[COORDINATOR].read_bytes())
    manifest, _ = open_manifest(whole[MANIFEST])
    files = {RECORD: whole[RECORD]}
    small = pack_bytes(manifest.model_copy(update={"files": listed_files(files)}), files, by)
    assert check_pack(small).problems == ()
    for place in range(len(small)):
        assert check_pack(changed(small, place)).problems, place


def changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
