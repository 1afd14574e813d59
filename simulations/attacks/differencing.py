"""Differencing: two releases that differ by one unit, or by one institution.

**Two questions**: how many units there are, and how many without the one that the attacker knows
to be the last of the day. A coin puts it in at each trial. Sum, layout, noise and price are those
of a deployment; both questions are one vector, debited once, so that their difference tells what
that debit allows and no more.

**Two sets of participants**: a coordinator that wants one institution's own counts asks for an
evaluation of all, and then again for one of all but that one, saying that it came too late (H1 of
docs/attacks.md). The custodians are real and sign everything. The difference of the two sums is
the institution's own table with noise; what it says of an institution as a whole no epsilon for
units bounds. Played where a study admits any set of participants, and where the set is fixed, after
a sum was opened and before any was: nobody answers for fewer in that run. (Only a run that is
opened anew may have fewer, and only while nothing of the study was opened.)

Source: Dinur and Nissim 2003, PODS, section 1; ceilings: Dong, Roth and Su 2019, arXiv 1905.02383,
equation 6.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits, AskedValues
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.flower_record import RECORD, Call, bytes_of
from fieldfare.shared.protocol.messages import ReleaseKind, Request, open_envelope, sign_envelope
from fieldfare.shared.protocol.plan import PICOMU2, Plan, plan_for
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.ring import WordBits, centre
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.ceilings import told
from fieldfare.simulations.attacks.finding import Finding, MeasuredFigure
from fieldfare.simulations.federation.federation import LocalFederation, noise_source
from fieldfare.simulations.federation.grid import InProcessGrid

BANKS: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
LEFT_OUT: Final = "bank-d"
UNITS: Final = 400  # of each bank
LAST_HOUR: Final = 23.0  # only the unit in question is there
BINS: Final = 8
DEADLINE: Final = 0.4
STREAM: Final = 2**20 + 32
SOURCE: Final = (
    "Dinur and Nissim 2003, PODS, section 1; ceilings: Dong, Roth and Su 2019, arXiv 1905.02383, "
    "equation 6"
)

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]
Rule = Literal["anybody may be left out", "fixed, after an opening", "fixed, before an opening"]


@dataclass(frozen=True, kw_only=True)
class DifferencingTask:
    """The inputs of an attack.

    Attributes:
        epsilon: of the study.
        trials: pairs of answers, each with a coin.
        protection: of the noise of the two questions; custodians always draw it exactly.
        seed: of made-up records, coins and simulated noise.
    """

    epsilon: float = 1.0
    trials: int = 1000
    protection: Protection = Protection.SIMULATED
    seed: int = 0


class NoNoise:
    """An institution without noise: what the attack finds where nothing is in its way."""

    protection = Protection.EXACT

    def sample(self, entries: int, scale: float) -> Sums:
        """Return int64 (entries,) zeros, whatever is owed."""
        del scale
        return np.zeros(entries, dtype=np.int64)


def differencing(task: DifferencingTask) -> tuple[Finding, ...]:
    """Ask twice, and look at the difference."""
    questions = [_questions(task, noised=noised) for noised in (False, True)]
    bare, noised = ({name: NoNoise() for name in BANKS}, None)
    return (
        *questions,
        _sets(task, "anybody may be left out", bare),
        _sets(task, "anybody may be left out", noised),
        _sets(task, "fixed, after an opening", noised),
        _sets(task, "fixed, before an opening", noised),
    )


# -- two questions --------------------------------------------------------------------------------


def asking(epsilon: float) -> Study:
    """Return a study that asks how many units there are, and how many before the last hour."""
    everybody = {"column": "hour", "lower": 0.0}
    counted = {"kind": "count"}
    return Study.model_validate(
        {
            "name": "differencing",
            "purpose": "what two questions say of the unit that they differ by",
            "records": {"label": "reported", "units": UNITS * len(BANKS), "prevalence": 0.2},
            "features": [{"name": "hour", "kind": "numeric", "lower": 0, "upper": 24}],
            "queries": [
                {"name": "all", **counted, "where": [everybody]},
                {"name": "but one", **counted, "where": [everybody | {"upper": LAST_HOUR}]},
            ],
            "training": {"steps": 0},
            "privacy": {"epsilon": epsilon, "delta": 1e-5},
        }
    )


def _questions(task: DifferencingTask, *, noised: bool) -> Finding:
    study = asking(task.epsilon)
    plan = plan_for(study)
    terms, tolerance = plan.query, study.privacy.collusion_tolerance
    there, gone = (_answered(study, with_it=with_it) for with_it in (True, False))
    hidden = len(BANKS) - tolerance if noised else 0
    source = noise_source(task.protection, seed=task.seed, stream=0)
    share = terms.share(len(BANKS), tolerance)
    coins = np.random.default_rng([task.seed, STREAM]).uniform(size=task.trials) < 0.5  # noqa: PLR2004
    towards = (there - gone).astype(np.float64)
    scores = np.zeros(task.trials)
    for place, coin in enumerate(coins):
        answer = (there if coin else gone).copy()
        for _ in range(hidden):
            answer += source.sample(len(answer), share)
        scores[place] = (answer - gone) @ towards / (towards @ towards) - 0.5
    spent = plan.epsilon(terms.mu2) if noised else math.inf
    return Finding(
        attack=f"two questions that differ by one unit: {_said(noised=noised)}",
        figures=(
            *told(scores, coins, math.sqrt(terms.mu2) if noised else math.inf),
            *([MeasuredFigure(name="epsilon debited for both", value=spent)] if noised else []),
        ),
        sees="whether one unit is counted, by somebody who knows all others",
        misses="questions of other studies: what they tell adds up, and the ledger's limits end it",
        source=SOURCE,
    )


def _said(*, noised: bool) -> str:
    return "with noise" if noised else "without noise"


def _answered(study: Study, *, with_it: bool) -> Sums:
    """Return the raw answers of all banks; the first unit of the first may be missing."""
    group = study.questions
    if group is None:
        raise RunError("expected a study that asks, found one that asks nothing")
    total = np.zeros(plan_for(study).query.vectors.entries, dtype=np.int64)
    for place, name in enumerate(BANKS):
        generator = np.random.default_rng([STREAM, place])
        hours = generator.uniform(1, LAST_HOUR - 1, UNITS)
        labels = (generator.uniform(size=UNITS) < 0.2).astype(np.uint8)  # noqa: PLR2004
        kept = np.ones(UNITS, dtype=np.bool_)
        if place == 0:
            hours[0], kept[0] = LAST_HOUR + 0.5, with_it
        order = unit_order([f"{name}-{row}" for row in range(UNITS)], key=b"differencing")
        values = AskedValues(numbers={"hour": hours}).select(kept)
        asked = AskedUnits(name, labels[kept], values, order[kept])
        positions = np.zeros((len(study.features), len(asked)), dtype=np.uint16)
        data = EncodedUnits(positions, asked.labels)
        sums = StudySums.prepare(study, data, np.zeros(len(asked), dtype=np.bool_), asked)
        total += sums.answers(group)
    return total


# -- two sets of participants ---------------------------------------------------------------------


def measuring(epsilon: float, rule: Rule) -> Study:
    """Return a study of one training step and one table of scores."""
    fixed = rule != "anybody may be left out"
    return Study.model_validate(
        {
            "name": "leaving-out",
            "purpose": "what two sums say of the institution that they differ by",
            "records": {"label": "reported", "units": UNITS * len(BANKS), "prevalence": 0.2},
            "features": [
                {"name": "channel", "kind": "categorical", "levels": ["a", "b", "c", "d"]}
            ],
            "training": {"steps": 1},
            "evaluation": {"score_bins": BINS, "holdout": 0.5, "spare_releases": 1},
            "privacy": {"epsilon": epsilon, "delta": 1e-5},
            "aggregation": {
                "deadline_seconds": DEADLINE,
                "participants": "fixed" if fixed else "any",
            },
        }
    )


@dataclass(eq=False)
class OmittingCoordinator:
    """A coordinator that asks everybody but one again, in the middle of its own run.

    It has its own signing key, the Grid, and every message that passes.

    Attributes:
        federation: that it coordinates.
        rule: the study's, and the moment.
        requests, reveals: messages of the first attempt, by their ids.
        first: vectors of the first attempt, by node.
        opened: seeds of those who opened theirs, by node, hex.
        second: answers of the others to the second attempt.
        reopened: seeds of those who opened that one, by node, hex.
    """

    federation: LocalFederation
    rule: Rule
    requests: dict[str, Message] = field(default_factory=dict)
    reveals: set[str] = field(default_factory=set)
    first: dict[int, bytes] = field(default_factory=dict)
    opened: dict[int, str] = field(default_factory=dict)
    second: dict[int, Message] = field(default_factory=dict)
    reopened: dict[int, str] = field(default_factory=dict)

    def play(self) -> None:
        """Run the study, honestly but for this."""
        grid = self.federation.grid(tap=self._saw)
        try:
            self.federation.run(self.federation.job(), grid)
        except RunError:
            if not self.second:  # what was done to it may end the run, once it was done
                raise

    @property
    def refused(self) -> int:
        """How many refused the second attempt."""
        return sum("vector" not in _content(one) for one in self.second.values())

    @property
    def readable(self) -> int:
        """Of how many of the two sums everything is there that opens it."""
        first, again = len(self.opened) == len(BANKS), len(self.reopened) == len(BANKS) - 1
        return int(first) + int(again)

    def difference(self, plan: Plan) -> Vector:
        """Return float64 (2 * bins,): the first sum less the second."""
        terms = plan.evaluation
        bits, entries = WordBits(terms.word_bits), terms.vectors.entries
        again = {node: bytes_of(_content(one), "vector") for node, one in self.second.items()}
        first, second = (
            centre(
                add_words([*vectors.values()], bits, entries, [seeds[node] for node in vectors]),
                bits,
            ).astype(np.float64)
            * terms.gamma
            for vectors, seeds in ((self.first, self.opened), (again, self.reopened))
        )
        return np.asarray(first - second, dtype=np.float64)

    def _saw(self, message: Message) -> None:
        if message.has_error():
            return
        metadata, content = message.metadata, _content(message)
        before = metadata.reply_to_message_id
        if not before and self._is_of_it(message):
            if metadata.message_type == Call.REVEAL.message_type:
                self.reveals.add(metadata.message_id)
            else:
                self.requests[metadata.message_id] = message
        elif before in self.requests and "vector" in content:
            self.first[metadata.src_node_id] = bytes_of(content, "vector")
        elif before in self.reveals and "reply" in content:
            self.opened[metadata.src_node_id] = _seed(content)
        due = self.first if self.rule == "fixed, before an opening" else self.opened
        if len(due) == len(BANKS) and not self.second:
            self._ask_again()

    def _is_of_it(self, message: Message) -> bool:
        if message.metadata.message_type not in (
            Call.RELEASE.message_type,
            Call.REVEAL.message_type,
        ):
            return False
        request = self._read(message)
        early = self.rule == "fixed, before an opening"  # nothing of the study was opened yet
        kind = ReleaseKind.TRAINING if early else ReleaseKind.EVALUATION
        return request.kind is kind and request.attempt == 0

    def _read(self, message: Message) -> Request:
        federation, envelope = self.federation, bytes_of(_content(message), "request")
        roster = federation.identities.roster
        return open_envelope(envelope, Request, roster, federation.protection).body

    def _ask_again(self) -> None:
        """Ask the same of everybody but one, under its own signature; have them open it."""
        grid, left_out = self.federation.grid(), self.federation.nodes[LEFT_OUT]
        asked = {one.metadata.dst_node_id: one for one in self.requests.values()}
        del asked[left_out]
        signed = self._for_fewer(next(iter(asked.values())))
        for node, message in asked.items():
            content = {**_content(message), "request": signed}
            answer = _asked(grid, node, Call.RELEASE, content)
            if answer is not None:
                self.second[node] = answer
        found = [_content(one) for one in self.second.values()]
        statements = [bytes_of(one, "commitment") for one in found if "commitment" in one]
        if len(statements) < len(asked):
            return
        for node in asked:
            content = {"request": signed, "statements": statements}
            answer = _asked(grid, node, Call.REVEAL, content)
            if answer is not None and "reply" in _content(answer):
                self.reopened[node] = _seed(_content(answer))

    def _for_fewer(self, message: Message) -> bytes:
        request = self._read(message)
        fewer = tuple(one for one in request.participants if one.institution != LEFT_OUT)
        again = request.model_copy(update={"attempt": 1, "participants": fewer, "n": len(fewer)})
        return sign_envelope(again, COORDINATOR, self.federation.identities.coordinator)


def _asked(grid: InProcessGrid, node: int, call: Call, content: Any) -> Message | None:
    record = RecordDict({RECORD: ConfigRecord(content)})
    sent = grid.create_message(record, call.message_type, node, "again")
    return next(iter(grid.send_and_receive([sent])), None)


def _content(message: Message) -> Any:
    return message.content[RECORD]


def _seed(content: Any) -> str:
    return claimed(bytes_of(content, "reply"), "seed") or ""


def _sets(task: DifferencingTask, rule: Rule, sources: dict[str, NoNoise] | None) -> Finding:
    study = measuring(task.epsilon, rule)
    plan = plan_for(study)
    sums = {name: _made_up(study, place, task.seed) for place, name in enumerate(BANKS)}
    with TemporaryDirectory(prefix="fieldfare-differencing-") as folder:
        given: dict[str, NoiseSource] | None = None if sources is None else {**sources}
        with LocalFederation(
            study, sums, Protection.EXACT, seed=task.seed, directory=Path(folder), sources=given
        ) as federation:
            playing = OmittingCoordinator(federation, rule)
            playing.play()
    true = float(sums[LEFT_OUT].holdout.labels.sum())
    return Finding(
        attack=f"two sets of participants, {rule}: {_said(noised=sources is None)}",
        figures=(*_figures(playing, plan, true, noised=sources is None),),
        sees="an institution's own number of cases in its hold-out, by its coordinator",
        misses="sets that differ between studies, which each custodian's ledger pays for apart",
        source=SOURCE,
    )


def _figures(
    playing: OmittingCoordinator, plan: Plan, true: float, *, noised: bool
) -> Iterator[MeasuredFigure]:
    answered = len(playing.second) - playing.refused
    yield MeasuredFigure(name="custodians that answered both", value=float(answered))
    yield MeasuredFigure(name="custodians that refused", value=float(playing.refused))
    yield MeasuredFigure(name="sums that can be read", value=float(playing.readable))
    if playing.readable < 2:  # noqa: PLR2004 -- both
        return
    tolerance, terms = plan.study.privacy.collusion_tolerance, plan.evaluation
    both = [terms.noise_on_sum(count, tolerance) for count in (len(BANKS), len(BANKS) - 1)]
    half = 1.96 * math.sqrt(BINS) * math.hypot(*both) if noised else 0.0
    cases = float(playing.difference(plan)[BINS:].sum())
    interval = (cases - half, cases + half)
    yield MeasuredFigure(name="cases of the one left out", value=cases, interval=interval)
    yield MeasuredFigure(name="true cases of the one left out", value=true)
    debited = 2 * terms.cost / PICOMU2
    yield MeasuredFigure(name="epsilon debited for both sums", value=plan.epsilon(debited))


def _made_up(study: Study, place: int, seed: int) -> StudySums:
    generator = np.random.default_rng([seed, STREAM + 1, place])
    positions = generator.integers(0, 4, (1, UNITS)).astype(np.uint16)
    labels = (generator.uniform(size=UNITS) < 0.1 * (1 + positions[0])).astype(np.uint8)
    holdout = generator.uniform(size=UNITS) < study.evaluation.holdout
    return StudySums.prepare(study, EncodedUnits(positions, labels), holdout)
