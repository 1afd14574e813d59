"""The stranger's verifier accepts what was published; it refuses 200 changed bytes and lies."""

import json
import random
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.federations.conducted import (
    QUESTIONS,
    RUN,
    Coordinator,
    MakeCoordinator,
)
from tests.support.federations.settings import BANKS
from tests.support.network.witnesses import SpecWitness
from tests.support.runs.asking import asking
from tests.support.runs.checker import accepts
from tests.support.runs.transcripts import Recorder
from tests.support.runs.vectors import plan_of
from tests.support.runs.witnessed import heads_of, witnessed

from fieldfare.server.store.export import export_transcript
from fieldfare.server.upkeep.publication import head_signer, log_key
from fieldfare.server.upkeep.submission import ask_witness
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.plan import plan_for

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


def test_changed_bytes_are_refused(published: Path, recorded: Recorder, verify: Verify) -> None:
    key = recorded.trust.roster_key
    assert_changes_are_refused(published, lambda: verify(published, key, *KEYS), draws=60)


def assert_changes_are_refused(folder: Path, said: Callable[[], Any], *, draws: int) -> None:
    draw = random.Random(18)  # noqa: S311 -- where bytes change
    files = sorted(folder.iterdir())
    contents = [file.read_bytes() for file in files]
    for number in range(draws):  # a third of them in the small file
        index = int(number % 3 == 0)
        content, at = contents[index], draw.randrange(len(contents[index]))
        changed = bytes([content[at] ^ (1 << draw.randrange(8))])
        files[index].write_bytes(content[:at] + changed + content[at + 1 :])
        assert str(said()).startswith("REFUSED"), (files[index].name, at)
        files[index].write_bytes(content)
    assert said() == 0


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


@pytest.mark.parametrize("name", ["run.transcript", "run.witnessed"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"', b'{"a":0,"'),
        (b',"type":"fieldfare.', b',"t":0,"type":"fieldfare.'),
        (b'heads.v1"}', b'heads.v1","z":0}'),
        (b'transcript.v1"}', b'transcript.v1","z":0}'),
        (b'"format":1,"note"', b'"format":1.0,"note"'),
        (b'"format":1,"run"', b'"format":1.0,"run"'),
    ],
)
def test_what_is_put_in_is_refused(
    published: Path, recorded: Recorder, verify: Verify, name: str, one: bytes, other: bytes
) -> None:
    file = published / name
    content = file.read_bytes()
    before, found, after = content.partition(one)
    file.write_bytes(before + other + after if found else content)
    said = verify(published, recorded.trust.roster_key, *KEYS)
    assert str(said).startswith("REFUSED") if found else said == 0


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


