"""Questions: a group of them is answered by one sum, that of the study or a later one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, RefusalCode, StudyError
from fieldfare.shared.protocol.messages import ReleaseKind, Request, parameters_hash
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, check_groups
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease, values_in
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.run.results import UNKNOWN, AnswerSum, Results
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.transcript.leaves import AnswersRecord, UnsignedLeaf


class Questions(Kind):
    """Binds the questions themselves; knots may follow from the answers."""

    release: ClassVar = ReleaseKind.QUERY
    record: ClassVar = AnswersRecord
    follows: ClassVar = False

    def leads(self, plan: Plan) -> bool:
        """The first step's knots follow from it, where the study asks for its knots."""
        return plan.study.asks_for_knots

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due once for the declared questions; in a run of later questions, once for each."""
        asked = len(results.later) if results.later else int(plan.study.questions is not None)
        return results.answered < asked

    def step(self, plan: Plan, results: Results) -> int:
        """Return the declared questions' position, or that of the later group."""
        if not results.later:
            return plan.query.first_step
        return plan.allowance.first_step + len(results.later) - 1

    def terms(self, plan: Plan, results: Results) -> ReleaseTerms:
        """Return the terms of the declared questions, or of the later group.

        Raises:
            StudyError: questions that the allowance does not cover.
        """
        if not results.later:
            return plan.terms(self.release)
        return plan.question_terms(self.step(plan, results), results.later[-1])

    def check_participants(self, plan: Plan, results: Results, institutions: Sequence[str]) -> None:
        """Check that no answer would be that of one or two institutions.

        Raises:
            StudyError: a group of which too few take part.
        """
        check_groups(plan.study, _group(plan, results), institutions)

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the questions."""
        yield Content.of(_group(plan, results).to_bytes(), results)

    def asked_terms(self, plan: Plan, request: Request, data: bytes) -> ReleaseTerms:
        """Return the terms of questions that are declared or within the approved allowance.

        Raises:
            MismatchError: other questions, at another position, or to groups of too few.
        """
        questions = questions_in(request, data)
        try:
            terms = plan.question_terms(request.step, questions)
        except StudyError as error:
            raise MismatchError.because(error, RefusalCode.NOT_IN_PLAN) from None
        try:
            named = [participant.institution for participant in request.participants]
            check_groups(plan.study, questions, named)
        except StudyError as error:
            raise MismatchError.because(error, RefusalCode.TOO_FEW_PARTICIPANTS) from None
        return terms

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf:
        """Return the record of the questions, with the sum for everybody to read."""
        del summed
        return AnswersRecord.of(_group(plan, results), words)

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Check questions and words; keep the answers, and start again on knots that follow."""
        record = AnswersRecord.from_bytes(content)
        asked = bytes_hash(record.questions.encode())
        expect("the questions of the request", results.bound, asked)
        values = values_in(record.content, summed)
        answer = AnswerSum(record.group, values, summed.participants, summed.step)
        found = (*results.answers, answer)
        answered = replace(results, answers=found, answered=len(found))
        if plan.study.asks_for_knots and not results.later:
            return replace(answered, training=None, parameters=UNKNOWN)
        return answered


def questions_in(request: Request, data: bytes) -> QuestionGroup:
    """Parse the questions that a request binds.

    Raises:
        MismatchError: BAD_PARAMETERS.
    """
    code = RefusalCode.BAD_PARAMETERS
    if parameters_hash(data) != request.parameters:
        raise MismatchError("the questions that the request binds", code=code)
    try:
        return QuestionGroup.from_bytes(data)
    except ProtocolError as error:
        raise MismatchError.because(error, code) from None


def _group(plan: Plan, results: Results) -> QuestionGroup:
    """Return what is asked next."""
    declared = plan.study.questions
    if results.later:
        return results.later[-1]
    if declared is None:
        raise MismatchError("questions that the study declares", found="none")
    return declared
