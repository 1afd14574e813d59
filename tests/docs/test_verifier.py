"""The stranger's verifier accepts honest runs, and refuses 200 changed bytes and known lies."""

import json
import random
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.network.witnesses import SpecWitness
from tests.support.runs.transcripts import Recorder
from tests.support.runs.witnessed import heads_of, witnessed

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "docs" / "verifier" / "verify.py"
WITNESSES = (SpecWitness("w.example/1"), SpecWitness("w.example/2"))
KEYS = tuple(one.key.text for one in WITNESSES)

Verify = Callable[..., Any]


@pytest.fixture(scope="module")
def verify() -> Verify:
    found: Verify = runpy.run_path(str(PROGRAM))["main"]
    return found


@pytest.fixture
def published(recorded: Recorder, tmp_path: Path) -> Path:
    (tmp_path / "run.transcript").write_bytes(recorded.to_bytes())
    heads = heads_of(recorded, 12, len(recorded.leaves))
    (tmp_path / "run.witnessed").write_bytes(witnessed(recorded, heads, WITNESSES))
    return tmp_path


def test_it_is_short_and_needs_little() -> None:
    text = PROGRAM.read_text()
    assert len(text.splitlines()) < 300
    lines = [line.split()[1] for line in text.splitlines() if line.startswith(("import", "from"))]
    roots = {line.partition(".")[0] for line in lines} - set(sys.stdlib_module_names)
    assert roots == {"cryptography", "numpy"}


def test_an_honest_run_is_accepted(published: Path, recorded: Recorder) -> None:
    done = subprocess.run(
        [sys.executable, "-I", PROGRAM, published, recorded.trust.roster_key, *KEYS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("say of the sums)\n")
    report = recorded.audit()
    assert f"{report.sums} sums added up, {report.steps} steps; model {report.model}" in done.stdout
    for name, found in report.institutions.items():
        costs = found.spent.costs
        debits = costs.all + costs.training + costs.holdout  # each in full, whoever it reads
        assert f"{name} spent mu^2 {debits / 1e12:.6g}" in done.stdout


def test_two_hundred_changed_bytes_are_refused(
    published: Path, recorded: Recorder, verify: Verify
) -> None:
    draw = random.Random(18)  # noqa: S311 -- where bytes change
    files = sorted(published.iterdir())
    contents = [file.read_bytes() for file in files]
    for number in range(200):  # a third of them in the small file
        index = int(number % 3 == 0)
        content, at = contents[index], draw.randrange(len(contents[index]))
        changed = bytes([content[at] ^ (1 << draw.randrange(8))])
        files[index].write_bytes(content[:at] + changed + content[at + 1 :])
        said = verify(published, recorded.trust.roster_key, *KEYS)
        assert str(said).startswith("REFUSED"), (files[index].name, at)
        files[index].write_bytes(content)
    assert verify(published, recorded.trust.roster_key, *KEYS) == 0


def test_what_is_cut_doubled_or_left_out_is_refused(
    published: Path, recorded: Recorder, verify: Verify
) -> None:
    file = published / "run.transcript"
    lines = file.read_bytes().splitlines(keepends=True)
    for at in range(0, len(lines), 3):
        for changed in (lines[:at] + lines[at + 1 :], lines[: at + 1] + lines[at:]):
            file.write_bytes(b"".join(changed))
            said = verify(published, recorded.trust.roster_key, *KEYS)
            left_out = b'"cosignature"' in lines[at] and len(changed) < len(lines)
            assert left_out or str(said).startswith("REFUSED"), at


def test_other_keys_and_too_few_witnesses_are_refused(
    published: Path, recorded: Recorder, verify: Verify
) -> None:
    key = recorded.trust.roster_key
    assert str(verify(published, "0" * 64, *KEYS)).startswith("REFUSED")
    assert str(verify(published, key, *KEYS, SpecWitness("x").key.text)).startswith("REFUSED")
    other = heads_of(recorded, 12)[0].model_copy(update={"root": "0" * 64})
    stories = witnessed(recorded, [other, *heads_of(recorded)], WITNESSES)
    (published / "run.witnessed").write_bytes(stories)
    assert "one story" in str(verify(published, key, *KEYS))


def test_every_lie_of_the_test_vectors_shows_but_those_about_metrics(
    tmp_path: Path, verify: Verify
) -> None:
    """No witnessed heads belong to them: whoever gets as far as to miss these took the rest."""
    found = json.loads((ROOT / "docs" / "test-vectors" / "training.json").read_text())

    def taken(lines: list[str]) -> bool:
        (tmp_path / "run.transcript").write_text("".join(f"{line}\n" for line in lines))
        try:
            return not str(verify(tmp_path, found["roster_key"])).startswith("REFUSED")
        except FileNotFoundError:
            return True

    assert taken(found["transcript"])
    missed = set()
    for lie in found["refused"]:
        lines = list(found["transcript"])
        for start, stop, new in lie["changes"]:
            lines[start:stop] = new
        missed |= {lie["says"]} if taken(lines) else set()
    assert len(found["refused"]) == 31
    assert missed == {
        "an AUROC that the table does not give",
        "more units than the table has",
        "another calibration",
        "no metrics",
    }