METRICS = {
    "an AUROC that the table does not give",
    "more units than the table has",
    "another calibration",
}
VECTORS: dict[str, set[str]] = {  # the lies that are not found
    "training": METRICS,
    "groups": set(),
    "later": set(),
    "knots": set(),
    "opened-later": set(),
    "opened-knots": set(),
    "centred": set(),
    "whitened": set(),
    "local": {"an average that does not follow"},
    "start": {"another choice than the guard's"},
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_lies_of_the_test_vectors_show(name: str, tmp_path: Path, verify: Verify) -> None:
    """No witnessed heads belong to them: whoever gets as far as to miss these took the rest."""
    found = json.loads((ROOT / "docs" / "test-vectors" / f"{name}.json").read_text())

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
    assert found["refused"]
    assert missed == VECTORS[name]


@pytest.mark.parametrize("sigma", [0.0, 2.0**-27, 2.0**-28, float("nan")])
@pytest.mark.parametrize("debit", [0, 1, 71_291_000_000])
def test_records_without_noise_have_no_price(sigma: float, debit: int) -> None:
    """Everybody lies along: no debit makes a release without noise right."""
    program = runpy.run_path(str(PROGRAM))
    run = program["Run"]({"study": "s", "run": "r"}, "", {})
    run.plan, run.names, run.present = {"aggregation": {"opening": "on"}}, ["a"], {"a": "x"}
    run.r = {"sigma": sigma, "gamma_bits": 28, "clipping_norm": 0.25, "multiplicity": 1}
    run.asked, run.said, sha = "q", [], program["sha"]
    run.commitments = {"a": {"vector": "v", "seed": sha(b"")}}
    reply: dict[str, Any] = {"institution": "a", "request": "q", "answer": "x", "vector": "v"}
    reply |= {"statements": sha(b"fieldfare.statements.v1", b"[]")}
    reply |= {"seed": "", "debit": debit, "ledger_sequence": 1, "debited": debit}
    reply |= {"cumulative": debit}
    rehearsal = {**run.r, "kind": "rehearsal", "sigma": 0}
    for kind in ("training", "evaluation", "query", "fairness"):
        run.r["kind"] = kind
        with pytest.raises((program["Refused"], ArithmeticError)):
            run.reply(reply, "")
    run.r = rehearsal
    if debit:
        with pytest.raises(program["Refused"]):
            run.reply(reply, "")
    else:
        run.reply(reply, "")


def published_by(coordinator: Coordinator, folder: Path) -> tuple[Path, str, str]:
    """Conduct a run, ask a witness, publish: the folder, the roster key, the witness's key."""
    coordinator.carry_out()
    home, out = coordinator.home, folder / "public"
    witness = SpecWitness().knows(log_key(home))
    with coordinator.store() as store:
        export_transcript(store, RUN, head_signer(home, None), folder / "run.transcript")
        origin = log_key(home).name
        assert not ask_witness(store, origin, witness.section, witness.post).trouble
    section = f'url = "https://w.example/"\nkey = "{witness.key.text}"\n'
    with home.settings.open("a") as settings:
        settings.write(f"\n[witnesses]\nrequired = 1\n[[witnesses.witness]]\n{section}")
    assert run(["coordinator", "publish", RUN, "--home", str(home.path), "--out", str(out)]) == 0
    return out, home.roster_public.read_text().strip(), witness.key.text


def test_what_a_coordinator_publishes_is_verified(
    make_coordinator: MakeCoordinator, tmp_path: Path, verify: Verify
) -> None:
    """A run that trains and answers, from its home to the stranger."""
    coordinator = make_coordinator(asking(*QUESTIONS, steps=2, names=BANKS))
    found = published_by(coordinator, tmp_path)
    assert verify(*found) == 0
    assert_changes_are_refused(found[0], lambda: verify(*found), draws=200)


def test_steps_in_the_noise_are_taken_by_both_readers(
    make_coordinator: MakeCoordinator, tmp_path: Path, verify: Verify
) -> None:
    """Of beta2 1: every hash of parameters, and the model, follow from the sums in each."""
    training = {"steps": 3, "learning_rate": 0.5, "beta1": 0.5, "beta2": 1.0}
    study = asking(*QUESTIONS, names=BANKS, training=training)
    found = published_by(make_coordinator(study), tmp_path)
    assert verify(*found) == 0
    lines = (found[0] / "run.transcript").read_text().splitlines()
    assert accepts(lines, found[1], plan_of(plan_for(study))) == ""


def test_a_run_that_it_checks_in_part_is_no_success(
    make_coordinator: MakeCoordinator,
    tmp_path: Path,
    verify: Verify,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = asking(*QUESTIONS, steps=2, names=BANKS, geometry={"kind": "centred"})
    found = published_by(make_coordinator(study), tmp_path)
    assert verify(*found) == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("IN PART (not checked: that parameters and model follow from sums")
    assert "ACCEPTED" not in last
    file = found[0] / "run.transcript"
    file.write_bytes(file.read_bytes().replace(b'"run":"run-1"', b'"run":"run-2"', 1))
    assert str(verify(*found)).startswith("REFUSED")
