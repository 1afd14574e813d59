"""Test vectors for programs that read transcripts: docs/test-vectors/, and how they are written.

`python -m tests.support.runs.vectors` writes them anew. A change of the bytes is a change of the
format.
"""

import difflib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import rfc8785
from tests.support.runs.asking import asking
from tests.support.runs.started import small_start, starting_at
from tests.support.runs.written_runs import (
    ALLOWANCE,
    COUNT,
    GROUP,
    KNOTS,
    LATER,
    SPREAD,
    WrittenRun,
    base,
    group_of,
)

from fieldfare.shared.protocol.messages import (
    Commitment,
    MessageBody,
    Reply,
    Request,
    RunAnswer,
    RunOpening,
    open_envelope,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.protocol.roster import ROSTER_SIGNER
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.leaves import (
    AnswersRecord,
    EndRecord,
    FairnessRecord,
    GuardRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    MomentsRecord,
    ParametersRecord,
    QuestionsRecord,
    SumRecord,
)

FOLDER: Final = Path(__file__).parents[3] / "docs" / "test-vectors"
NAMES: Final = ("bank-a", "bank-b", "bank-c")
FOUR: Final = (*NAMES, "bank-d")
EVEN: Final = {"prevalence": 0.5}  # its log-odds are zero on every machine
H: Final = "0" * 64
EARLIER: Final = ("knots.json", "later.json")  # in one message: written by an earlier version
Forge = Callable[[WrittenRun], list[Leaf]]


def trained() -> WrittenRun:
    """Trains and evaluates; bank-b is lost at the second step, and then the run is opened anew."""
    run = WrittenRun(base(records=EVEN), FOUR)
    for lost in ([], [], ["bank-b"]):
        run.collect(lost)
    run.open_anew()
    return run.finish()


def local() -> WrittenRun:
    """Averages changes."""
    mode = {"mode": "local", "steps": 2, "local_steps": 2}
    return WrittenRun(base(records=EVEN, training=mode), NAMES).finish()


def started() -> WrittenRun:
    """Trains multipliers of a public start, and takes what is better by the guard's sum."""
    changed = starting_at(small_start())
    return WrittenRun(base(records=EVEN, training=changed), NAMES).finish()


def grouped() -> WrittenRun:
    """Counts alerts by group."""
    return WrittenRun(base(records=EVEN, evaluation={"groups": [GROUP]}), NAMES).finish()


def whitened() -> WrittenRun:
    """Sums second moments first, and trains in whitened coordinates."""
    study = base(records=EVEN, geometry={"kind": "whitened"}, evaluation={"groups": [GROUP]})
    return WrittenRun(study, NAMES).finish()


def centred() -> WrittenRun:
    """Sums first moments first, and trains around their mean."""
    return WrittenRun(base(records=EVEN, geometry={"kind": "centred"}), NAMES).finish()


def knots() -> WrittenRun:
    """Asks for knots first, and trains on them."""
    return WrittenRun(_asks([SPREAD, COUNT], 2, features=list(KNOTS)), NAMES).finish()


def later() -> WrittenRun:
    """Asks later questions, and was stopped and resumed in between."""
    run = WrittenRun(_asks([COUNT], 0, allowance=ALLOWANCE), NAMES)
    run.collect()
    for group in (group_of(*LATER), group_of(COUNT)):
        run.put(QuestionsRecord.of(group).leaf())
        run.put(EndRecord(state="stopped", reason="as somebody asked").leaf())
        run.open_anew()
        run.collect()
    run.close()
    return run


def _asks(queries: list[dict[str, Any]], steps: int, **changes: Any) -> Study:
    return asking(*queries, names=NAMES, steps=steps, records=EVEN, **changes)


# -- lies, each signed by whom it speaks for ----------------------------------------------------


def changed(kind: LeafKind, at: int, body: type[MessageBody], **changes: object) -> Forge:
    """A message with other fields, signed again."""

    def forge(run: WrittenRun) -> list[Leaf]:
        place = _at(run, kind, at)
        opened = open_envelope(run.leaves[place].content, body, run.roster, run.state.protection)
        sent = run.signed(opened.body.model_copy(update=changes), opened.signer)
        return [*run.leaves[:place], Leaf(kind, sent), *run.leaves[place + 1 :]]

    return forge


def told(record: Any, number: int, **changes: object) -> Forge:
    """A record that says something else."""

    def forge(run: WrittenRun) -> list[Leaf]:
        at = _at(run, record.KIND, number)
        honest = record.from_bytes(run.leaves[at].content)
        leaf = honest.model_copy(update=changes).leaf()
        return [*run.leaves[:at], leaf, *run.leaves[at + 1 :]]

    return forge


def measured(**changes: Any) -> Forge:
    """Metrics that the table does not give; of a figure with an interval, its ends go along."""

    def forge(run: WrittenRun) -> list[Leaf]:
        content = run.leaves[_at(run, LeafKind.METRICS, 0)].content
        metrics = json.loads(MetricsRecord.from_bytes(content).metrics)
        for name, change in changes.items():
            old = metrics[name]
            new = {**old, "high": 1.0, **change} if isinstance(change, dict) else change
            metrics[name] = new
        return told(MetricsRecord, 0, metrics=rfc8785.dumps(metrics).decode())(run)

    return forge


def without(kind: LeafKind, number: int) -> Forge:
    """A leaf is left out."""

    def forge(run: WrittenRun) -> list[Leaf]:
        at = _at(run, kind, number)
        return [*run.leaves[:at], *run.leaves[at + 1 :]]

    return forge


def step_twice(run: WrittenRun) -> list[Leaf]:
    """A step is summed twice."""
    start, end = _at(run, LeafKind.REQUEST, 1), _at(run, LeafKind.REQUEST, 2)
    return [*run.leaves[:end], *run.leaves[start:]]


def thrown_away(run: WrittenRun) -> list[Leaf]:
    """Everybody answered, and another attempt is made in place of the sum."""
    at, total = _at(run, LeafKind.REQUEST, 1), _at(run, LeafKind.SUM, 1)
    again = changed(LeafKind.REQUEST, 1, Request, attempt=1)(run)[at]
    return [*run.leaves[:total], again, *run.leaves[total:]]


def swapped_replies(run: WrittenRun) -> list[Leaf]:
    """Replies out of order."""
    at, leaves = _at(run, LeafKind.REPLY, 0), list(run.leaves)
    leaves[at], leaves[at + 1] = leaves[at + 1], leaves[at]
    return leaves


def with_older_opening(run: WrittenRun) -> list[Leaf]:
    """A request under the opening that a newer one replaced."""
    content = run.leaves[_at(run, LeafKind.OPENING, 0)].content
    body = open_envelope(content, RunOpening, run.roster, run.state.protection).body
    return changed(LeafKind.REQUEST, 1, Request, opening=body.hash, participants=body.participants)(
        run
    )


def joined(run: WrittenRun) -> list[Leaf]:
    """Somebody who left is in a later opening."""
    at, end = _at(run, LeafKind.HELLO, len(run.names)), _at(run, LeafKind.REQUEST, 4)
    return [*run.leaves[:at], *run.opening(1, run.names), *run.leaves[end:]]


def other_choice(run: WrittenRun) -> list[Leaf]:
    """The guard's record names the other model."""
    honest = GuardRecord.from_bytes(run.leaves[_at(run, LeafKind.GUARD, 0)].content)
    other = "start" if honest.taken == "trained" else "trained"
    return told(GuardRecord, 0, taken=other)(run)


TRAINED: Final[dict[str, Forge]] = {
    "a request for another step": changed(LeafKind.REQUEST, 1, Request, step=1),
    "a request with less noise": changed(LeafKind.REQUEST, 1, Request, sigma=1.0),
    "a request with crafted parameters": changed(LeafKind.REQUEST, 4, Request, parameters=H),
    "a request for an evaluation of other parameters": changed(
        LeafKind.REQUEST, 5, Request, parameters=H
    ),
    "an attempt that is left out": changed(LeafKind.REQUEST, 1, Request, attempt=1),
    "a sum that is thrown away": thrown_away,
    "a step that is summed twice": step_twice,
    "a reply at another price": changed(LeafKind.REPLY, 5, Reply, debit=1),
    "a reply from a ledger that went back": changed(LeafKind.REPLY, 9, Reply, debited=1),
    "a reply whose total rose by more than its debit": changed(
        LeafKind.REPLY, 9, Reply, cumulative=10**15
    ),
    "a reply to another request": changed(LeafKind.REPLY, 5, Reply, request=H),
    "a reply that opens another list": changed(LeafKind.REPLY, 5, Reply, statements=H),
    "a reply with another seed": changed(LeafKind.REPLY, 5, Reply, seed=H),
    "a reply without a seed": changed(LeafKind.REPLY, 5, Reply, statements="", seed=""),
    "a commitment to another vector": changed(LeafKind.COMMITMENT, 5, Commitment, vector=H),
    "a commitment to another seed": changed(LeafKind.COMMITMENT, 5, Commitment, seed=H),
    "a commitment to another request": changed(LeafKind.COMMITMENT, 5, Commitment, request=H),
    "a commitment that is missing": without(LeafKind.COMMITMENT, 5),
    "an opening that somebody joins": joined,
    "an opening with an older number": changed(LeafKind.OPENING, 1, RunOpening, number=0),
    "an answer for another run": changed(LeafKind.HELLO, 0, RunAnswer, run="elsewhere"),
    "replies out of order": swapped_replies,
    "a reply that is missing": without(LeafKind.REPLY, 5),
    "a sum of other words": told(SumRecord, 1, words=H),
    "parameters that do not follow": told(ParametersRecord, 1, parameters=H),
    "a model that was not evaluated": told(ModelRecord, 0, model=H),
    "an AUROC that the table does not give": measured(auroc={"value": 0.97}),
    "more units than the table has": measured(units={"value": 9e6, "high": 9e6 + 90}),
    "another calibration": measured(calibration=[]),
    "no metrics": without(LeafKind.METRICS, 0),
    "no rehearsal's sum": without(LeafKind.SUM, 0),
}
FORGED: Final[dict[str, tuple[Callable[[], WrittenRun], dict[str, Forge]]]] = {
    "training": (trained, TRAINED),
    "local": (local, {"an average that does not follow": told(ParametersRecord, 0, parameters=H)}),
    "start": (
        started,
        {
            "another choice than the guard's": other_choice,
            "a request with another start": changed(LeafKind.REQUEST, 4, Request, parameters=H),
            "other words of the guard": told(GuardRecord, 0, words="AAAAAAAAAAA="),
            "no guard": without(LeafKind.GUARD, 0),
            "the model that the guard did not take": changed(
                LeafKind.REQUEST, 5, Request, parameters=H
            ),
        },
    ),
    "groups": (
        grouped,
        {
            "another threshold": told(FairnessRecord, 0, threshold=0.25),
            "other counts": told(FairnessRecord, 0, words="AAAA"),
            "no counts": without(LeafKind.FAIRNESS, 0),
        },
    ),
    "whitened": (
        whitened,
        {
            "a step in other coordinates": changed(LeafKind.REQUEST, 2, Request, geometry=H),
            "a step in coordinates of its own": changed(LeafKind.REQUEST, 2, Request, geometry=""),
            "a second step in other coordinates": changed(LeafKind.REQUEST, 3, Request, geometry=H),
            "moments in some coordinates": changed(LeafKind.REQUEST, 1, Request, geometry=H),
            "an evaluation in some coordinates": changed(LeafKind.REQUEST, 5, Request, geometry=H),
            "moments with less noise": changed(LeafKind.REQUEST, 1, Request, sigma=1.0),
            "moments on other parameters": changed(LeafKind.REQUEST, 1, Request, parameters=H),
            "other moments": told(MomentsRecord, 0, words="AAAA"),
            "no moments": without(LeafKind.MOMENTS, 0),
            "a model that was not evaluated": told(ModelRecord, 0, model=H),
        },
    ),
    "centred": (
        centred,
        {"a step in other coordinates": changed(LeafKind.REQUEST, 2, Request, geometry=H)},
    ),
    "opened-knots": (knots, {"other answers": told(AnswersRecord, 0, words="AAAA")}),
    "opened-later": (
        later,
        {
            "a request under an older opening": with_older_opening,
            "questions that were not announced": without(LeafKind.QUESTIONS, 1),
            "answers to other questions": told(
                AnswersRecord, 0, questions=group_of(COUNT).to_bytes().decode()
            ),
        },
    ),
}


def _at(run: WrittenRun, kind: LeafKind, number: int) -> int:
    return [i for i, leaf in enumerate(run.leaves) if leaf.kind is kind][number]


# -- the files ----------------------------------------------------------------------------------


def vectors() -> Iterator[tuple[str, str]]:
    """Yield every file's name and content."""
    for name, (make, forged) in FORGED.items():
        run = make()
        lines = run.to_bytes().decode().splitlines()
        content = {
            "format": 1,
            "says": (make.__doc__ or "").strip(),
            "roster_key": run.public(ROSTER_SIGNER),
            "plan": plan_of(run.plan),
            "accepted": _accepted(run),
            "refused": [_refused(run, lines, says, forge) for says, forge in forged.items()],
            "transcript": lines,
        }
        yield f"{name}.json", json.dumps(content, indent=1, sort_keys=True) + "\n"


def plan_of(plan: Plan) -> dict[str, Any]:
    """The terms of a study's releases, as everybody computes them from the study."""
    study = plan.study
    tolerance = study.privacy.collusion_tolerance
    planned = {
        "rehearsal": plan.rehearsal,
        "moments": plan.moments,
        "training": plan.training,
        "guard": plan.guard,
        "evaluation": plan.evaluation,
        "fairness": plan.fairness,
        "query": plan.query,
        "later": plan.allowance,
    }
    return {
        "asks_for_knots": study.asks_for_knots,
        "least": max(study.aggregation.minimum_institutions, tolerance + 2),
        "limit": plan.study_limit,
        "releases": {kind: _terms(terms) for kind, terms in planned.items() if terms.steps},
    }


def _terms(terms: ReleaseTerms) -> dict[str, Any]:
    return {
        "side": terms.side.value,
        "first_step": terms.first_step,
        "steps": terms.steps,
        "clipping_norm": terms.vectors.clipping_norm,
        "sigma": terms.sigma,
        "gamma_bits": terms.vectors.gamma_bits,
        "word_bits": terms.word_bits.value,
        "entries": terms.vectors.entries,
        "parameters": terms.parameter_entries,
        "largest": terms.largest_entry,
        "cost": terms.cost,
    }


def _accepted(run: WrittenRun) -> dict[str, Any]:
    report = run.audit()
    return {
        "state": report.state,
        "steps": report.steps,
        "requests": report.requests,
        "sums": report.sums,
        "model": report.model,
        "answers": len(report.answers),
        "spent": {name: one.spent.debits for name, one in report.institutions.items()},
    }


def _refused(run: WrittenRun, lines: list[str], says: str, forge: Forge) -> dict[str, Any]:
    """A lie, and where it shows: `changes` are [from, to, lines] of the transcript, last first."""
    leaves = forge(run)
    misfit = run.audit(leaves).misfit
    found = run.to_bytes(leaves).decode().splitlines()
    matcher = difflib.SequenceMatcher(None, lines, found, autojunk=False)
    codes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return {
        "says": says,
        "changes": [[start, end, found[a:b]] for _, start, end, a, b in reversed(codes)],
        "line": misfit and misfit.line,
        "kind": misfit and misfit.kind,
    }


def with_changes(lines: list[str], changes: list[Any]) -> list[str]:
    """The lines of a lie."""
    found = list(lines)
    for start, end, instead in changes:
        found[start:end] = instead
    return found


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in vectors():
        (FOLDER / name).write_text(content)


if __name__ == "__main__":
    main()
