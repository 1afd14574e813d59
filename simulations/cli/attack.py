"""`fieldfare audit door` and `fieldfare attack`: what replies, models and answers give away."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.records import read_records
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.pages.words import short
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.stderr import without_log
from fieldfare.simulations.attacks.defects import DoorDefect
from fieldfare.simulations.attacks.differencing import DifferencingTask, differencing
from fieldfare.simulations.attacks.door import DoorDesign, audit_door
from fieldfare.simulations.attacks.finding import Finding
from fieldfare.simulations.attacks.free_rider import free_riders
from fieldfare.simulations.attacks.inversion import InversionTask, inversion
from fieldfare.simulations.attacks.labels import LabelsTask, labels
from fieldfare.simulations.attacks.membership import MembershipTask, membership
from fieldfare.simulations.attacks.poisoning import (
    damage_table,
    damage_words,
    epsilon_of_group,
    poisoned_study,
    population,
)
from fieldfare.simulations.cli import app

HEAD: Final = (
    "| lie | defence | AP | damage, points of AP | found | found with the trigger | intervened |",
    "|---|---|---|---|---|---|---|",
)
MAX_SEED: Final = 2**63 - 1

Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Of records, coins, simulated noise.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
StudyFile = Annotated[
    Path | None,
    typer.Argument(metavar="STUDY.toml", help="The study; none: 30,000 invented units."),
]
Records = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="The whole population, of a study.")
]
Dealt = Annotated[int, typer.Option(min=3, max=400, help="To whom units are dealt.")]
Trials = Annotated[int, typer.Option(min=40, max=100_000, help="Each with a coin.")]
Worlds = Annotated[int, typer.Option(min=1, max=100, help="Worlds and noises.")]
Noise = Annotated[Protection, typer.Option(help="exact: as deployed; simulated: seeded.")]


@app.command("audit.door")
def audit_door_command(
    epsilon: Annotated[float, typer.Option(min=0.01, max=100, help="Of the study.")] = 1.0,
    canaries: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Records with a coin.")
    ] = 4000,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Of training.")] = 4,
    defect: Annotated[
        DoorDefect,
        typer.Option(
            metavar="DEFECT",  # a list of them is wider than a terminal
            help=f"Put one in on purpose: {', '.join(one.value for one in DoorDefect)}.",
        ),
    ] = DoorDefect.NONE,
    noise: Annotated[Protection, typer.Option(help="exact: as deployed.")] = Protection.EXACT,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run canaries through the real door, and compare every release with own arithmetic.

    Ends with 1 where something is flagged: an honest door is, once in 10,000 runs.
    """
    design = DoorDesign(
        epsilon=epsilon,
        canaries=canaries,
        steps=steps,
        defect=defect,
        protection=noise,
        seed=seed,
    )
    with without_log("fieldfare"):  # one answer is lost on purpose
        found = audit_door(design)
    show(found.finding, as_json=as_json)
    raise typer.Exit(int(bool(found.flagged)))


@app.command("attack.membership")
def attack_membership_command(
    study: StudyFile = None,
    records: Records = None,
    institutions: Annotated[
        int, typer.Option(min=3, max=1000, help="To whom members are dealt.")
    ] = 3,
    shadows: Annotated[int, typer.Option(min=0, help="Models for LiRA; 0: loss alone.")] = 16,
    without_privacy: Annotated[
        bool, typer.Option("--without-privacy", help="Attack a model without clipping and noise.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train on half of the records, and guess from the model which half it was."""
    agreed, units = _attacked(study, records)
    task = MembershipTask(
        study=agreed,
        units=units,
        institutions=institutions,
        shadows=shadows,
        private=not without_privacy,
        seed=seed,
    )
    found = membership(task)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, allow_nan=False))
        return
    typer.echo(f"{found.members:,} members, {found.others:,} others")
    for one in (found.loss, found.lira):
        if one is not None:
            show(one, as_json=False)


@app.command("attack.poisoning")
def attack_poisoning_command(
    seeds: Worlds = 5,
    as_json: AsJson = False,
) -> None:
    """One liar of ten: what it does to the model, and what each defence does about it."""
    if not as_json:
        typer.echo("\n".join(HEAD))
    for row in damage_table(seeds):
        typer.echo(json.dumps(asdict(row)) if as_json else damage_words(row))
    if not as_json:
        epsilon = epsilon_of_group(poisoned_study())
        typer.echo(f"Sums of two that are opened, with one colluder: epsilon {short(epsilon)}.")


@app.command("attack.inversion")
def attack_inversion_command(
    study: StudyFile = None,
    records: Records = None,
    institutions: Dealt = 3,
    trials: Trials = 1000,
    noise: Noise = Protection.SIMULATED,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """One institution's reply, with and without noise and masks: what is found in it?

    Ends with 1 where a masked reply is not uniform.
    """
    agreed, units = _attacked(study, records)
    task = InversionTask(
        study=agreed,
        units=units,
        institutions=institutions,
        trials=trials,
        protection=noise,
        seed=seed,
    )
    found = inversion(task)
    show_all(found, as_json=as_json)
    raise typer.Exit(int(any(one.flagged for one in found)))


@app.command("attack.labels")
def attack_labels_command(
    study: StudyFile = None,
    records: Records = None,
    institutions: Dealt = 3,
    trials: Trials = 1000,
    noise: Noise = Protection.SIMULATED,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Infer labels of known units from a released evaluation, with and without its noise."""
    agreed, units = _attacked(study, records)
    task = LabelsTask(
        study=agreed,
        units=units,
        institutions=institutions,
        trials=trials,
        protection=noise,
        seed=seed,
    )
    show_all(labels(task), as_json=as_json)


@app.command("attack.differencing")
def attack_differencing_command(
    epsilon: Annotated[float, typer.Option(min=0.01, max=100, help="Of the study.")] = 1.0,
    trials: Trials = 1000,
    noise: Noise = Protection.SIMULATED,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Two questions that differ by one unit, two sums that differ by one institution."""
    task = DifferencingTask(epsilon=epsilon, trials=trials, protection=noise, seed=seed)
    with without_log("fieldfare"):  # custodians refuse on purpose
        found = differencing(task)
    show_all(found, as_json=as_json)


@app.command("attack.free-rider")
def attack_free_rider_command(seeds: Worlds = 5, as_json: AsJson = False) -> None:
    """One member of ten that gives nothing: what it gains, what it costs, who notices."""
    show_all(free_riders(seeds), as_json=as_json)


def _attacked(study: Path | None, records: list[Path] | None) -> tuple[Study, EncodedUnits]:
    """Return a study with its whole population, or the invented ones of `attack poisoning`."""
    if study is None and not records:
        return poisoned_study(), population(0)
    if study is None or not records:
        raise UsageError("expected a study and --records, or neither, found one of them")
    agreed = load_study(study)
    return agreed, read_records(records, agreed, whole=True).data


def show_all(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Print what a tool found under several conditions."""
    if as_json:
        typer.echo(json.dumps([one.as_dict() for one in findings], indent=2, allow_nan=False))
        return
    for place, one in enumerate(findings):
        typer.echo(("\n" if place else "") + "\n".join(one.lines()))


def show(finding: Finding, *, as_json: bool) -> None:
    """Print what a tool found."""
    if as_json:
        typer.echo(json.dumps(finding.as_dict(), indent=2, allow_nan=False))
    else:
        typer.echo("\n".join(finding.lines()))
