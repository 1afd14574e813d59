import os
from pathlib import Path

import numpy as np
import pytest
from tests.support.runs.asking import asking, made_up, sums_of

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.answers.analytics import noise_on_sum, read_answers, read_sum
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.simulations.federation.population import RecordsChoice, load_population
from fieldfare.simulations.federation.true_answers import answers_beside_truth
from fieldfare.simulations.published.amlsim import derive_amlsim

ROOT = Path(__file__).parents[3]
AMLSIM = Path(os.environ.get("FIELDFARE_DATA", ROOT / ".." / "shared" / "data")) / "amlsim"


@pytest.fixture
def parts() -> dict[str, StudySums]:
    study = asking()
    return {
        name: sums_of(study, made_up(500, institution=name, seed=seed))
        for seed, name in enumerate(("bank-a", "bank-b", "bank-c"))
    }


def test_truth_is_what_the_records_say(parts: dict[str, StudySums]) -> None:
    study = asking()
    assert study.questions is not None
    layout = layout_for(study.questions, study.asked_columns)
    total = sum(part.answers(study.questions) for part in parts.values())
    values = np.ldexp(np.asarray(total, dtype=np.float64), -20)
    answers = read_sum(study.questions, layout, values, 1e-9, institutions=3)
    found = {a["name"]: a for a in answers_beside_truth(study, answers, parts)}

    units = [part.asked for part in parts.values() if part.asked is not None]
    amounts = np.clip(np.concatenate([u.values.numbers["amount"] for u in units]), 0, 100)
    hours = np.concatenate([u.values.numbers["hours"] for u in units])
    present = ~np.isnan(amounts)
    amounts, both = amounts[present], hours[present]
    labels = np.concatenate([u.labels for u in units])
    assert found["units"]["true"] == 1500
    assert found["flagged"]["true"] == labels.sum()
    assert found["total"]["true"] == pytest.approx(amounts.sum(), rel=1e-4)
    assert found["usual"]["true"] == pytest.approx(amounts.mean(), rel=1e-4)
    assert found["spread"]["true"] == pytest.approx(amounts.var(), rel=1e-3)
    assert found["per hour"]["true"] == pytest.approx(amounts.sum() / both.sum(), rel=1e-4)
    assert found["middle"]["true"] == pytest.approx(np.quantile(amounts, [0.25, 0.5, 0.9]))
    assert found["together"]["true"] == [pytest.approx(np.corrcoef(amounts, both)[0, 1], rel=1e-3)]
    # Without noise the answers are the truth, up to the grid and a bin.
    for name in ("units", "flagged", "total", "usual", "spread", "per hour"):
        assert found[name]["value"] == pytest.approx(found[name]["true"], rel=1e-3)
    for name in ("together", "jointly", "below", "tables", "amounts"):
        pairs = zip(found[name]["value"], found[name]["true"], strict=True)
        for value, true in pairs:
            assert value is None or value == pytest.approx(true, rel=1e-3, abs=1e-2)


def test_truth_counts_every_cell_of_a_unit_also_those_that_are_cut(
    parts: dict[str, StudySums],
) -> None:
    study = asking()
    assert study.questions is not None
    layout = layout_for(study.questions, study.asked_columns)
    total = sum(part.answers(study.questions) for part in parts.values())
    values = np.ldexp(np.asarray(total, dtype=np.float64), -20)
    answers = read_sum(study.questions, layout, values, 1e-9, institutions=3)
    (months,) = (a for a in answers_beside_truth(study, answers, parts) if a["kind"] == "trend")
    rows = sum(len(p.asked.values.lists["month"].codes) for p in parts.values() if p.asked)
    assert sum(months["true"]) == rows
    assert sum(v or 0 for v in months["value"]) < rows  # at most three cells of a unit


@pytest.mark.promises
@pytest.mark.skipif(not AMLSIM.is_dir(), reason=f"AMLSim's files are not at {AMLSIM}")
def test_six_banks_answer_within_five_per_cent_at_epsilon_one_half(tmp_path: Path) -> None:
    """Months by size band, amount quantiles, fan-in, top ten: cells over 100 units, ten draws."""
    study = load_study(ROOT / "studies" / "amlsim-queries.toml")
    derive_amlsim(AMLSIM, tmp_path / "accounts.parquet")
    records = load_population(
        study,
        RecordsChoice((str(tmp_path / "accounts.parquet"),), institution_column="institution"),
        seed=0,
    )
    sums = {
        name: StudySums.prepare(
            study, part.data, records.holdout[name], part.asked_units(name, key=b"k")
        )
        for name, part in records.records.items()
    }
    plan = plan_for(study)
    assert (study.privacy.epsilon, len(sums)) == (0.5, 6)
    assert plan.epsilon() <= 0.5
    assert study.questions is not None
    total = np.sum([part.answers(study.questions) for part in sums.values()], axis=0)
    sigma = noise_on_sum(plan.query, institutions=6, collusion_tolerance=1)
    errors, inside, kinds = [], [], set()
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(0, sigma, len(total))
        values = np.ldexp(total.astype(np.float64), -20) + noise
        answers = read_answers(plan, study.questions, values, institutions=6)
        for found in answers_beside_truth(study, answers, sums):
            rows = zip(
                *(np.atleast_1d(np.array(found[k], dtype=object)) for k in ("true", "value")),
                found.get("measures", [found["kind"]]),
                strict=True,
            )
            for true, value, measure in rows:
                if measure == "quantile" or (measure == "count" and true > 100):
                    errors.append(abs(value - true) / true)
                    kinds.add(found["kind"])
            ends = found["interval"] if isinstance(found["value"], list) else [found["interval"]]
            true = np.atleast_1d(np.array(found["true"], dtype=object))
            inside += [e[0] <= t <= e[1] for e, t in zip(ends, true, strict=True) if e is not None]
    assert kinds == {"group_by", "quantiles", "histogram", "top_k", "count"}
    assert len(errors) > 350
    assert np.mean(errors) < 0.05
    assert np.mean(inside) > 0.93
