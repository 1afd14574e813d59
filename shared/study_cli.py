"""`fieldfare study check`: every mistake in one line each, and what the plan costs."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.plan import Plan, ReleaseKind, plan_for
from fieldfare.shared.study import Study, load_study

study_check_app = typer.Typer(add_completion=False)


@study_check_app.command()
def study_check(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
) -> None:
    """Check a study and print what it would cost, before anyone runs it."""
    typer.echo("\n".join(plan_lines(plan_for(load_study(study)))))


def plan_lines(plan: Plan) -> list[str]:
    """Explain a plan in plain lines: promise, releases, noise, and what if masks failed."""
    study, privacy = plan.study, plan.study.privacy
    entries = plan.training.vectors.entries
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
        f"model         {_reads(study)}, {entries} parameters",
        f"promise       epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per {unit}",
        f"planned       mu^2 {plan.mu2:.6g} in {_releases(plan)} releases",
        *(_kind_line(plan, kind) for kind in (ReleaseKind.TRAINING, ReleaseKind.EVALUATION)),
        f"together      {least} institutions or more; {privacy.collusion_tolerance} may collude",
        f"same person   known to at most {privacy.multiplicity} institutions",
        f"if every mask failed, epsilon would be {failed} institutions",
    ]


def _reads(study: Study) -> str:
    if study.rows is not None:
        return f"{study.rows.kind}, column {_one_line(study.rows.column)}"
    return f"{study.model.kind}, {len(study.features)} features"


def _one_line(text: str) -> str:
    """Keep a study's text from moving the terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text)


def _releases(plan: Plan) -> int:
    return sum(terms.steps + terms.spare for terms in (plan.training, plan.evaluation))


def _kind_line(plan: Plan, kind: ReleaseKind) -> str:
    terms = plan.terms(kind)
    most = terms.sensitivity.l2(plan.relation) if terms.sensitivity else 0.0
    return (
        f"{kind.value:<13} {terms.steps} + {terms.spare} spare, each mu^2 {terms.mu2:.4g}: "
        f"sensitivity {most:.6g}, noise {terms.sigma:.4g} on each of {terms.vectors.entries} "
        f"entries, {terms.vectors.entries * terms.word_bits.value // 8} bytes"
    )
