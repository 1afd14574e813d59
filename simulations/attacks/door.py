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
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from flwr.app import Message
from numpy.typing import NDArray
from scipy.stats import t as student

from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.flower_record import RECORD, Call, bytes_of
from fieldfare.shared.protocol.messages import ReleaseKind, Request, open_envelope
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.run.replay import add_words, decoded_sum, initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.canaries import BANKS, Canaries, Design
from fieldfare.simulations.attacks.defects import DoorDefect, FaultyNoise, with_defect
from fieldfare.simulations.attacks.finding import Finding, Measured
from fieldfare.simulations.federation.federation import (
    LocalFederation,
    noise_source,
)
from fieldfare.simulations.federation.grid import InProcessGrid
from fieldfare.simulations.federation.noise_audit import (
    LEVEL,
    KindNoise,
    WatchedRecord,
    WatchedSums,
)
from fieldfare.simulations.federation.population import load_population, prepared_sums

LOST: Final = "bank-c"  # its first answer gets lost
QUESTION: Final = "canaries by level and label"
KINDS: Final = (ReleaseKind.QUERY, ReleaseKind.TRAINING, ReleaseKind.EVALUATION)
TESTS: Final = len(KINDS) + 1  # and that of the two attempts
SCORE_BINS: Final = 512
LABELS: Final = 2
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
    """

    epsilon: float = 1.0
    canaries: int = 4000
    steps: int = 4
    levels: int = 64
    defect: DoorDefect = DoorDefect.NONE
    protection: Protection = Protection.EXACT
    seed: int = 0

    @property
    def drawn(self) -> Design:
        """The design of the canaries."""
        return Design(self.epsilon, self.canaries, self.steps, self.levels, seed=self.seed)

    @property
    def study(self) -> Study:
        """The canaries' study, which asks, trains and measures, and admits a second attempt."""
        content = self.drawn.study.model_dump(mode="json", exclude_none=True)
        content["queries"] = [{"name": QUESTION, "kind": "group_by", "by": ["f0", "label"]}]
        content["evaluation"] |= {"score_bins": SCORE_BINS}
        content["privacy"] |= {"spare_releases": 1, "query_share": 0.1}
        content["aggregation"] = {
            "opening": "off",
            "participants": "any",
            "deadline_seconds": DEADLINE,
        }
        return Study.model_validate(content)


@dataclass(eq=False)
class FirstAttempt:
    """The first attempt at the first training step, as its coordinator sees it.

    Attributes:
        federation: that is asked.
        vectors: masked vectors by node.
    """

    federation: LocalFederation
    vectors: dict[int, bytes] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def grid(self) -> InProcessGrid:
        """Return a Grid that loses one answer of the attempt, and shows all of them here."""
        return self.federation.grid(tap=self._saw, lose=self._loses)

    def sum(self, terms: ReleaseTerms) -> Vector:
        """Return float64 (entries,): the sum of all answers, which nobody was meant to have."""
        words = add_words([*self.vectors.values()], terms.word_bits, terms.vectors.entries)
        return decoded_sum(words, terms, len(self.vectors))

    def _saw(self, message: Message) -> None:
        metadata = message.metadata
        if self._is_of_it(message):
            self.asked.add(metadata.message_id)
        if metadata.reply_to_message_id in self.asked and not message.has_error():
            self.vectors[metadata.src_node_id] = _bytes_in(message, "vector")

    def _loses(self, message: Message) -> bool:
        lost = self.federation.nodes[LOST]
        return message.metadata.dst_node_id == lost and self._is_of_it(message)

    def _is_of_it(self, message: Message) -> bool:
        release = message.metadata.message_type == Call.RELEASE.message_type
        if not release or message.metadata.reply_to_message_id or message.has_error():
            return False
        federation = self.federation
        envelope, roster = _bytes_in(message, "request"), federation.identities.roster
        request = open_envelope(envelope, Request, roster, federation.protection).body
        first = federation.plan.training.first_step
        return (request.kind, request.step, request.attempt) == (ReleaseKind.TRAINING, first, 0)


def _bytes_in(message: Message, name: str) -> bytes:
    content: Any = message.content[RECORD]
    return bytes_of(content, name)


@dataclass(eq=False)
class OwnArithmetic:
    """What each sum has to be, by the auditor's own arithmetic on the canaries.

    Attributes:
        canaries: the only records.
        plan: of the study.
        banks: str (canaries,), whose each is.
        differs: the largest entry by which a sum before its noise was another, in that kind's C.
    """

    canaries: Canaries
    plan: Plan
    banks: NDArray[np.str_]
    differs: dict[ReleaseKind, float] = field(default_factory=dict)

    def of(self, kind: ReleaseKind, parameters: Vector, participants: Iterable[str]) -> Vector:
        """Return float64 (entries,), in the sum's own unit."""
        entries = self.plan.terms(kind).vectors.entries
        present = self.canaries.coins & np.isin(self.banks, [*participants])
        if kind is ReleaseKind.TRAINING:
            own = self.canaries.residuals(parameters)
            return self.canaries.added(np.where(present, own, 0.0), entries)
        if kind is ReleaseKind.QUERY:  # one table: a unit's one entry is 1
            canaries = self.canaries
            cells = canaries.levels[present, 0] * LABELS + canaries.labels[present]
            return np.bincount(cells, minlength=entries).astype(np.float64)
        return np.zeros(entries)  # no canary is held out

    def check(self, kind: ReleaseKind, exact: Vector, known: Vector) -> None:
        """Keep by how much the software's sum before noise is another."""
        norm = self.plan.terms(kind).vectors.clipping_norm
        far = float(np.abs(exact - known).max()) / norm
        self.differs[kind] = max(self.differs.get(kind, 0.0), far)


