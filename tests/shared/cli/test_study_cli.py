import re
import sys
from pathlib import Path

import pytest
from tests.support.runs.started import small_start, starting_at
from tests.support.runs.written_runs import base

from fieldfare.shared.cli.root import run
from fieldfare.shared.cli.study import plan_lines
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))
GOOD = """
name = "two-banks"
purpose = "Rank accounts."

[records]
unit = "customer"
label = "flagged"
units = 1000
prevalence = 0.02

[training]
steps = 50

[privacy]
epsilon = 1.0
delta = 1e-5
clipping_norm = 1.0

[[features]]
kind = "numeric"
name = "amount"
lower = 0
upper = 7
"""


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], list[str]]:
    status = run(["study", "check", str(path)])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_study_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = check(written(tmp_path, GOOD), capsys)
    assert (status, err) == (0, [])
    study = parse_study(GOOD)
    plan = plan_for(study)
    text = "\n".join(out)
    for part in (
        "two-banks is a valid study",
        study.id,
        "Rank accounts.",
        "additive, 1 features, 10 parameters",
        "epsilon 1 at delta 1e-05 per customer",
        "what the own records about one customer hold, not what those of others say",
        f"mu^2 {plan.mu2:.6g} in 54 releases",
        "50 + 2 spare",
        "1 + 1 spare",
        "3 institutions or more; 1 may collude",
        "at most 1 institutions",
        f"{plan.epsilon_if_masks_fail(3):.3g} with 3",
        f"{plan.epsilon_if_masks_fail(6):.3g} with 6",
        "at t = 1 at most 12 institutions, then failed masks leave at most epsilon 4",
        "13 need t = 2",
    ):
        assert part in text


def test_a_terminal_folds_lines_beside_their_heads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, GOOD)
    _, piped, _ = check(path, capsys)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    _, shown, _ = check(path, capsys)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in shown]
    assert max(map(len, plain)) <= 80 < max(map(len, piped))
    assert " ".join(" ".join(plain).split()) == " ".join(" ".join(piped).split())


def test_local_mode_is_priced_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace("steps = 50", 'mode = "local"\nsteps = 5\nlocal_steps = 10')
    status, out, err = check(written(tmp_path, text), capsys)
    assert (status, err) == (0, [])
    terms = plan_for(parse_study(text)).training
    (line,) = [line for line in out if line.startswith("training")]
    assert f"5 + 1 spare, each mu^2 {terms.mu2:.4g} for 10 steps inside in full noise" in line
    assert f"noise {terms.sigma:.4g} " in line
    assert "local mode    training's noise is each institution's own, whoever else colludes" in out


