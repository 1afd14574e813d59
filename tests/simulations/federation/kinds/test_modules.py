"""A study that names a torch module, simulated whole: allowed on the command line, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.system.packages import PACKAGE, install

from fieldfare.shared.cli.root import run
from fieldfare.shared.study.allowed_packages import VARIABLE

STUDY = f"""
name = "module"
purpose = "tests"

[records]
unit = "case"
label = "reported"
units = 300
prevalence = 0.3

[model]
kind = "mlp"
module = "acme_nets:Small"
package = "{PACKAGE}"
parameters = 145
rows = 2

[training]
steps = 3

[privacy]
epsilon = 4.0
delta = 1e-4

[[features]]
kind = "numeric"
name = "amount"
lower = 0
upper = 1
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three banks of a hundred units with two rows each."""
    install(tmp_path, monkeypatch)
    monkeypatch.setenv(VARIABLE, "")
    random = np.random.default_rng(0)
    (tmp_path / "study.toml").write_text(STUDY)
    lines = ["case,reported,amount,bank"]
    for unit in range(300):
        reported = int(random.uniform() < 0.3)
        lines += [
            f"{unit},{reported},{random.uniform() / 2 + reported / 2:.4f},b{unit % 3}"
            for _ in range(2)
        ]
    (tmp_path / "records.csv").write_text("\n".join(lines) + "\n")
    return [
        "simulate", str(tmp_path / "study.toml"), "--records", str(tmp_path / "records.csv"),
        "--institution-column", "bank", "--out", str(tmp_path / "out"), "--quiet",
    ]  # fmt: skip


def test_an_allowed_module_is_trained_with_many_rows_a_unit(
    call: list[str], tmp_path: Path
) -> None:
    assert run(["--package", PACKAGE, *call]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["units"] for row in results["institutions"]] == [100, 100, 100]
    assert results["models"]["central"]["auroc"] > 0.5
    model = json.loads((tmp_path / "out" / "model.json").read_text())
    assert model["network"]["package"] == PACKAGE
    assert "hidden" not in model["network"]


def test_another_is_refused(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(call) == 2
    assert "expected a package that is allowed here" in capsys.readouterr().err