@dataclass
class AuditedRecord(WatchedRecord):
    """The account of an audited run: noise is what is left without the auditor's own sums."""

    own: OwnArithmetic = field(kw_only=True)
    second: Vector | None = None  # what the second attempt at the first step left

    def left(self, kind: ReleaseKind, terms: ReleaseTerms, total: DecodedSum) -> Vector:
        """Return float64 (entries,): what is left of a sum without the auditor's own."""
        results = self.run.results
        state = results.training
        start = initial_state(self.plan.study).parameters
        parameters = start if state is None else state.parameters
        known = self.own.of(kind, parameters, total.participants)
        self.own.check(kind, self.exact(kind, terms, total.participants), known)
        noise = np.asarray(total.values - known, dtype=np.float64)
        if kind is ReleaseKind.TRAINING and self.second is None:
            self.second = noise
        return noise


@dataclass(frozen=True, kw_only=True)
class DoorAudit:
    """What an audit of the door found.

    Attributes:
        kinds: the noise of each kind of release.
        repeated: correlation of what two attempts at one step left.
        repeated_chance: that independent noise is as correlated.
        differs: the largest entry by which a sum before noise was not the auditor's own, by kind,
            in C.
        defect: that was put in.
        seconds: it took.
    """

    defect: DoorDefect
    kinds: tuple[KindNoise, ...]
    repeated: float
    repeated_chance: float
    differs: dict[str, float]
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
            Measured(name=f"noise of {one.kind}", value=one.factor, interval=one.interval)
            for one in self.kinds
        ]
        said = "" if self.defect is DoorDefect.NONE else f" (DEFECT PUT IN: {self.defect.words})"
        return Finding(
            attack=f"audit of the door{said}",
            figures=(*figures, Measured(name="correlation of two attempts", value=self.repeated)),
            sees="the amount of noise in each kind of release, noise used twice, and every sum "
            "before noise that is not what these records give",
            misses="defects that show for other records, models or questions only; noise that is "
            "right in amount and known to somebody; what a machine outside this process does",
            source="Steinke, Nasr and Jagielski 2023, arXiv 2305.08846, section 4 (known records); "
            "chi-square of residuals, exact",
            flagged=self.flagged,
        )


def audit_door(design: DoorDesign) -> DoorAudit:
    """Run the whole path once, with a defect or without, and compare it with own arithmetic."""
    started, canaries = time.perf_counter(), Canaries.draw(design.drawn)
    study, plan = design.study, plan_for(design.study)
    own = OwnArithmetic(
        canaries, plan, np.array(BANKS)[np.arange(len(canaries.units)) % len(BANKS)]
    )
    with TemporaryDirectory(prefix="fieldfare-door-") as folder:
        population = load_population(study, canaries.write(Path(folder)), seed=design.seed)
        sums = {
            name: with_defect(WatchedSums.of(part), design.defect)
            for name, part in prepared_sums(study, population, seed=design.seed).items()
        }
        record, first = _run(design, AuditedRecord(plan, sums, own=own), Path(folder))
    known = own.of(ReleaseKind.TRAINING, initial_state(study).parameters, BANKS)
    left = first.sum(plan.training) - known
    repeated = _correlation(left, record)
    kinds = [KindNoise.of(kind, record.tallies[kind]) for kind in KINDS]
    return DoorAudit(
        defect=design.defect,
        kinds=tuple(kinds),
        repeated=repeated,
        repeated_chance=float(chance_of_cosine(np.array(repeated), len(left))),
        differs={kind.value: far for kind, far in own.differs.items()},
        seconds=time.perf_counter() - started,
    )


def _correlation(first: Vector, record: AuditedRecord) -> float:
    """Return how alike two attempts' noise is: the cosine between the two."""
    if record.second is None:
        raise RunError("expected a training step, found a run without any")
    return float(first @ record.second / np.linalg.norm(first) / np.linalg.norm(record.second))


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


def _run(
    design: DoorDesign, record: AuditedRecord, folder: Path
) -> tuple[AuditedRecord, FirstAttempt]:
    """Carry the run out; returns its account, and what was seen of its first attempt."""
    sources: dict[str, NoiseSource] = {
        name: FaultyNoise(
            noise_source(design.protection, seed=design.seed, stream=stream),
            design.defect,
            record.plan,
            len(BANKS),
        )
        for stream, name in enumerate(BANKS)
    }
    with LocalFederation(
        design.study,
        record.sums,
        design.protection,
        seed=design.seed,
        directory=folder,
        sources=sources,
    ) as federation:
        first, job = FirstAttempt(federation), federation.job()
        job.record = record
        federation.run(job, first.grid())
    return record, first
