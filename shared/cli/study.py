"""`fieldfare study check|sign`: a plan's cost, and a signature on it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.evaluation.group_cells import group_scale
from fieldfare.shared.models import check_module
from fieldfare.shared.pages.words import banks_shown
from fieldfare.shared.protocol.identity import fingerprint, public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.protocol.prospects import (
    MASKS_FAIL_FACTOR,
    cautions,
    moments_line,
    obstacles,
    start_line,
    together_line,
)
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.model_sections import permitted
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.late import late
from fieldfare.shared.terminal.screen import console, facts
from fieldfare.shared.terminal.texts import one_line

# For `study sign` alone: a console shows a plan's facts, and holds nothing that opens a key.
read_passphrase: Final = late("fieldfare.shared.system.key_files", "read_passphrase")
read_signing_key: Final = late("fieldfare.shared.system.key_files", "read_signing_key")

HEAD: Final = 14  # columns of a line's head

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")]
KeyOption = Annotated[Path, typer.Option(help="The coordinator's Ed25519 key, PKCS8 PEM, 0600.")]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(help="A private file whose one line is its passphrase.", show_default=False),
]


@app.command("study.check")
def study_check(
    study: StudyArgument,
) -> None:
    """Check a study and print what it would cost, before anyone runs it."""
    loaded = load_study(study)
    plan = plan_for(loaded)
    if permitted(loaded.model):  # else its size is the study's word
        check_module(loaded)
    screen = console()
    if screen.is_terminal:  # whose lines are folded beside their heads
        screen.print(f"{plan.study.name} is a valid study", markup=False)
        screen.print(facts(plan_facts(plan), head=""))
    else:
        typer.echo("\n".join(plan_lines(plan)))


def plan_lines(plan: Plan) -> list[str]:
    """Explain a plan in plain lines, each under its head."""
    told = (f"{head:<{HEAD}}{text}" for head, text in plan_facts(plan))
    return [f"{plan.study.name} is a valid study", *told]


def plan_facts(plan: Plan) -> list[tuple[str, str]]:
    """Explain a plan under short heads: promise, releases, noise, epsilon without masks, problems.

    Raises:
        AccountingError: so few institutions that the accounting rule does not hold.
    """
    study, privacy = plan.study, plan.study.privacy
    least = study.aggregation.minimum_institutions
    plan.check_noise(least)
    failed = ", ".join(
        f"{plan.epsilon_if_masks_fail(n):.3g} with {n}" for n in (least, 2 * least, 4 * least)
    )
    unit = one_line(study.records.unit or "unit")
    return [
        ("id", study.id),
        ("purpose", one_line(study.purpose)),
        ("model", _model_words(plan)),
        ("promise", f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per {unit}"),
        ("covers", _covered(study, unit)),
        ("planned", f"mu^2 {plan.mu2:.6g} in {_releases(plan)} releases"),
        *(_kind_words(plan, terms) for terms in plan.releases),
        *_moment_words(plan),
        *(("start", one_line(line)) for line in (start_line(plan),) if line),
        *(("computes", one_line(f"{name}: {words}")) for name, words in study.computed),
        *_group_words(plan),
        *_question_words(plan),
        *_local_words(study),
        ("together", f"{least} institutions or more; {privacy.collusion_tolerance} may collude"),
        ("same person", f"known to at most {privacy.multiplicity} institutions"),
        ("masks fail", f"if every mask failed, epsilon would be {failed} institutions"),
        ("who together", together_line(plan, MASKS_FAIL_FACTOR * privacy.epsilon)),
        *(("no run", line) for line in obstacles(plan)),
        *(("careful", line) for line in cautions(plan)),
    ]


def _covered(study: Study, unit: str) -> str:
    banks = study.records.left_out_banks
    if not banks:
        return f"what the own records about one {unit} hold, not what those of others say"
    return f"the person: payments with customers of {banks_shown(banks)} are left out everywhere"


def _reads(study: Study) -> str:
    if study.rows is not None:
        return f"{study.rows.kind}, column {one_line(study.rows.column)}"
    return f"{study.model.kind}, {len(study.features)} features"


def _model_words(plan: Plan) -> str:
    study = plan.study
    if not study.trains:
        return "none: questions only"
    return f"{_reads(study)}, {plan.training.vectors.entries} parameters"


def _moment_words(plan: Plan) -> list[tuple[str, str]]:
    said = moments_line(plan)
    return [("geometry", f"moments {said}")] if said else []


def _releases(plan: Plan) -> int:
    return sum(terms.steps + terms.spare for terms in plan.releases)


def _group_words(plan: Plan) -> list[tuple[str, str]]:
    """Say by what alerts are counted, and how blurred one count is."""
    sigma = plan.fairness.sigma / group_scale(plan.study.groups)
    end = f"levels, alerts or not, labelled or not; noise {sigma:.4g} on each count"
    return [
        ("group", f"{one_line(one.column)}: {len(one.names)} {end}") for one in plan.study.groups
    ]


def _local_words(study: Study) -> list[tuple[str, str]]:
    if not study.training.local:
        return []
    return [("local mode", "training's noise is each institution's own, whoever else colludes")]


def _question_words(plan: Plan) -> list[tuple[str, str]]:
    """Say what each question costs of its release, and what later ones may be about."""
    study, found = plan.study, []
    if study.questions is not None:
        layout = layout_for(study.questions, study.asked_columns)
        for question, share in zip(study.queries, layout.shares, strict=True):
            cost = float(share) * plan.query.mu2
            found.append(("question", f"{question.name} ({question.kind}): mu^2 {cost:.4g}"))
    if study.allowance is not None:
        allowed, columns = study.allowance, one_line(", ".join(study.allowance.columns))
        said = f"{allowed.groups} groups of {', '.join(allowed.kinds)} over {columns}"
        found.append(("later", said))
    return found


def _kind_words(plan: Plan, terms: ReleaseTerms) -> tuple[str, str]:
    name = "allowance" if terms is plan.allowance else terms.kind.value
    most = terms.sensitivity.l2(plan.relation) if terms.sensitivity else 0.0
    inside = f" for {terms.local_steps} steps inside in full noise" if terms.local_steps else ""
    said = (
        f"{terms.steps} + {terms.spare} spare, each mu^2 {terms.mu2:.4g}{inside}: sensitivity "
        f"{most:.6g}, noise {terms.sigma:.4g} on each of {terms.vectors.entries} entries, "
        f"{terms.vectors.entries * terms.word_bits.value // 8} bytes"
    )
    return name, said


@app.command("study.sign")
def study_sign(
    study: StudyArgument,
    key: KeyOption,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Check a study and sign it as the coordinator; the signed study goes to stdout."""
    signed = load_study(study)
    plan_for(signed).check_noise(signed.aggregation.minimum_institutions)
    signer = read_signing_key(key, read_passphrase(passphrase_file))
    typer.echo(offer_study(signed, IdentitySigner(signer)))
    public = fingerprint(bytes.fromhex(public_hex(signer)))
    typer.echo(f"signed {signed.id} as coordinator {public}", err=True)
