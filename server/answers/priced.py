"""What a group of questions costs and which error that buys, before anybody is asked."""

from dataclasses import dataclass

from fieldfare.server.answers import expected_error
from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study


@dataclass(frozen=True)
class PricedGroup:
    """One group of questions under one study's plan.

    Attributes:
        plan: of the study, or of the study at another epsilon.
        terms: of the group's release.
        later: whether it is asked within the allowance.
        questions: each with its cost and its errors.
    """

    plan: Plan
    terms: ReleaseTerms
    later: bool
    questions: tuple[expected_error.QuestionPlan, ...]


def priced(study: Study, group: QuestionGroup | None, institutions: int) -> PricedGroup:
    """Return the cost of a group, by default the declared questions, under a study's plan.

    Raises:
        StudyError: nothing is declared, or what is asked is not within the allowance.
        AccountingError: so few institutions that the accounting rule does not hold.
    """
    plan = plan_for(study)
    plan.check_noise(institutions)
    declared = group is None or set(group.questions) <= set(study.queries)
    asked = study.questions if declared else group  # declared ones are answered all together
    if asked is None:
        raise StudyError(
            "expected a study that declares [[queries]], found none: declare some, or give "
            "--questions where it has an [allowance]"
        )
    later = not declared
    step = plan.allowance.first_step if later else plan.query.first_step
    terms = plan.question_terms(step, asked)
    return PricedGroup(
        plan, terms, later, expected_error.question_plans(plan, asked, terms, institutions)
    )
