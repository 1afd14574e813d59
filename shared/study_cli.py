"""`fieldfare study check`: every mistake in one line each, and what the plan costs."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.fairness import group_scale
from fieldfare.shared.pages.words import banks_shown
from fieldfare.shared.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.prospects import cautions, obstacles
from fieldfare.shared.query_blocks import layout_for
from fieldfare.shared.study import Study, load_study

study_check_app = typer.Typer(add_completion=False)


@study_check_app.command()
def study_check(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
) -> None:
    """Check a study and print what it would cost, before anyone runs it."""
    typer.echo("\n".join(plan_lines(plan_for(load_study(study)))))


def plan_lines(plan: Plan) -> list[str]:
    """Explain a plan in plain lines: promise, releases, noise, if masks failed, what is wrong."""
    study, privacy = plan.study, plan.study.privacy
    least = study.aggregation.minimum_institutions
    plan.check_noise(least)
    failed = ", ".join(
        f"{plan.epsilon_if_masks_fail(n):.3g} with {n}" for n in (least, 2 * least, 4 * least)
    )
    unit = _one_line(study.records.unit or "unit")
    return [
        f"{study.name} is a valid study",
        f"id            {study.id}",
        f"purpose       {_one_line(study.purpose)}",
        _model_line(plan),
        f"promise       epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per {unit}",
        f"covers        {_covered(study, unit)}",
        f"planned       mu^2 {plan.mu2:.6g} in {_releases(plan)} releases",
        *(_kind_line(plan, terms) for terms in plan.releases),
        *_group_lines(plan),
        *_question_lines(plan),
        *_local_lines(study),
        f"together      {least} institutions or more; {privacy.collusion_tolerance} may collude",
        f"same person   known to at most {privacy.multiplicity} institutions",
        f"if every mask failed, epsilon would be {failed} institutions",
        *(f"no run        {line}" for line in obstacles(plan)),
        *(f"careful       {line}" for line in cautions(plan)),
    ]


def _covered(study: Study, unit: str) -> str:
    banks = study.records.left_out_banks
    if not banks:
        return f"what the own records about one {unit} hold, not what those of others say"
    return f"the person: payments with customers of {banks_shown(banks)} are left out everywhere"


def _reads(study: Study) -> str:
    if study.rows is not None:
        return f"{study.rows.kind}, column {_one_line(study.rows.column)}"
    return f"{study.model.kind}, {len(study.features)} features"


def _one_line(text: str) -> str:
    """Keep a study's text from moving the terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text)


def _model_line(plan: Plan) -> str:
    study = plan.study
    if not study.trains:
        return "model         none: questions only"
    entries = plan.training.vectors.entries
    return f"model         {_reads(study)}, {entries} parameters"


def _releases(plan: Plan) -> int:
    return sum(terms.steps + terms.spare for terms in plan.releases)


def _group_lines(plan: Plan) -> list[str]:
    """Say by what alerts are counted, and how blurred one count is."""
    sigma = plan.fairness.sigma / group_scale(plan.study.groups)
    return [
        f"group         {_one_line(one.column)}: {len(one.names)} levels, alerts or not, labelled "
        f"or not; noise {sigma:.4g} on each count"
        for one in plan.study.groups
    ]


def _local_lines(study: Study) -> list[str]:
    if not study.training.local:
        return []
    return ["local mode    training's noise is each institution's own, whoever else colludes"]


def _question_lines(plan: Plan) -> list[str]:
    """Say what each question costs of its release, and what later ones may be about."""
    study, lines = plan.study, []
    if study.questions is not None:
        layout = layout_for(study.questions, study.asked_columns)
        for question, share in zip(study.queries, layout.shares, strict=True):
            cost = float(share) * plan.query.mu2
            lines.append(f"question      {question.name} ({question.kind}): mu^2 {cost:.4g}")
    if study.allowance is not None:
        allowed = study.allowance
        lines.append(
            f"later         {allowed.groups} groups of {', '.join(allowed.kinds)} over "
            f"{_one_line(', '.join(allowed.columns))}"
        )
    return lines


def _kind_line(plan: Plan, terms: ReleaseTerms) -> str:
    name = "allowance" if terms is plan.allowance else terms.kind.value
    most = terms.sensitivity.l2(plan.relation) if terms.sensitivity else 0.0
    inside = f" for {terms.local_steps} steps inside in full noise" if terms.local_steps else ""
    return (
        f"{name:<13} {terms.steps} + {terms.spare} spare, each mu^2 {terms.mu2:.4g}{inside}: "
        f"sensitivity {most:.6g}, noise {terms.sigma:.4g} on each of {terms.vectors.entries} "
        f"entries, {terms.vectors.entries * terms.word_bits.value // 8} bytes"
    )
