"""Texts of several institutions rank together what none could alone, and none of them leaves."""

import csv
import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.records.published_texts import write_comments

from fieldfare.client.records import LoadedRecords, holdout_mask, read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import LocalFederation, holdout_key
from fieldfare.simulations.federation.population import Partition
from fieldfare.simulations.metrics import measure

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("FIELDFARE_DATA") or ROOT / ".." / "shared" / "data")
SEEDS = range(3)


def at_hand(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not at hand: name its folder in FIELDFARE_DATA")
    return folder


def with_epsilon(study: Study, epsilon: float) -> Study:
    return study.model_copy(
        update={"privacy": study.privacy.model_copy(update={"epsilon": epsilon})}
    )


def together(study: Study, parts: Mapping[str, LoadedRecords], seed: int) -> tuple[float, float]:
    """AUROC and average precision of a federation with simulated noise, on pooled hold-outs."""
    masks = {
        name: holdout_mask(part.units, key=holdout_key(seed), share=study.evaluation.holdout)
        for name, part in parts.items()
    }
    sums = {name: StudySums.prepare(study, part.data, masks[name]) for name, part in parts.items()}
    with LocalFederation(study, sums, Protection.SIMULATED, seed=seed) as federation:
        outcome = federation.run(federation.job())
    return measured(study, outcome.parameters, [one.holdout for one in sums.values()])


def measured(
    study: Study, parameters: NDArray[np.float64], holdouts: list[EncodedUnits]
) -> tuple[float, float]:
    pooled = concatenate(holdouts)
    scores = model_for(study).scores(parameters, pooled)
    found = measure(pooled.labels, 1 / (1 + np.exp(-scores)), study.evaluation.alert_budget)
    assert found["auroc"] is not None
    assert found["average_precision"] is not None
    return found["auroc"], found["average_precision"]


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> LoadedRecords:
    """The published messages as records, written as studies/sms.toml says."""
    source = at_hand("sms") / "SMSSpamCollection.gz"
    path = tmp_path_factory.mktemp("sms") / "sms.csv"
    with gzip.open(source, "rt", encoding="utf-8") as file, path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["message", "label", "text"])
        for row, line in enumerate(file, start=1):
            label, _, text = line.rstrip("\n").partition("\t")
            writer.writerow([row, label, text])
    records = read_records([path], load_study(ROOT / "studies" / "sms.toml"))
    assert len(records) == 5574
    assert int(records.data.labels.sum()) == 747
    return records


@pytest.mark.promises
@pytest.mark.parametrize(("epsilon", "auroc", "precision"), [(1.0, 0.96, 0.88), (4.0, 0.985, 0.95)])
def test_short_messages_are_ranked_as_well_as_promised(
    messages: LoadedRecords, epsilon: float, auroc: float, precision: float
) -> None:
    study = with_epsilon(load_study(ROOT / "studies" / "sms.toml"), epsilon)
    deal, found = Partition(5, None), []
    for seed in SEEDS:
        owners = deal.assign(messages.units, messages.data.labels, seed=seed)
        parts = {name: messages.select(owners == name) for name in deal.names}
        found.append(together(study, parts, seed))
    mean = np.mean(found, axis=0)
    assert mean[0] >= auroc
    assert mean[1] >= precision


@pytest.mark.promises
def test_videos_together_are_above_each_alone_at_the_same_epsilon(tmp_path: Path) -> None:
    study, path = load_study(ROOT / "studies" / "youtube.toml"), tmp_path / "youtube.parquet"
    write_comments(at_hand("youtube").parent, path)
    records = read_records([path], study, institution_column="video")
    assert len(records) == 1956
    assert records.institutions is not None
    names = sorted(set(records.institutions.tolist()))
    parts = {name: records.select(records.institutions == name) for name in names}
    sums = {
        name: StudySums.prepare(
            study, part.data, holdout_mask(part.units, key=holdout_key(0), share=0.2)
        )
        for name, part in parts.items()
    }
    holdouts = [one.holdout for one in sums.values()]
    with LocalFederation(study, sums, Protection.SIMULATED, seed=0) as federation:
        shared = measured(study, federation.run(federation.job()).parameters, holdouts)
        trainer = Trainer(
            federation.plan,
            {name: one.training for name, one in sums.items()},
            {name: one.training_count for name, one in sums.items()},
            seed=0,
        )
    alone = [measured(study, p, holdouts) for p in trainer.train(Baseline.ALONE_DP).values()]
    assert len(alone) == 5
    assert (np.array(shared) > np.mean(alone, axis=0) + 0.1).all()
