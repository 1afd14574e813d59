"""Attack H6: a true model comes with a card of invented figures, and its run is never co-signed.

Each custodian took every step of the run itself, so the model is known; what the evaluation's sum
was, only who is shown the log knows. At ca71956f `score --cut f1` took the invented calibration.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pytest
from tests.support.federations.bench import Bench
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    coordinator,
    custody_of,
    home_study,
)
from tests.support.homes.runs import HomesBench
from tests.support.runs.finished import METRICS, RUN
from tests.support.runs.transcripts import Recorder

from fieldfare.client.institution.open import Custody
from fieldfare.client.model_use.usable import usable_model
from fieldfare.server.run.closing import ComposedDelivery, compose
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.evaluation.score_map import Cut, score_map
from fieldfare.shared.evidence.pack import packed_files
from fieldfare.shared.evidence.writing import PROGRAMS
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.messages import Refusal
from fieldfare.shared.protocol.plan import plan_for

__all__ = ["coordinator", "custody_of"]

STUDY: Final = home_study()
WORD: Final = "its figures are the coordinator's word"
INVENTED: Final[dict[str, Any]] = METRICS | {
    "auroc": {"value": 0.991, "low": 0.985, "high": 0.995},
    "precision": {"value": 0.96, "low": 0.94, "high": 0.98},
}


class Federation:
    """Three live custodians, and a coordinator that ends a run as it likes."""

    def __init__(self, coordinator: Coordinator, custodies: Sequence[Custody]) -> None:
        """Run the study to its end; nobody is shown the log."""
        self.coordinator, self.custodies = coordinator, custodies
        approve_all(coordinator, custodies, STUDY)
        bench = HomesBench(coordinator, custodies, STUDY)
        self.recorder = Recorder(cast("Bench", bench)).open()
        self.recorder.rehearse()
        self.recorder.train()
        self.recorder.evaluate()
        self.recorder.end()

    def made(self, **facts: Any) -> ComposedDelivery:
        """The run's own model; its card is true but for `facts`."""
        assert self.recorder.state is not None
        self.recorder.sign_head()
        said = self.recorder.facts()
        return compose(
            plan_for(STUDY), self.recorder.state.model, replace(said, **facts),
            self.coordinator.signer, NOW,
        )  # fmt: skip

    def deliver(self, made: ComposedDelivery) -> list[object]:
        """What each custodian answers."""
        return [
            custody.custodian.deliver(made.envelope, made.model, made.card)
            for custody in self.custodies
        ]


@pytest.fixture
def federation(coordinator: Coordinator, custody_of: OpenCustody) -> Federation:
    return Federation(coordinator, [custody_of(name) for name in NAMES])


def typed(
    federation: Federation, capsys: pytest.CaptureFixture[str], name: str, *words: str
) -> tuple[int, str]:
    """Type a command of one home; its exit status and all that it said, in one line."""
    home = str(federation.coordinator.homes[name].path)
    status = run(["institution", *words, "--home", home])
    return status, " ".join("".join(capsys.readouterr()).split())


def figures_packed(federation: Federation, name: str) -> str:
    """What a pack of evidence says of the figures, last."""
    out = federation.coordinator.folder / f"{name}.zip"
    home = str(federation.coordinator.homes[name].path)
    assert run(["evidence", "pack", STUDY.name, "--home", home, "--out", str(out)]) == 0
    said = json.loads(packed_files(out.read_bytes())[PROGRAMS])["facts"]["model"]["utility_words"]
    return str(said[said.index("These figures") :])


def test_invented_figures_of_a_true_model_make_no_alert(
    federation: Federation, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert federation.deliver(federation.made(metrics=INVENTED)) == [b""] * len(NAMES)
    for name in NAMES:
        ranked = ("score", "--model", RUN, "--out", str(tmp_path / f"{name}.parquet"))
        for cut in Cut:
            status, said = typed(federation, capsys, name, *ranked, "--cut", cut.value)
            assert (status, "institution verify FILE" in said, "--unverified" in said) == (
                2,
                True,
                True,
            )
        status, said = typed(federation, capsys, name, *ranked)
        assert (status, WORD in said) == (0, True)
        assert "as the federation's hold-outs said" not in said
        for words in (("models",), ("models", RUN)):
            assert WORD in typed(federation, capsys, name, *words)[1]
        assert figures_packed(federation, name) == (
            "These figures: the coordinator's word: not recomputed here."
        )
    cut_here = (*ranked[:-1], str(tmp_path / "cut.parquet"), "--cut", "f1", "--unverified")
    assert typed(federation, capsys, name, *cut_here)[0] == 0  # a person said so


def test_a_true_card_takes_the_place_of_a_false_one(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    taken, refused = [b""] * len(NAMES), [Refusal(RefusalCode.NOT_RECOMPUTED)] * len(NAMES)
    false, true = federation.made(metrics=INVENTED), federation.made()
    for made in (false, true, false):  # before the log is shown nobody knows which is which
        assert federation.deliver(made) == taken
    federation.recorder.cosign()
    assert federation.deliver(true) == taken
    assert federation.deliver(false) == refused
    said = ModelCard.from_bytes(true.card).metrics
    for name in NAMES:
        assert WORD not in typed(federation, capsys, name, "models")[1]
        used = usable_model(federation.coordinator.institution(name), RUN)
        released = None if said is None else score_map(said.model_dump())  # noise may hide a class
        assert (used.withheld, used.released) == (False, released)
