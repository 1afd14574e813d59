"""Answers to one question of each kind, as a simulation and as a run give them."""

import json
from pathlib import Path

import numpy as np
from tests.support.runs.asking import asking, made_up, sums_of

from fieldfare.server.answers.analytics import noise_on_sum, read_answers
from fieldfare.server.answers.answer import Answer
from fieldfare.server.answers.sets import AnswerSet
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.federation.true_answers import answers_beside_truth

NAMES = ("bank-a", "bank-b", "bank-c")


def results_file(folder: Path) -> Path:
    """A results.json with answers of every kind and the truth."""
    study = asking(privacy={"epsilon": 4.0})
    sums = {
        name: sums_of(study, made_up(400, institution=name, seed=seed))
        for seed, name in enumerate(NAMES)
    }
    found = answers_beside_truth(study, answers(), sums)
    path = folder / "results.json"
    path.write_text(
        json.dumps({"format": 1, "study": {"id": study.id, "name": study.name}, "answers": found})
    )
    return path


def answers() -> tuple[Answer, ...]:
    """Answers of every kind, under seeded noise."""
    study = asking(privacy={"epsilon": 4.0})
    plan = plan_for(study)
    assert study.questions is not None
    total = sum(
        sums_of(study, made_up(400, institution=name, seed=seed)).answers(study.questions)
        for seed, name in enumerate(NAMES)
    )
    noise = noise_on_sum(plan.query, institutions=3, collusion_tolerance=1)
    values = np.ldexp(np.asarray(total, dtype=np.float64), -20)
    values += np.random.default_rng(3).normal(0, noise, values.shape)
    return read_answers(plan, study.questions, values, institutions=3)


def answer_set(run: str = "run-1", *, later: bool = False) -> AnswerSet:
    """The same as a run's."""
    study = asking(privacy={"epsilon": 4.0})
    return AnswerSet(study.id, study.name, run, later, study.questions, answers())