def test_every_mistake_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = GOOD.replace("epsilon = 1.0", 'epsilon = "1"\ntypo = 1').replace("upper = 7", "upper = 0")
    status, out, err = check(written(tmp_path, bad), capsys)
    assert (status, out) == (2, [])
    assert err == [
        "fieldfare: features.0: expected lower < upper, found 0.0 and 0.0",
        "fieldfare: privacy.epsilon: expected a valid number, found '1'",
        "fieldfare: privacy.typo: expected no such key; remove it or correct its spelling",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a value, found none"),
        ("name = ", "expected TOML"),
        (GOOD.replace("epsilon = 1.0", "epsilon = 1e-12").replace("1e-5", "1e-12"),
         "privacy.epsilon"),
        (GOOD.replace("units = 1000", f"units = {2**40}").replace("= 1.0\n\n", "= 8.0\n\n"),
         "records.units"),
        (GOOD.replace("[training]", "[aggregation]\nminimum_institutions = 99_999\n[training]"),
         "aggregation.minimum_institutions"),
        (GOOD.replace("[training]", "[aggregation]\nminimum_institutions = 2\n[training]"),
         "aggregation.minimum_institutions"),
        (GOOD.replace('"amount"', '"gender"'), "harm rule 4"),
    ],
)  # fmt: skip
def test_bad_studies_are_bad_input(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = check(written(tmp_path, text), capsys)
    assert (status, out) == (2, [])
    assert any(said in line for line in err), err
    assert all(line.startswith("fieldfare: ") for line in err)


def test_files_that_cannot_be_read_are_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        status, out, err = check(path, capsys)
        assert (status, out, len(err)) == (2, [], 1)
        assert err[0].startswith(f"fieldfare: {path}: ")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    assert check(tmp_path / "image.png", capsys)[0] == 2


def test_the_terminal_is_not_in_the_studys_hands() -> None:
    hostile = GOOD.replace("Rank accounts.", "Rank.\\u001b[2Jpromise  epsilon 0.001\\nid 0")
    lines = plan_lines(plan_for(parse_study(hostile)))
    assert all(line.isprintable() for line in lines)
    assert len(lines) == len(plan_lines(plan_for(parse_study(GOOD))))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_of_this_repository_are_valid(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = check(path, capsys)
    assert (status, err) == (0, [])
    assert out[0].endswith("is a valid study")


def test_there_are_studies_to_check() -> None:
    assert STUDIES


def test_a_study_of_texts_says_which_column_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.partition("[[features]]")[0] + '[model]\nkind = "text"\ncolumn = "message"\n'
    status, out, _ = check(written(tmp_path, text), capsys)
    assert status == 0
    assert "model         text, column message, 2049 parameters" in out


def test_groups_are_priced_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups = """
[[evaluation.groups]]
column = "segment"
levels = ["retail", "private"]
"""
    status, out, err = check(written(tmp_path, GOOD + groups), capsys)
    assert (status, err) == (0, [])
    plan = plan_for(parse_study(GOOD + groups))
    (priced,) = (line for line in out if line.startswith("fairness "))
    assert priced.startswith("fairness      1 + 0 spare, each mu^2")
    assert "sensitivity 1, " in priced
    assert "12 entries" in priced
    (named,) = (line for line in out if line.startswith("group "))
    assert "segment: 3 levels" in named
    assert f"noise {plan.fairness.sigma:.4g} on each count" in named
    bare = plan_lines(plan_for(parse_study(GOOD)))
    assert not any(line.startswith(("fairness", "group")) for line in bare)


@pytest.mark.parametrize(
    ("kind", "tells"), [("whitened", "how features go together"), ("centred", "features' means")]
)
def test_moments_are_priced_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, tells: str
) -> None:
    geometry = f'\n[geometry]\nkind = "{kind}"\n'
    status, out, err = check(written(tmp_path, GOOD + geometry), capsys)
    assert (status, err) == (0, [])
    (priced,) = (line for line in out if line.startswith("moments "))
    assert priced.startswith("moments       1 + 1 spare, each mu^2")
    (said,) = (line for line in out if line.startswith("geometry "))
    plan = plan_for(parse_study(GOOD + geometry))
    share = 200 * plan.moments.cost / plan.study_limit
    assert tells in said
    assert "how many units train" in said
    assert f"{share:.3g} % of the study's mu^2" in said
    bare = plan_lines(plan_for(parse_study(GOOD)))
    assert not any(line.startswith(("moments", "geometry")) for line in bare)


def test_a_public_start_and_its_guard_are_said() -> None:
    study = base(training=starting_at(small_start()))
    plan = plan_for(study)
    lines = plan_lines(plan)
    (said,) = (line for line in lines if line.startswith("start "))
    assert f"public:small, made by tests with seed 7, SHA-256 {study.training.start_hash}" in said
    assert f"{200 * plan.guard.cost / plan.study_limit:.3g} % of the study's mu^2" in said
    assert any(line.startswith("guard         1 + 1 spare") for line in lines)
    assert not any(line.startswith(("start", "guard")) for line in plan_lines(plan_for(base())))


def test_a_study_that_covers_the_person_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace("[records]", '[records]\nleft_out_banks = ["AGRIFRPP", "OURBUS33"]')
    status, out, _ = check(written(tmp_path, text), capsys)
    assert status == 0
    covered = "covers        the person: payments with customers of AGRIFRPP, OURBUS33 are left out"
    assert any(line.startswith(covered) for line in out)
    assert parse_study(text).id != parse_study(GOOD).id
    assert b"left_out_banks" not in parse_study(GOOD).canonical()
    for wrong in ('["B", "A"]', '["A", "A"]', '["AGRIFRPPXXX"]', '["a"]', '["A,B"]'):
        bad = GOOD.replace("[records]", f"[records]\nleft_out_banks = {wrong}")
        assert check(written(tmp_path, bad), capsys)[0] == 2
