"""`fieldfare attack NAME`: what replies, models and answers give away, and what spoils them."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from fieldfare.client.records import read_records
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.stderr import without_log
from fieldfare.shared.terminal.texts import short
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
MOST_DEALT: Final = 400  # institutions whose every reply is opened


class AttackName(StrEnum):
    """The attacks, each a tool of its own."""

    DIFFERENCING = "differencing"
    DOOR = "door"
    FREE_RIDER = "free-rider"
    INVERSION = "inversion"
    LABELS = "labels"
    MEMBERSHIP = "membership"
    POISONING = "poisoning"


NameArgument = Annotated[
    AttackName,
    typer.Argument(
        metavar="NAME",
        help="differencing: two questions that differ by one unit, two sums that differ by one "
        "institution. door: canaries through the real door, every release compared with own "
        "arithmetic. free-rider: one member of ten that gives nothing. inversion: what is "
        "found in one institution's reply. labels: labels of known units from a released "
        "evaluation. membership: which half of the records the model was trained on. "
        "poisoning: one liar of ten, and each defence.",
    ),
]
StudyArgument = Annotated[
    Path | None,
    typer.Argument(metavar="STUDY.toml", help="The study; none: 30,000 invented units."),
]
RecordsOption = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="The study's whole population.")
]
InstitutionsOption = Annotated[
    int | None, typer.Option(min=3, max=1000, help="How many share the units.", show_default="3")
]
TrialsOption = Annotated[
    int | None,
    typer.Option(min=40, max=100_000, help="Trials, a coin for each.", show_default="1000"),
]
ShadowsOption = Annotated[
    int | None,
    typer.Option(min=0, help="membership: models for LiRA; 0: loss alone.", show_default="16"),
]
WithoutPrivacyOption = Annotated[
    bool, typer.Option("--without-privacy", help="membership: a model without clipping and noise.")
]
SeedsOption = Annotated[
    int | None,
    typer.Option(min=1, max=100, help="free-rider, poisoning: how many worlds.", show_default="5"),
]
EpsilonOption = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=100, help="differencing, door: the study's epsilon.", show_default="1"
    ),
]
CanariesOption = Annotated[
    int | None,
    typer.Option(min=100, max=1_000_000, help="door: how many records.", show_default="4000"),
]
StepsOption = Annotated[
    int | None, typer.Option(min=1, max=1000, help="door: steps of training.", show_default="4")
]
DefectOption = Annotated[
    DoorDefect | None,
    typer.Option(
        metavar="DEFECT",  # a list of them is wider than a terminal
        help=f"door: run with this defect: {', '.join(one.value for one in DoorDefect)}.",
    ),
]
NoiseOption = Annotated[
    Protection | None,
    typer.Option(
        help="exact: as deployed; simulated: seeded.", show_default="simulated; of door exact"
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, max=MAX_SEED, help="Of records, coins, simulated noise.", show_default="0"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


@app.command("attack")
def attack_command(
    name: NameArgument,
    study: StudyArgument = None,
    records: RecordsOption = None,
    institutions: InstitutionsOption = None,
    trials: TrialsOption = None,
    shadows: ShadowsOption = None,
    without_privacy: WithoutPrivacyOption = False,
    seeds: SeedsOption = None,
    epsilon: EpsilonOption = None,
    canaries: CanariesOption = None,
    steps: StepsOption = None,
    defect: DefectOption = None,
    noise: NoiseOption = None,
    seed: SeedOption = None,
    as_json: AsJson = False,
) -> None:
    """Attack a study in a simulation: what does it reveal, and what spoils it?

    Ends with 1 where door flags something (an honest door is, once in 10,000 runs), or a masked
    reply is not uniform.
    """
    typed = {
        key: value
        for key, value in locals().items()
        if key not in {"name", "as_json"} and value is not None and value is not False
    }
    show_attack, task = _TOOLS[name]
    show_attack(_task(task, name, typed), as_json)


class Repetition(NamedTuple):
    """How many worlds and noises an attack goes through."""

    seeds: int = 5


def _task(kind: Callable[..., Any], name: AttackName, typed: Mapping[str, Any]) -> Any:
    """Return what an attack is given: an option for each field of its task, no others."""
    options = {_OPTIONS.get(field, field): field for field in signature(kind).parameters}
    if foreign := typed.keys() - options.keys():
        option = "STUDY" if "study" in foreign else f"--{min(foreign).replace('_', '-')}"
        raise UsageError(f"{option}: expected an option of {name.value}, found one of others")
    if kind in {InversionTask, LabelsTask}:
        _check_dealt(typed.get("institutions", 0))
    given = {options[option]: value for option, value in typed.items()}
    if "private" in given:
        given["private"] = False
    if "records" in options:
        given["study"], given["units"] = _attacked(typed.get("study"), typed.get("records"))
    return kind(**given)


def _show_door(design: DoorDesign, as_json: bool) -> None:
    with without_log("fieldfare"):  # one answer is lost on purpose
        found = audit_door(design)
    show(found.finding, as_json=as_json)
    raise typer.Exit(int(bool(found.flagged)))


def _show_membership(task: MembershipTask, as_json: bool) -> None:
    found = membership(task)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, allow_nan=False))
        return
    typer.echo(f"{found.members:,} members, {found.others:,} others")
    for one in (found.loss, found.lira):
        if one is not None:
            show(one, as_json=False)


def _show_poisoning(task: Repetition, as_json: bool) -> None:
    if not as_json:
        typer.echo("\n".join(HEAD))
    for row in damage_table(task.seeds):
        typer.echo(json.dumps(asdict(row)) if as_json else damage_words(row))
    if not as_json:
        epsilon = epsilon_of_group(poisoned_study())
        typer.echo(f"Sums of two that are opened, with one colluder: epsilon {short(epsilon)}.")


def _show_inversion(task: InversionTask, as_json: bool) -> None:
    found = inversion(task)
    show_all(found, as_json=as_json)
    raise typer.Exit(int(any(one.flagged for one in found)))


def _show_labels(task: LabelsTask, as_json: bool) -> None:
    show_all(labels(task), as_json=as_json)


def _show_differencing(task: DifferencingTask, as_json: bool) -> None:
    with without_log("fieldfare"):  # custodians refuse on purpose
        found = differencing(task)
    show_all(found, as_json=as_json)


def _show_free_riders(task: Repetition, as_json: bool) -> None:
    show_all(free_riders(task.seeds), as_json=as_json)


_TOOLS: Final[dict[AttackName, tuple[Callable[[Any, bool], None], Callable[..., Any]]]] = {
    AttackName.DIFFERENCING: (_show_differencing, DifferencingTask),
    AttackName.DOOR: (_show_door, DoorDesign),
    AttackName.FREE_RIDER: (_show_free_riders, Repetition),
    AttackName.INVERSION: (_show_inversion, InversionTask),
    AttackName.LABELS: (_show_labels, LabelsTask),
    AttackName.MEMBERSHIP: (_show_membership, MembershipTask),
    AttackName.POISONING: (_show_poisoning, Repetition),
}
_OPTIONS: Final = {"units": "records", "protection": "noise", "private": "without_privacy"}
"""Fields of tasks whose option has another name."""


def _check_dealt(institutions: int) -> None:
    if institutions > MOST_DEALT:
        raise UsageError(
            f"--institutions: expected at most {MOST_DEALT} for this attack, found {institutions}"
        )


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
