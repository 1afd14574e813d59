"""One run through the real door, beside own arithmetic: is every release what it says?

Canaries are the only records, read from files like any others. One run asks a question, trains,
and measures; one answer of its first training step is lost after it was given, so that the step is
tried twice. The auditor knows each record and computes what each sum has to be without noise, by
arithmetic of its own. What is left of the decoded sums is noise, and nothing else:

- its squares, over the variance that the plan owes to n members of whom t may tell their share,
  are chi-square (for each kind of release, both sides);
- what two attempts at one step leave is independent: the angle between the two is that of random
  directions (H1 of docs/attacks.md has what their difference says);
- before noise, the software's sums are the auditor's own, to the last bit.

The first two are tests at 1e-4 in all, shared out evenly (Bonferroni): an honest door is flagged
at most once in 10,000 runs. The third has no chance in it. Where all other records are known, this
is the audit with canaries at its best: residuals have more power than coins, and see every kind
of release (`canaries.py` measures epsilon by coins).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray
from scipy.stats import t as student

from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import RunError, SumRangeError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.flower_record import RECORD, Call, bytes_of
from fieldfare.shared.protocol.messages import ReleaseKind, Request, open_envelope
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.run.replay import add_words, decode_words, initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.audited_record import AuditedRecord
from fieldfare.simulations.attacks.canary_study import BANKS, AuditForm, Canaries, Design
from fieldfare.simulations.attacks.canary_vectors import CanaryVectors, OwnArithmetic
from fieldfare.simulations.attacks.defects import DoorDefect, FaultyNoise, with_defect
from fieldfare.simulations.attacks.finding import Finding, MeasuredFigure
from fieldfare.simulations.federation.federation import LocalFederation, noise_source
from fieldfare.simulations.federation.grid import InProcessGrid
from fieldfare.simulations.federation.noise_audit import LEVEL, KindNoise, NoiseTally, WatchedSums
from fieldfare.simulations.federation.population import load_population, prepared_sums

LOST: Final = "bank-c"  # its first answer gets lost
# Every kind of release is in one of them.
FORMS: Final = (AuditForm.ASKED, AuditForm.MOMENTS, AuditForm.START, AuditForm.LOCAL)
LOSING: Final = AuditForm.ASKED  # where an answer gets lost
REPEATED: Final = AuditForm.START  # a guard's sum is one number: it takes many to tell its noise
GUARDED: Final = 500  # canaries for each ten guards: at 4,000 half of its noise is told from all
MOST_RUNS: Final = 10  # that a study's spare releases of an evaluation allow
SMALL: Final = {"canaries": 400, "steps": 1, "levels": 8}  # at most, where there are many runs
TESTS: Final = sum(len(form.kinds) for form in FORMS) + 1  # and that of the two attempts
NEVER_TWICE: Final = (0.0, 2)  # a cosine and its length, where a run stopped before
DEADLINE: Final = 0.4  # seconds, which the lost answer is waited for

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DoorDesign:
    """The design of an audit of the door.

    Attributes:
        epsilon: of the study.
        canaries: records that a coin puts in or leaves out.
        steps: of training.
        levels: of each feature.
        defect: put in at every institution.
        protection: exact noise, masks and signatures, or simulated noise.
        seed: of canaries, coins and simulated noise.
        forms: of the canaries' study: all of them have every kind of release.
    """

    epsilon: float = 1.0
    canaries: int = 4000
    steps: int = 4
    levels: int = 64
    defect: DoorDefect = DoorDefect.NONE
    protection: Protection = Protection.EXACT
    seed: int = 0
    forms: tuple[AuditForm, ...] = FORMS

    def drawn(self, form: AuditForm) -> Design:
        """Return the design of the canaries of a form."""
        sizes = {"canaries": self.canaries, "steps": self.steps, "levels": self.levels}
        if form is REPEATED:
            sizes = {name: min(size, SMALL[name]) for name, size in sizes.items()}
        return Design(self.epsilon, seed=self.seed, form=form, **sizes)

    def study(self, form: AuditForm) -> Study:
        """Return the canaries' study, which admits a second attempt, and all runs of its form."""
        content = self.drawn(form).study.model_dump(mode="json", exclude_none=True)
        content["privacy"] |= {"spare_releases": self.runs(form)}
        content["evaluation"] |= {"spare_releases": self.runs(form) - 1}
        content["aggregation"] = {"participants": "any", "deadline_seconds": DEADLINE}
        return Study.model_validate(content)

    def federations(self, form: AuditForm) -> int:
        """Return how many federations a form has, for all of its runs."""
        return max(1, self.canaries // GUARDED) if form is REPEATED else 1

    @staticmethod
    def runs(form: AuditForm) -> int:
        """Return how many runs of one federation a form has."""
        return MOST_RUNS if form is REPEATED else 1


@dataclass(eq=False)
class FirstAttempt:
    """The first attempt at the first training step, as its coordinator sees it.

    Attributes:
        federation: that is asked.
        vectors: masked vectors by node, hidden by their seeds.
        seeds: that open them, by node, hex.
    """

    federation: LocalFederation
    vectors: dict[int, bytes] = field(default_factory=dict)
    seeds: dict[int, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def grid(self) -> InProcessGrid:
        """Return a Grid that loses one seed of the attempt, and shows all answers here."""
        return self.federation.grid(tap=self._saw, lose=self._loses)

    def sum(self, terms: ReleaseTerms) -> Vector:
        """Return float64 (entries,): the sum of all answers, which nobody was meant to have."""
        vectors, seeds = [*self.vectors.values()], [self.seeds[node] for node in self.vectors]
        words = add_words(vectors, terms.word_bits, terms.vectors.entries, seeds)
        # Without a range: the run goes on without the lost member, whose part may be beyond any.
        return decode_words(words, terms)

    def _saw(self, message: Message) -> None:
        metadata = message.metadata
        if self._is_of_it(message):
            self.asked.add(metadata.message_id)
        if metadata.reply_to_message_id not in self.asked or message.has_error():
            return
        if metadata.message_type == Call.RELEASE.message_type:
            self.vectors[metadata.src_node_id] = _bytes_in(message, "vector")
        else:
            reply = _bytes_in(message, "reply")
            self.seeds[metadata.src_node_id] = claimed(reply, "seed") or ""

    def _loses(self, message: Message) -> bool:
        lost = self.federation.nodes[LOST]
        opens = message.metadata.message_type == Call.REVEAL.message_type
        return opens and message.metadata.dst_node_id == lost and self._is_of_it(message)

    def _is_of_it(self, message: Message) -> bool:
        metadata, asks = message.metadata, (Call.RELEASE.message_type, Call.REVEAL.message_type)
        if message.has_error() or metadata.reply_to_message_id or metadata.message_type not in asks:
            return False
        federation = self.federation
        envelope, roster = _bytes_in(message, "request"), federation.identities.roster
        request = open_envelope(envelope, Request, roster, federation.protection).body
        first = federation.plan.training.first_step
        return (request.kind, request.step, request.attempt) == (ReleaseKind.TRAINING, first, 0)


def _bytes_in(message: Message, name: str) -> bytes:
    content: Any = message.content[RECORD]
    return bytes_of(content, name)


@dataclass
class DoorRecord(AuditedRecord):
    """The account of a run whose first training step is tried twice."""

    second: Vector | None = None  # what the second attempt at the first step left

    def sift(
        self, terms: ReleaseTerms, vectors: CanaryVectors, left: Vector, total: DecodedSum
    ) -> None:
        """Tally what is left of a sum, and keep it where it is of the second attempt."""
        super().sift(terms, vectors, left, total)
        if terms.kind is ReleaseKind.TRAINING and self.second is None:
            self.second = left


@dataclass(frozen=True, kw_only=True)
class DoorAudit:
    """What an audit of the door found.

    Attributes:
        kinds: the noise of each kind of release.
        repeated: correlation of what two attempts at one step left.
        repeated_chance: that independent noise is as correlated.
        differs: the largest entry by which a sum before noise was not the auditor's own, by kind,
            in C.
        stopped: why runs ended early: a sum beyond what honest units could have given.
        defect: that was put in.
        seconds: it took.
    """

    defect: DoorDefect
    kinds: tuple[KindNoise, ...]
    repeated: float
    repeated_chance: float
    differs: dict[str, float]
    stopped: tuple[str, ...]
    seconds: float

    @property
    def flagged(self) -> tuple[str, ...]:
        """What contradicts the claim."""
        return (
            *(
                f"{one.kind}: noise is {one.factor:.3f} of what is owed"
                for one in self.kinds
                if one.chance < LEVEL / TESTS
            ),
            *(
                f"{kind}: a sum before noise is not the auditor's own, by up to {far:.3g} C"
                for kind, far in self.differs.items()
                if far > 0
            ),
            *(f"a run stopped: {why}" for why in self.stopped),
            *(
                [f"two attempts at one step leave {self._alike}: correlation {self.repeated:.2f}"]
                if self.repeated_chance < LEVEL / TESTS
                else []
            ),
        )

    @property
    def _alike(self) -> str:
        """What two attempts have in common: more than noise, where sums before it are not right."""
        wrong = self.differs.get(ReleaseKind.TRAINING.value, 0) > 0
        return "the same of a sum that is not the auditor's own" if wrong else "the same noise"

    @property
    def finding(self) -> Finding:
        """The audit in the form of every tool here."""
        figures = [
            MeasuredFigure(name=f"noise of {one.kind}", value=one.factor, interval=one.interval)
            for one in self.kinds
        ]
        said = "" if self.defect is DoorDefect.NONE else f" (DEFECT PUT IN: {self.defect.words})"
        return Finding(
            attack=f"audit of the door{said}",
            figures=(
                *figures,
                MeasuredFigure(name="correlation of two attempts", value=self.repeated),
            ),
            sees="the amount of noise in each kind of release, noise used twice, and every sum "
            "before noise that is not what these records give",
            misses="defects that show for other records, models or questions only; noise that is "
            "right in amount and known to somebody; what a machine outside this process does",
            source="Steinke, Nasr and Jagielski 2023, arXiv 2305.08846, section 4 (known records); "
            "chi-square of residuals, exact",
            flagged=self.flagged,
        )


def audit_door(design: DoorDesign) -> DoorAudit:
    """Run the whole path, with a defect or without, and compare it with own arithmetic.

    Every form of the canaries' study has its runs: no study has every kind of release.
    """
    started = time.perf_counter()
    found = [_audited(design, form) for form in design.forms]
    twice = next((one.cosine for one in found if one.cosine is not None), NEVER_TWICE)
    return DoorAudit(
        defect=design.defect,
        kinds=tuple(noise for one in found for noise in one.kinds),
        repeated=twice[0],
        repeated_chance=float(chance_of_cosine(np.array(twice[0]), twice[1])),
        differs={kind: far for one in found for kind, far in one.differs.items()},
        stopped=tuple(one.stopped for one in found if one.stopped),
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True, kw_only=True)
class _FormAudit:
    """What the runs of one form came to.

    Attributes:
        kinds: the noise of each kind.
        differs: as of `DoorAudit`.
        cosine: of what two attempts left, and their length; None where nothing was tried twice.
        stopped: why a run ended early; nothing: none did.
    """

    kinds: tuple[KindNoise, ...]
    differs: dict[str, float]
    cosine: tuple[float, int] | None
    stopped: str


def _audited(design: DoorDesign, form: AuditForm) -> _FormAudit:
    """Audit one form: the noise of all of its runs is taken together."""
    study, canaries = design.study(form), Canaries.draw(design.drawn(form))
    own = OwnArithmetic(canaries, plan_for(study), form)
    cosine, stopped, tallies = None, "", dict[ReleaseKind, NoiseTally]()
    with TemporaryDirectory(prefix="fieldfare-door-") as folder:
        population = load_population(study, canaries.write(Path(folder)), seed=design.seed)
        sums = {
            name: with_defect(WatchedSums.of(part), design.defect)
            for name, part in prepared_sums(study, population, seed=design.seed).items()
        }
        try:
            for batch in range(design.federations(form)):
                place = Path(folder) / str(batch)
                place.mkdir()
                with _federation(design, own.plan, sums, place, batch) as federation:
                    for _ in range(design.runs(form)):
                        record = DoorRecord(own.plan, sums, own=own, tallies=tallies)
                        first = _run(federation, record, loses=form is LOSING)
            cosine = _twice(own, first, record) if form is LOSING else None
        except SumRangeError as error:
            stopped = str(error)
    named = "" if form is AuditForm.ASKED else f" ({form.value})"
    return _FormAudit(
        kinds=tuple(
            replace(KindNoise.of(kind, tallies[kind]), kind=kind.value + named)
            for kind in form.kinds
            if kind in tallies
        ),
        differs={kind.value + named: far for kind, far in own.differs.items()},
        cosine=cosine,
        stopped=stopped,
    )


def _twice(own: OwnArithmetic, first: FirstAttempt, record: DoorRecord) -> tuple[float, int]:
    """Return how alike two attempts' noise is, the cosine between the two, and their length."""
    if record.second is None:
        raise RunError("expected a training step, found a run without any")
    start = initial_state(own.plan.study).parameters
    coins = own.canaries.coins.astype(np.float64)
    known = own.vectors(ReleaseKind.TRAINING, start).added(coins, len(record.second))
    left = first.sum(own.plan.training) - known
    cosine = left @ record.second / np.linalg.norm(left) / np.linalg.norm(record.second)
    return float(cosine), len(left)


def chance_of_cosine(cosine: Vector, entries: int) -> Vector:
    """Return how often two independent normal vectors are as alike, or as opposite.

    One of them may be any: the other has no direction of its own (Muirhead 1982, theorem 1.5.7).

    Args:
        cosine: float64 (tests,).
        entries: of each vector.
    """
    rest = np.maximum(1 - cosine**2, np.finfo(float).tiny)
    found = 2 * student.sf(np.abs(cosine) * np.sqrt((entries - 1) / rest), entries - 1)
    return np.asarray(found, dtype=np.float64)


def _run(federation: LocalFederation, record: DoorRecord, *, loses: bool) -> FirstAttempt:
    """Carry a run out; returns what was seen of its first attempt.

    Raises:
        SumRangeError: a sum beyond what honest units could have given.
    """
    first, job = FirstAttempt(federation), federation.job()
    job.record = record
    federation.run(job, first.grid() if loses else None)
    return first


def _federation(
    design: DoorDesign, plan: Plan, sums: Mapping[str, WatchedSums], folder: Path, batch: int
) -> LocalFederation:
    """Return the four institutions, with the defect in each one's noise."""
    seed = design.seed + batch  # of simulated noise
    sources: dict[str, NoiseSource] = {
        name: FaultyNoise(
            noise_source(design.protection, seed=seed, stream=stream),
            design.defect,
            plan,
            len(BANKS),
        )
        for stream, name in enumerate(BANKS)
    }
    return LocalFederation(
        plan.study, sums, design.protection, seed=seed, directory=folder, sources=sources
    )
