"""Questions between real processes: what a study declares, then what its allowance covers."""

from pathlib import Path

import pytest
from tests.beds import NAMES, UNITS, check_whole, running, small_bed

from fieldfare.server.analytics import read_answers
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.later_questions import keep_questions
from fieldfare.server.store import run_store
from fieldfare.shared.grid import decode
from fieldfare.shared.plan import plan_for
from fieldfare.shared.questions import QuestionGroup
from fieldfare.shared.replay import decoded_sum
from fieldfare.shared.transcript import AnswersRecord, Leaf, LeafKind

ASKED = """
[[queries]]
name = "by channel"
kind = "group_by"
by = ["channel", "reported"]

[allowance]
kinds = ["count"]
columns = ["amount"]
groups = 2
"""
LATER = QuestionGroup.model_validate(
    {
        "questions": [
            {"name": "large", "kind": "count", "where": [{"column": "amount", "lower": 5.0}]}
        ]
    }
)


def answers_in(leaves: tuple[Leaf, ...]) -> AnswersRecord:
    (found,) = (leaf.content for leaf in leaves if leaf.kind is LeafKind.ANSWERS)
    return AnswersRecord.from_bytes(found)


def test_declared_and_later_questions_are_answered_in_one_exchange_each(tmp_path: Path) -> None:
    bed = small_bed(tmp_path, steps=0)
    bed.study.write_text(bed.study.read_text() + ASKED)
    plan = plan_for(bed.loaded_study)
    with running(bed) as bed:
        study = bed.agree()
        first = bed.run(study)
        report = check_whole(bed, bed.until_ended(first))
        assert (report["sums"], report["questions"], report["model"]) == (2, 1, None)

        home = CoordinatorHome(bed.hub)
        keep_questions(home.questions("later"), [LATER])
        bed.coordinator("run", "start", study, "--run", "later")
        report = check_whole(bed, bed.until_ended("later"))
        assert (report["sums"], report["questions"]) == (2, 1)
        with run_store(home.runs_database) as store:
            record = answers_in(store.leaves("later"))
    assert record.group == LATER
    step = plan.allowance.first_step
    terms = plan.question_terms(step, LATER)
    values = decoded_sum(decode(record.content, terms.word_bits, terms.vectors.entries), terms)
    (answer,) = read_answers(plan, LATER, values, institutions=3, step=step)
    assert answer.cells[0].value == pytest.approx(len(NAMES) * UNITS / 2, abs=8 * answer.sigma + 60)
