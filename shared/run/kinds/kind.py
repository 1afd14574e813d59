"""The interface of a kind of release; a run is made of nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import ReleaseKind, Request, parameters_hash
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.ring import decode
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.run.replay import decoded_sum
from fieldfare.shared.run.results import Results, Values
from fieldfare.shared.transcript.leaves import UnsignedLeaf


@dataclass(frozen=True, eq=False)
class Content:
    """Something that the request of a release may bind.

    Attributes:
        hash: as the request names it.
        results: of the run once this is bound.
        data: the bytes; nothing where only their hash is known.
    """

    hash: str
    results: Results
    data: bytes = b""

    @classmethod
    def of(cls, data: bytes, results: Results) -> Self:
        """Return the content with these bytes."""
        return cls(parameters_hash(data), results, data)


@dataclass(frozen=True, eq=False)
class SummedRelease:
    """A release's sum.

    Attributes:
        terms: of the release.
        step: its position in the run.
        participants: how many institutions are in it.
        words: SHA-256 of its ring words.
        values: float64 (entries,), decoded; None where the vectors were deleted.
    """

    terms: ReleaseTerms
    step: int
    participants: int
    words: str
    values: Values | None


class Kind(ABC):
    """One kind of release.

    Attributes:
        release: which one.
        record: what the transcript holds after its sum; None: nothing.
        missing: what is expected where a request binds none of its contents.
        follows: what it binds follows from sums before it, which custodians add up again.
        stops: a run that is asked to stop may stop before it.
    """

    release: ClassVar[ReleaseKind]
    record: ClassVar[type[UnsignedLeaf] | None] = None
    missing: ClassVar[str] = ""
    follows: ClassVar[bool] = True
    stops: ClassVar[bool] = False

    def leads(self, plan: Plan) -> bool:
        """Say whether the content that the next request binds follows from this kind's sum."""
        del plan
        return False

    @abstractmethod
    def is_due(self, plan: Plan, results: Results) -> bool:
        """Say whether the run still needs such a release, once those before it are done."""

    def step(self, plan: Plan, results: Results) -> int:
        """Return the position of the next such release in the run."""
        del results
        return plan.terms(self.release).first_step

    def terms(self, plan: Plan, results: Results) -> ReleaseTerms:
        """Return the terms of the next such release."""
        del results
        return plan.terms(self.release)

    def check_participants(self, plan: Plan, results: Results, institutions: Sequence[str]) -> None:
        """Check that this release may be asked of these institutions.

        Raises:
            StudyError: too few of some kind; nothing was sent.
        """
        del plan, results, institutions

    @abstractmethod
    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the contents that the next request may bind, the coordinator's choice first.

        Several where machines may round apart; nothing where only a deleted sum would tell.
        """

    def geometry(self, plan: Plan, results: Results) -> str:
        """Return the hash of the coordinates that the next request binds; nothing: none."""
        del plan, results
        return ""

    def asked_terms(self, plan: Plan, request: Request, data: bytes) -> ReleaseTerms:
        """Return the terms of a release that is asked for at some position of the run.

        Args:
            plan: the own one.
            request: whose frame and participants were checked.
            data: what it binds.

        Raises:
            MismatchError: the plan has no such release there.
        """
        del data
        terms = plan.terms(self.release)
        if not terms.first_step <= request.step < terms.first_step + terms.steps:
            raise MismatchError(
                f"a {self.release.value} step of the approved plan",
                found=f"step {request.step}",
                code=RefusalCode.NOT_IN_PLAN,
            )
        return terms

    def after(self, plan: Plan, results: Results, summed: SummedRelease) -> Results:
        """Return the results after the sum, before its record.

        Raises:
            MismatchError: no honest run has such a sum.
        """
        del plan, summed
        return results

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf | None:
        """Return the record after the sum.

        Args:
            plan: of the run.
            results: with the sum.
            summed: the sum.
            words: of the sum, as they are sent.
        """
        del plan, results, summed, words
        return None

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Check the bytes of the record after the sum; return the run's results with it.

        Raises:
            ProtocolError: no such record, or it does not follow from the sum.
        """
        del plan, summed, content
        return results

    def told(self, plan: Plan, results: Results) -> dict[str, Any]:
        """Return the sum's published results by name, beside the evaluation's metrics."""
        del plan, results
        return {}


def values_in(content: bytes, summed: SummedRelease) -> Values:
    """Return float64 (entries,): a record's values, checked to be the words of the sum before it.

    Raises:
        MismatchError: other words.
        ProtocolError: words of no sum within range.
    """
    expect("the words of the sum", summed.words, bytes_hash(content))
    words = decode(content, summed.terms.word_bits, summed.terms.vectors.entries)
    return decoded_sum(words, summed.terms, summed.participants)


@dataclass(frozen=True, eq=False)
class Release:
    """The next release of a run.

    Attributes:
        kind: what is released.
        step: its position in the run.
        terms: as each side computes them from the study.
    """

    kind: Kind
    step: int
    terms: ReleaseTerms

    @classmethod
    def of(cls, kind: Kind, plan: Plan, results: Results) -> "Release":
        """Return the next release of a kind."""
        return cls(kind, kind.step(plan, results), kind.terms(plan, results))

    @property
    def place(self) -> tuple[ReleaseKind, int]:
        """Kind and position."""
        return self.kind.release, self.step
